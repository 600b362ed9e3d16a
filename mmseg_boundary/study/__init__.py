"""Studies: arms that are trained from several seeds, the conclusions that their scores allow, and
the report."""

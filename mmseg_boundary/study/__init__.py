"""Studies: arms that are trained from several seeds, what their scores allow to conclude, and the
page that says it."""

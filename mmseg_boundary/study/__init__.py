"""Studies: arms that are trained from several seeds, the conclusions that their scores allow, and
the report."""

# What a training leaves in its work folder. Here, since its hooks import nothing else of a study.
MEASURED, DIVERGED, VALIDATED = 'measured.json', 'diverged.json', 'validated.json'

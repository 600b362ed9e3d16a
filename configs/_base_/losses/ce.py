# Averaged over valid pixels, so that its balance with a boundary term does not move with the void.
_base_ = '../runtime.py'
losses = [dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)]

# For heads of one logit, averaged over valid pixels (see `ce.py`).
_base_ = '../runtime.py'
losses = [dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True)]

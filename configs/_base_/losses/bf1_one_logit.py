# BF1 beside a cross-entropy for heads of one logit (see `bf1.py`).
_base_ = './ce_one_logit.py'
losses = [*_base_.losses, dict(type='BF1Loss', loss_weight=0.5)]

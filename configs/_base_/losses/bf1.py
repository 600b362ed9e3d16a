# BF1 beside a cross-entropy, since flat predictions give it no gradient. The paper's weight is not
# known; 0.5 is that of its re-implementations.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='BF1Loss', loss_weight=0.5)]

# The boundary difference over union beside a cross-entropy, which knows the absent classes too.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='BoundaryDoULoss')]

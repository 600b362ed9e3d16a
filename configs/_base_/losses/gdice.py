# Generalized Dice beside the cross-entropy: without a boundary term, and rare classes as heavy as
# frequent ones.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='GeneralizedDiceLoss')]

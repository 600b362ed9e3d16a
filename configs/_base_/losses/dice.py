# A baseline without a boundary term: cross-entropy + Dice (the thesis' Combo).
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='SoftDiceLoss')]

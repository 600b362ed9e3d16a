# A baseline without a boundary term: the thesis' Dice & Focal, without a cross-entropy.
_base_ = '../runtime.py'
losses = [dict(type='SoftDiceLoss'), dict(type='SoftmaxFocalLoss')]

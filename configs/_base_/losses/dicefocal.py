# A baseline that knows no boundaries: the thesis' Dice & Focal, without a cross-entropy.
_base_ = '../runtime.py'
losses = [dict(type='SoftDiceLoss'), dict(type='SoftmaxFocalLoss')]

# A control that knows no boundaries: the thesis' Dice & Focal, without a cross-entropy.
dicefocal = [dict(type='SoftDiceLoss'), dict(type='SoftmaxFocalLoss')]

# A control that knows no boundaries: cross-entropy + Dice (the thesis' Combo).
dice = dict(type='SoftDiceLoss')

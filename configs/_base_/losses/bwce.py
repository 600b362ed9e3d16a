# The control that a boundary loss has to beat: the cross-entropy, plus itself near the contours.
_base_ = '../runtime.py'
losses = [dict(type='BoundaryWeightedCELoss')]

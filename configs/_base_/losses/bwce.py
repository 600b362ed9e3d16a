# The baseline that a boundary loss has to beat: the cross-entropy, plus itself near the boundaries.
_base_ = '../runtime.py'
losses = [dict(type='BoundaryWeightedCELoss')]

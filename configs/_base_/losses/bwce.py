# The baseline that a boundary loss has to beat: the cross-entropy with more weight near boundaries.
_base_ = '../runtime.py'
losses = [dict(type='BoundaryWeightedCELoss')]

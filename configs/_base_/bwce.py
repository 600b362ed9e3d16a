# The control that a boundary loss has to beat: the cross-entropy, plus itself near the contours.
bwce = dict(type='BoundaryWeightedCELoss')

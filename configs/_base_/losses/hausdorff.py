# The Hausdorff loss beside the cross-entropy. Distances in diagonals keep the weight when the crop
# grows. 50 gives the term 7 % of the cross-entropy's gradient at the parameters as training begins.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='HausdorffDTLoss', spacing='diagonal', loss_weight=50.0)]

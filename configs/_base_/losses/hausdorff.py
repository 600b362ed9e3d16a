# The Hausdorff loss beside the cross-entropy. Distances in diagonals let the weight stay when the
# crop grows. Its share of the cross-entropy's gradient at the parameters, by tools/loss_balance.py:
# 7 % as training begins and 11 % after 200 iterations on CamVid, 26 % as it begins on the shapes.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='HausdorffDTLoss', spacing='diagonal', loss_weight=50.0)]

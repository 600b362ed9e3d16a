_base_ = './ce.py'
losses = [*_base_.losses, dict(type='HausdorffDTLoss', spacing='diagonal', loss_weight=50.0)]

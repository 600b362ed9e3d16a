# Kervadec's boundary loss at the stock 512x512 crop: distances are in pixels, twice those of the
# ablation's 256x256, so the best constant weight there (Table XIV of EPL: 0.10) is halved.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='KervadecBoundaryLoss', loss_weight=0.05)]

# Kervadec's boundary loss at the stock 512x1024 crop: distances are in pixels, twice those of the
# ablation's 256x512, so the best constant weight there (Table XIV of EPL: 0.05) is halved.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='KervadecBoundaryLoss', loss_weight=0.025)]

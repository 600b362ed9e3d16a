# Kervadec's boundary loss at 240x320: distances are in pixels, 1.3 times shorter than in the
# ablation's 256x512 (the root of the areas' ratio), so the best constant weight there (Table XIV of
# EPL, Cityscapes: 0.05) grows by as much.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='KervadecBoundaryLoss', loss_weight=0.065)]

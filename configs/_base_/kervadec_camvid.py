# Kervadec's boundary loss at 240x320: distances are in pixels, sqrt(256 512 / 240 320) = 1.3 times
# fewer than in the ablation's 256x512, so the best constant weight there (Cityscapes in Table XIV of
# EPL: 0.05) grows by as much.
kervadec = dict(type='KervadecBoundaryLoss', loss_weight=0.065)

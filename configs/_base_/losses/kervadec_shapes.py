# Kervadec's boundary loss at 128x128: distances are in pixels, half those of the ablation's
# 256x256, so the best constant weight there (VOC in Table XIV of EPL: 0.10) is doubled.
_base_ = './ce.py'
losses = [*_base_.losses, dict(type='KervadecBoundaryLoss', loss_weight=0.2)]

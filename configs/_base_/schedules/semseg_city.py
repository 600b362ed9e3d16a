# semseg's schedule: 200 epochs of Cityscapes, each of 185 batches of 16.
_base_ = './semseg_voc.py'

param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=37000, by_epoch=False)]
train_cfg = dict(max_iters=37000, val_interval=3700)
default_hooks = dict(checkpoint=dict(interval=3700))

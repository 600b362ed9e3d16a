# semseg's schedule in batches of 12: 200 epochs of Cityscapes, each of 247.
_base_ = './semseg_voc.py'

param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=49400, by_epoch=False)]
train_cfg = dict(max_iters=49400, val_interval=4940)
default_hooks = dict(checkpoint=dict(interval=4940))

# semseg's schedule in batches of 12: 50 epochs of VOC, each of 881.
_base_ = './semseg_voc.py'

param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=44050, by_epoch=False)]
train_cfg = dict(max_iters=44050, val_interval=4405)
default_hooks = dict(checkpoint=dict(interval=4405))

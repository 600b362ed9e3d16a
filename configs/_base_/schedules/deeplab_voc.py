# pytorch-deeplab-xception's schedule: as semseg's, with other numbers; 50 epochs of VOC, each of
# 662 batches of 16. There the loss is divided by the size of the batch once more, which is left
# out.
_base_ = './semseg_voc.py'

optimizer = dict(type='SGD', lr=0.007, momentum=0.9, weight_decay=5e-4)
optim_wrapper = dict(optimizer=optimizer)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=33100, by_epoch=False)]
train_cfg = dict(max_iters=33100, val_interval=3310)
default_hooks = dict(checkpoint=dict(interval=3310))

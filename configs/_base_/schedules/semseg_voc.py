# semseg's schedule: SGD, ten times as fast in the heads, whose learning rate falls to 0; 50 epochs
# of VOC, each of 661 batches of 16.
_base_ = ['mmseg::_base_/default_runtime.py', 'mmseg::_base_/schedules/schedule_40k.py']

optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
optim_wrapper = dict(
    optimizer=optimizer,
    paramwise_cfg=dict(
        custom_keys=dict(decode_head=dict(lr_mult=10.0), auxiliary_head=dict(lr_mult=10.0))
    ),
)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=33050, by_epoch=False)]
train_cfg = dict(max_iters=33050, val_interval=3305)
default_hooks = dict(checkpoint=dict(interval=3305))

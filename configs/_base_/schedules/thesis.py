# The thesis' schedule: AdamW at a constant learning rate, 60 epochs of Cityscapes in batches of 32.
# It trains in half precision: `tools/train.py --amp`.
_base_ = 'mmseg::_base_/default_runtime.py'

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-4), clip_grad=None)
param_scheduler = []
train_cfg = dict(type='IterBasedTrainLoop', max_iters=5580, val_interval=930)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=930),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
randomness = dict(seed=42)

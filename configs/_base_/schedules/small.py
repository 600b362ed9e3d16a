# AdamW, and the loops and hooks of a short run.
_base_ = 'mmseg::_base_/default_runtime.py'

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.005, weight_decay=0.01), clip_grad=None
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=300),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
randomness = dict(seed=0)

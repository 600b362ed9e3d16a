# The thesis' schedule: AdamW at a constant learning rate, 60 epochs in batches of 32, which are
# these iterations of Cityscapes. Its seeds are 42 and, in its ablation, 1234.
# It trains in half precision: `tools/train.py --amp`.
_base_ = './small.py'

optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = []
train_cfg = dict(type='IterBasedTrainLoop', max_iters=5580, val_interval=930)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=930))
randomness = dict(seed=42)

# Drawn shapes, few to evaluate on.
_base_ = '../../pspnet_ce_shapes.py'
val_dataloader = test_dataloader = dict(dataset=dict(length=20))

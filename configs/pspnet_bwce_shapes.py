_base_ = ['./_base_/boundary.py', './_base_/bwce.py', './_base_/pspnet_shapes.py']
model = dict(decode_head=dict(loss_decode=[_base_.bwce]))
val_evaluator = test_evaluator = _base_.evaluator

_base_ = ['../_base_/losses/kervadec_tables.py', '../_base_/models/unet_tables.py']
model = dict(decode_head=dict(loss_decode=_base_.losses))
val_evaluator = test_evaluator = _base_.evaluator

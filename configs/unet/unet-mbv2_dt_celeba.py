_base_ = ['../_base_/losses/dt.py', '../_base_/models/unet-mbv2_celeba.py']
model = dict(decode_head=dict(loss_decode=_base_.losses))
val_evaluator = test_evaluator = _base_.evaluator

_base_ = ['../_base_/losses/bf1_one_logit.py', '../_base_/models/unet_inria.py']
model = dict(decode_head=dict(loss_decode=_base_.losses))
val_evaluator = test_evaluator = _base_.evaluator

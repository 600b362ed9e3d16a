_base_ = ['../_base_/losses/epl_voc.py', '../_base_/models/deeplabv3plus-drn54_voc.py']
model = dict(decode_head=dict(loss_decode=_base_.losses))
val_evaluator = test_evaluator = _base_.evaluator

_base_ = ['../_base_/losses/ce.py', '../_base_/models/erfnet-c16_camvidhalf.py']
model = dict(decode_head=dict(loss_decode=_base_.losses))
val_evaluator = test_evaluator = _base_.evaluator

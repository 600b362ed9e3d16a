_base_ = ['../_base_/losses/epl_city560.py', '../_base_/models/gscnn-wrn38_city.py']
model = dict(decode_head=dict(loss_decode=_base_.losses))
val_evaluator = test_evaluator = _base_.evaluator

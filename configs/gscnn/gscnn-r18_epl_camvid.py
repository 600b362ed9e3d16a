_base_ = ['../_base_/losses/epl_small.py', '../_base_/models/gscnn-r18_camvid.py']
model = dict(decode_head=dict(loss_decode=_base_.losses))
val_evaluator = test_evaluator = _base_.evaluator

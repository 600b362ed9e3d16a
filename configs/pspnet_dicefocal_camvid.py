_base_ = ['./_base_/boundary.py', './_base_/dicefocal.py', './_base_/pspnet_camvid.py']
model = dict(decode_head=dict(loss_decode=_base_.dicefocal))
val_evaluator = test_evaluator = _base_.evaluator

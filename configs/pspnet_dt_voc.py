_base_ = [
    './_base_/boundary.py',
    './_base_/dt.py',
    'mmseg::pspnet/pspnet_r50-d8_4xb4-40k_voc12aug-512x512.py',
]
model = dict(decode_head=dict(loss_decode=[_base_.dt]))
val_evaluator = test_evaluator = _base_.voc_evaluator

# The stock U-Net on Potsdam, by the schedule of the stock networks there.
_base_ = [
    'mmseg::_base_/models/fcn_unet_s5-d16.py',
    '../datasets/potsdam.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_80k.py',
]
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=6),
    auxiliary_head=dict(num_classes=6),
    test_cfg=dict(mode='whole', _delete_=True),
)

# The stock U-Net with one logit on Inria's aerial images, by the schedule of `unet_potsdam.py`.
_base_ = [
    'mmseg::_base_/models/fcn_unet_s5-d16.py',
    '../datasets/inria.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_80k.py',
]
# The net halves its input four times.
data_preprocessor = dict(size=_base_.crop_size, test_cfg=dict(size_divisor=16))
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=2, out_channels=1, threshold=0.5),
    test_cfg=dict(mode='whole', _delete_=True),
)

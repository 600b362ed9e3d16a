# An ERFNet of half its channels, 16 before the logits, which are at a stride of 2; on CamVid at
# half size: 100 epochs.
_base_ = [
    'mmseg::_base_/models/erfnet_fcn.py',
    '../schedules/small.py',
    '../datasets/camvidhalf.py',
]
# Whole images are padded, as in pspnet_camvidhalf.py.
data_preprocessor = dict(size=_base_.crop_size, test_cfg=dict(size_divisor=8))
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        enc_downsample_channels=(16, 32, 64),
        enc_non_bottleneck_channels=(32, 64),
        dec_upsample_channels=(32, 16),
        dec_non_bottleneck_channels=(32, 16),
    ),
    decode_head=dict(channels=32, num_classes=11),
)

param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=4600, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4600, val_interval=4600)

# The thesis' DeepLabV3+ on ResNet-34, by the protocol of its U-Net.
_base_ = './unet-r34_city.py'
model = dict(
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    decode_head=dict(
        _delete_=True,
        type='DeepLabV3PlusHead',
        in_channels=(64, 512),
        num_classes=19,
        norm_cfg=dict(type='SyncBN'),
    ),
)

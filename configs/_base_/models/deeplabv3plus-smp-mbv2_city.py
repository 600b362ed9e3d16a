# The thesis' DeepLabV3+ on MobileNetV2.
_base_ = './deeplabv3plus-smp-r34_city.py'
pretrained = 'https://download.pytorch.org/models/mobilenet_v2-b0353104.pth'
model = dict(
    pretrained=pretrained,
    backbone=dict(
        _delete_=True,
        type='MobileNetV2Encoder',
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        norm_cfg=dict(type='SyncBN'),
    ),
    decode_head=dict(in_channels=(24, 1280)),
)

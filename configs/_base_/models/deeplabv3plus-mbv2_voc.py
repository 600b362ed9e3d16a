# The same on MobileNetV2, the "MobileNet" of the paper's table, with output stride 16.
_base_ = './deeplabv3plus-drn54_voc.py'
pretrained = 'mmcls://mobilenet_v2'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    pretrained=pretrained,
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 1, 2),
        out_indices=(1, 6),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(in_channels=320, c1_in_channels=24, dilations=(1, 6, 12, 18)),
)

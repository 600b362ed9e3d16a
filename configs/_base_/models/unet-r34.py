# The thesis' U-Net, on ResNet-34.
pretrained = 'https://download.pytorch.org/models/resnet34-b627a593.pth'
model = dict(
    type='SMPEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    pretrained=pretrained,
    backbone=dict(type='ResNetEncoder', depth=34, norm_cfg=dict(type='SyncBN')),
    decode_head=dict(
        type='UNetHead',
        in_channels=(64, 64, 128, 256, 512),
        num_classes=19,
        norm_cfg=dict(type='SyncBN'),
    ),
    test_cfg=dict(mode='whole'),
)

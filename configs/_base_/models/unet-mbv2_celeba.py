_base_ = './unet-r34_celeba.py'
pretrained = 'https://download.pytorch.org/models/mobilenet_v2-b0353104.pth'
model = dict(
    pretrained=pretrained,
    backbone=dict(_delete_=True, type='MobileNetV2Encoder', norm_cfg=dict(type='SyncBN')),
    decode_head=dict(in_channels=(16, 24, 32, 96, 1280)),
)

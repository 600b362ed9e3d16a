_base_ = './unet-r34_celeba.py'
pretrained = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'
model = dict(
    pretrained=pretrained,
    backbone=dict(depth=50),
    decode_head=dict(in_channels=(64, 256, 512, 1024, 2048)),
)

# The thesis' DeepLabV3+ on ResNet-50.
_base_ = './deeplabv3plus-smp-r34_city.py'
pretrained = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'
model = dict(
    pretrained=pretrained,
    backbone=dict(depth=50),
    decode_head=dict(in_channels=(256, 2048)),
)

_base_ = './psanet-r50_city.py'
pretrained = 'open-mmlab://resnet101_v1c'
model = dict(pretrained=pretrained, backbone=dict(depth=101))

# semseg's PSANet on Cityscapes, but for its wider stem (configs/psanet/README.md).
_base_ = [
    'mmseg::_base_/models/psanet_r50-d8.py',
    '../datasets/city560.py',
    '../schedules/semseg_city.py',
]
pretrained = 'open-mmlab://resnet50_v1c'
data_preprocessor = dict(size=_base_.crop_size, test_cfg=dict(size=_base_.crop_size))
model = dict(
    data_preprocessor=data_preprocessor,
    pretrained=pretrained,
    backbone=dict(contract_dilation=False),
    decode_head=dict(
        type='UnpaddedPSAHead', mask_size=(69, 69), num_classes=19, align_corners=False
    ),
    auxiliary_head=dict(num_classes=19, align_corners=False, loss_decode=dict(avg_non_ignore=True)),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=_base_.stride),
)

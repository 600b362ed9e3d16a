# MMSegmentation's CCNet, with its auxiliary head, on WRN-38, by the protocol of the other networks
# on Cityscapes; no published code has this network.
_base_ = [
    'mmseg::_base_/models/ccnet_r50-d8.py',
    '../datasets/city560.py',
    '../schedules/semseg_city.py',
]
pretrained = 'pretrained/wider_resnet38.pth'
norm_cfg = dict(type='SyncBN', requires_grad=True)
data_preprocessor = dict(size=_base_.crop_size, test_cfg=dict(size=_base_.crop_size))
model = dict(
    data_preprocessor=data_preprocessor,
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='WiderResNet',
        out_indices=(4, 6),
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    decode_head=dict(in_channels=4096, in_index=1),
    auxiliary_head=dict(in_index=0, loss_decode=dict(avg_non_ignore=True)),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=_base_.stride),
)

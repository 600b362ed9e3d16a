# DeepLabV3+ on WRN-38 with the decoder of NVIDIA's DeepWV3Plus, by the protocol of the other
# networks on Cityscapes; the paper gives none for this one.
_base_ = [
    'mmseg::_base_/models/deeplabv3plus_r50-d8.py',
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
        out_indices=(1, 6),
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    decode_head=dict(
        _delete_=True,
        type='ASPPDecoderHead',
        in_channels=4096,
        in_index=1,
        c1_in_channels=128,
        dilations=(1, 12, 24, 36),
        projection_norm=False,
        c1_first=True,
        logits_bias=False,
        aspp_dropout=0.0,
        decoder_dropout=0.0,
        dropout_ratio=0.0,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
    ),
    auxiliary_head=None,
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=_base_.stride),
)

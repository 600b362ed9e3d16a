# DeepLabV3+ of pytorch-deeplab-xception on DRN-D-54, whose output stride is 8, by its protocol.
_base_ = [
    'mmseg::_base_/models/deeplabv3plus_r50-d8.py',
    '../datasets/voc513.py',
    '../schedules/deeplab_voc.py',
]
pretrained = 'pretrained/drn_d_54-0e0534ff.pth'
norm_cfg = dict(type='SyncBN', requires_grad=True)
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='DRN',
        depth=54,
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    decode_head=dict(
        _delete_=True,
        type='ASPPDecoderHead',
        in_channels=512,
        in_index=1,
        c1_in_channels=256,
        dilations=(1, 12, 24, 36),
        num_classes=21,
        norm_cfg=norm_cfg,
    ),
    auxiliary_head=None,
)

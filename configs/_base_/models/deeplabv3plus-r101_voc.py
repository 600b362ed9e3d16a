# DeepLabV3+ of pytorch-deeplab-xception on VOC, by its protocol, on its ResNet-101: a stem of one
# convolution, output stride 16 and a last stage dilated by 2 x (1, 2, 4).
_base_ = [
    'mmseg::_base_/models/deeplabv3plus_r50-d8.py',
    '../datasets/voc513.py',
    '../schedules/deeplab_voc.py',
]
pretrained = 'https://download.pytorch.org/models/resnet101-63fe2227.pth'
data_preprocessor = dict(size=_base_.crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    pretrained=pretrained,
    backbone=dict(
        type='ResNet',
        depth=101,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        multi_grid=(2, 4, 8),
        contract_dilation=False,
    ),
    decode_head=dict(
        type='ASPPDecoderHead',
        channels=256,
        dilations=(1, 6, 12, 18),
        num_classes=21,
        align_corners=True,
    ),
    auxiliary_head=None,
)

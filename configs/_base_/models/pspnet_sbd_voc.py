# The stock PSPNet with a second auxiliary head, which learns the boundaries of classes. ResNet-50's
# layer3 is left out, as by the authors; the stem, which they take, MMSegmentation does not return.
# Their weight for 40k iterations is 5.
_base_ = './pspnet_voc.py'
model = dict(
    auxiliary_head=[
        _base_.model.auxiliary_head,
        dict(
            type='SemanticBoundaryHead',
            in_channels=[256, 512, 2048],
            in_index=[0, 1, 3],
            num_classes=21,
            loss_weight=5.0,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
        ),
    ]
)

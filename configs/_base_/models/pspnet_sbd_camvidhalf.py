# The small PSPNet with a second auxiliary head, which learns the boundaries of classes.
_base_ = './pspnet_camvidhalf.py'
model = dict(
    auxiliary_head=[
        _base_.model.auxiliary_head,
        dict(
            type='SemanticBoundaryHead',
            in_channels=[16, 32, 128],
            in_index=[0, 1, 3],
            num_classes=11,
            loss_weight=5.0,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
        ),
    ]
)

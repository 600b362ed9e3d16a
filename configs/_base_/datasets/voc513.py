# VOC as pytorch-deeplab-xception trains on it (https://github.com/jfzhang95): the shorter side is
# resized to a length of 256 to 1026. There, what a crop lacks is filled with background, which is
# learned; here it is void. And there the center of an image alone is scored; here all of it is,
# with a shorter side of 513.
_base_ = ['./voc.py', 'mmseg::_base_/datasets/pascal_voc12_aug.py']
crop_size = (513, 513)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=(2052, 513), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomGaussianBlur', prob=0.5, sigma=(0.0, 1.0)),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2052, 513), keep_ratio=True),
    # The labels stay at their own size, to which the logits are resized.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
scales = [(1026, 256), (1539, 385), (2052, 513), (2565, 641), (3078, 769), (3591, 898)]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=scale, keep_ratio=True) for scale in scales],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]

train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        datasets=[
            dict(_base_.dataset_train, pipeline=train_pipeline),
            dict(_base_.dataset_aug, pipeline=train_pipeline),
        ]
    ),
)
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

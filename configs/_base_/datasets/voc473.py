# semseg's VOC (https://github.com/hszhao/semseg), at PSPNet's crop: each image is resized by a
# factor of its own size, rotated, blurred, flipped. In tests its longer side is 512, and windows of
# the crop's size, two thirds of it apart, are averaged.
_base_ = ['./voc.py', 'mmseg::_base_/datasets/pascal_voc12_aug.py']
crop_size = (473, 473)
stride = (316, 316)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomScale', ratio_range=(0.5, 2.0)),
    dict(
        type='RandomRotate',
        prob=0.5,
        degree=10.0,
        pad_val=(103.53, 116.28, 123.675),  # the mean color, BGR
        seg_pad_val=255,
    ),
    dict(type='RandomGaussianBlur', prob=0.5, kernel_size=5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    # The labels stay at their own size, to which the logits are resized.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
scales = [(256, 256), (384, 384), (512, 512), (640, 640), (768, 768), (896, 896)]
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

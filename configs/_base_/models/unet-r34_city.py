# The thesis' U-Net and protocol: whole images of 256x512, padded to a square, without augmentation.
_base_ = [
    './unet-r34.py',
    '../datasets/city.py',
    'mmseg::_base_/datasets/cityscapes.py',
    '../schedules/thesis.py',
]

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(512, 256), keep_ratio=True),
    dict(type='PackSegInputs'),
]
# The labels stay at their full size, to which the logits are resized.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(512, 256), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

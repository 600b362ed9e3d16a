# Drawn shapes: no files needed.
_base_ = './small.py'
crop_size = (128, 128)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        type='ShapesDataset', length=2800, seed=0, size=crop_size, pipeline=train_pipeline
    ),
)
val_dataloader = test_dataloader = dict(
    dataset=dict(
        type='ShapesDataset', length=100, seed=1, size=crop_size, pipeline=_base_.test_pipeline
    ),
)

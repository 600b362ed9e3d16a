# A small PSPNet on drawn shapes: no files needed, about a minute on two CPU cores.
_base_ = './pspnet_small.py'
crop_size = (128, 128)
data_preprocessor = dict(size=crop_size)
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(num_classes=6),
    auxiliary_head=dict(num_classes=6),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ShapesDataset', length=2800, seed=0, size=crop_size, pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ShapesDataset', length=100, seed=1, size=crop_size, pipeline=_base_.test_pipeline
    ),
)
test_dataloader = val_dataloader

param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=700, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=700, val_interval=700)

# CamVid at half size, 240x180: a copy made by tools/dataset_converters/halve.py.
_base_ = './camvid.py'
data_root = '{{$CAMVID_HALF_ROOT:data/CamVid_half}}'
crop_size = (120, 160)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(type='HalfCamVidDataset', data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = test_dataloader = dict(dataset=dict(type='HalfCamVidDataset', data_root=data_root))

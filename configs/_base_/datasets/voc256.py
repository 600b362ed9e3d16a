# semseg's VOC at the crop and batch, 12 on four GPUs, of EPL's ablations.
_base_ = './voc473.py'
crop_size = (256, 256)
stride = (171, 171)

train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=3,
    dataset=dict(
        datasets=[
            dict(_base_.dataset_train, pipeline=train_pipeline),
            dict(_base_.dataset_aug, pipeline=train_pipeline),
        ]
    ),
)

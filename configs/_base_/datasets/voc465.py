# semseg's VOC at PSANet's crop.
_base_ = './voc473.py'
crop_size = (465, 465)
stride = (310, 310)

train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackSegInputs'),
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

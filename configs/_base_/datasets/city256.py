# semseg's Cityscapes at the crop and batch, 12 on four GPUs, of EPL's ablations.
_base_ = './city560.py'
crop_size = (256, 512)
stride = (171, 342)

train_pipeline = [
    *_base_.train_pipeline[:-2],
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=3, dataset=dict(pipeline=train_pipeline))

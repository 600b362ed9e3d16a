# semseg's Cityscapes (see `voc473.py`), at the crop of EPL's Table IX. Images are tested at their
# own size, with the stock scales.
_base_ = ['./city.py', 'mmseg::_base_/datasets/cityscapes.py']
crop_size = (560, 560)
stride = (374, 374)

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
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))

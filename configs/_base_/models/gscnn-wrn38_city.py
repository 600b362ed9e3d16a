# GSCNN on WRN-38 by the settings of its published code, at the crop and batch of EPL's Table IX:
# 175 epochs of Cityscapes, each of 185 batches of 16 (here 4 on each of 4 GPUs).
_base_ = [
    '../datasets/city.py',
    'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/schedules/schedule_40k.py',
    'mmseg::_base_/default_runtime.py',
]
pretrained = 'pretrained/wider_resnet38.pth'
crop_size = (560, 560)
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EdgeEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop_size,
    ),
    backbone=dict(
        type='WiderResNet',
        out_indices=(0, 1, 2, 3, 6),
        norm_cfg=norm_cfg,
        with_cp=True,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    decode_head=dict(
        type='GSCNNHead',
        in_channels=(64, 128, 256, 512, 4096),
        num_classes=19,
        edge_source='canny',
        norm_cfg=norm_cfg,
        align_corners=False,  # the crop is no multiple of 8 and 1 more
    ),
    test_cfg=dict(mode='whole'),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # A factor of the images' own size.
    dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomGaussianBlur', prob=1.0, sigma=(0.15, 1.3)),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=4, num_workers=4, dataset=dict(pipeline=train_pipeline))
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
optim_wrapper = dict(optimizer=optimizer)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=1.0, begin=0, end=32375, by_epoch=False)]
train_cfg = dict(max_iters=32375, val_interval=3700)
default_hooks = dict(checkpoint=dict(interval=3700))

# EPL in MMEngine's lazy style, where a type is the class itself: the small PSPNet on drawn shapes.
from mmcv.transforms import LoadImageFromFile, RandomFlip
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import (
    CheckpointHook,
    DistSamplerSeedHook,
    IterTimerHook,
    LoggerHook,
    ParamSchedulerHook,
)
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from mmengine.visualization import LocalVisBackend
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.evaluation import IoUMetric
from mmseg.models import (
    CrossEntropyLoss,
    EncoderDecoder,
    FCNHead,
    PSPHead,
    ResNetV1c,
    SegDataPreProcessor,
)
from mmseg.visualization import SegLocalVisualizer
from torch.optim import AdamW

from mmseg_boundary.losses import EPLLoss
from mmseg_boundary.registered.datasets import ShapesDataset

default_scope = 'mmseg'
randomness = dict(seed=0)
crop_size = (128, 128)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(
        type=SegDataPreProcessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop_size,
    ),
    backbone=dict(
        type=ResNetV1c,
        depth=18,
        stem_channels=16,
        base_channels=16,
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        contract_dilation=True,
    ),
    decode_head=dict(
        type=PSPHead,
        in_channels=128,
        in_index=3,
        channels=64,
        dropout_ratio=0.1,
        num_classes=6,
        norm_cfg=norm_cfg,
        loss_decode=[
            dict(type=CrossEntropyLoss, avg_non_ignore=True),
            dict(type=EPLLoss, kernel_size=7, mu=2, point_weight=0.1, line_weight=1.0),
        ],
    ),
    auxiliary_head=dict(
        type=FCNHead,
        in_channels=64,
        in_index=2,
        channels=32,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=6,
        norm_cfg=norm_cfg,
        loss_decode=dict(type=CrossEntropyLoss, loss_weight=0.4),
    ),
    test_cfg=dict(mode='whole'),
)

test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations),
    dict(type=PackSegInputs),
]
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackSegInputs),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(type=ShapesDataset, length=2800, seed=0, size=crop_size, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=ShapesDataset, length=100, seed=1, size=crop_size, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type=IoUMetric, iou_metrics=['mIoU'])
test_evaluator = val_evaluator

optim_wrapper = dict(
    type=OptimWrapper, optimizer=dict(type=AdamW, lr=0.005, weight_decay=0.01), clip_grad=None
)
param_scheduler = [dict(type=PolyLR, eta_min=1e-5, power=0.9, begin=0, end=700, by_epoch=False)]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=700, val_interval=700)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=20, log_metric_by_epoch=False),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=700),
    sampler_seed=dict(type=DistSamplerSeedHook),
    visualization=dict(type=SegVisualizationHook),
)
vis_backends = [dict(type=LocalVisBackend)]
visualizer = dict(type=SegLocalVisualizer, vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)

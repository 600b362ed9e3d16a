"""Stock networks of MMSegmentation whose heads call their losses in unusual ways, from their stock
configs, with few channels."""

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules

from tests.support.commands import MMSEG_TOOLS

CONFIGS = MMSEG_TOOLS.parent / 'configs'
CLASSES = {'ddrnet': 19, 'pidnet': 19, 'knet': 5}
SIZE = 64
EPL = dict(type='EPLLoss', mu=2, kernel_size=5)


def settings(name):
    """The model's settings: DDRNet and PIDNet call losses by position, K-Net has a nested head."""
    (path,) = CONFIGS.glob(
        {
            'ddrnet': 'ddrnet/ddrnet_23-slim_*.py',
            'pidnet': 'pidnet/pidnet-s_*.py',
            'knet': 'knet/knet-s3_r50-d8_fcn_*.py',
        }[name]
    )
    model = Config.fromfile(path).model
    model.data_preprocessor.size = (SIZE, SIZE)
    if name != 'knet':
        model.backbone.update(channels=4, ppm_channels=4, init_cfg=None)
        model.decode_head.update(in_channels=16, channels=8)
        for loss in model.decode_head.loss_decode:
            # the frozen stack's cross-entropy would index its class weights with void
            loss.pop('class_weight', None)
        return model
    model.pretrained = None
    model.backbone.update(depth=18, stem_channels=4, base_channels=4)
    model.decode_head.kernel_generate_head.update(in_channels=32, channels=8, num_classes=5)
    for head in model.decode_head.kernel_update_head:
        head.update(num_classes=5, feedforward_channels=8, in_channels=8, out_channels=8)
        head.update(num_heads=2)
        head.kernel_updator_cfg.update(in_channels=8, feat_channels=8, out_channels=8)
    model.auxiliary_head.update(in_channels=16, channels=4, num_classes=5)
    return model


def build(model):
    """In training mode, with the same weights each time."""
    register_all_modules()
    torch.manual_seed(0)
    return revert_sync_batchnorm(MODELS.build(model)).train()


def batch(name):
    """Two images with labels, some void, and an edge map for PIDNet."""
    torch.manual_seed(1)
    labels = torch.randint(CLASSES[name], (2, 1, 8, 8))
    labels = labels.repeat_interleave(8, 2).repeat_interleave(8, 3)
    labels[..., :5, :] = 255
    edges = torch.randint(2, labels.shape)
    data_samples = [
        SegDataSample(gt_sem_seg=PixelData(data=label), gt_edge_map=PixelData(data=edge))
        for label, edge in zip(labels, edges)
    ]
    return torch.randn(2, 3, SIZE, SIZE), data_samples


def preprocessed(model, classes, height, width):
    """Two random images with labels, some void, preprocessed as in training."""
    blocks = torch.randint(classes, (2, 1, -(-height // 8), -(-width // 8)))
    labels = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)[..., :height, :width]
    labels[..., :4] = 255
    given = dict(
        inputs=[torch.randint(256, (3, height, width), dtype=torch.uint8) for _ in labels],
        data_samples=[
            SegDataSample(gt_sem_seg=PixelData(data=each), metainfo=dict(img_shape=(height, width)))
            for each in labels
        ],
    )
    return model.data_preprocessor(given, training=True)


def step(model, name):
    """(sum of the losses, {key in the log: value}) of one batch, the sum with a graph."""
    return model.parse_losses(model.loss(*batch(name)))

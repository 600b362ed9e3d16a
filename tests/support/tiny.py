"""The tiny run of `commands` in this process, with which tests compare our processes."""

import torch
from mmengine.config import Config, DictAction
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from tests.support.commands import SHAPES, TINY


def build_tiny():
    register_all_modules()
    config = Config.fromfile(SHAPES)
    pairs = [option.split('=', 1) for option in TINY]
    config.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in pairs})
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return config, model.train()


def batch_loss(model, batch):
    """The sum of all losses of a list of samples, as in training."""
    batch = dict(
        inputs=[each['inputs'] for each in batch],
        data_samples=[each['data_samples'] for each in batch],
    )
    batch = model.data_preprocessor(batch, training=True)
    total, _ = model.parse_losses(model.loss(batch['inputs'], batch['data_samples']))
    return total

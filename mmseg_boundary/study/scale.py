"""Makes of a config one that trains in minutes: a network of the same parts with few channels, on
other data."""

import inspect
import math
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from .. import registered  # noqa: F401
from .plan import Scale, UnfitStudy


def scaled(config: Config, scale: Scale, root: Path) -> Config:
    """The small form of a config.

    Its model, evaluator and hooks are those of `config`, with few channels and as many classes as
    the data has; everything else is the scale's.

    Args:
        root: of the code; the scale's configs are named from there.

    Raises:
        UnfitStudy: the scale does not say how the backbone becomes small.
    """
    small = Config.fromfile(root / scale.data['config'], import_custom_modules=False)
    small.model = _miniature(config.model.to_dict(), small, scale)
    small.test_evaluator = config.test_evaluator
    for key in ('custom_hooks', 'custom_imports'):
        if key in config:
            small[key] = config[key]
    return small


def _miniature(model: dict, small: Config, scale: Scale) -> dict:
    """Changes the settings of a model to its small form."""
    backbone = model['backbone']
    if backbone['type'] not in scale.small:
        raise UnfitStudy(
            f'The scale {scale.name} has no small {backbone["type"]}: add the arguments that make '
            'it small to its `small`.'
        )
    backbone.update(scale.small[backbone['type']])
    for part in (model, backbone):
        for key in ('pretrained', 'init_cfg'):
            part.pop(key, None)
    height, width = small.crop_size
    features = _features(backbone, height, width)
    head = small.model.decode_head
    classes = dict(num_classes=head.num_classes, out_channels=head.get('out_channels'))
    for each in (model['decode_head'], *_listed(model.get('auxiliary_head'))):
        each.update(scale.small.get(each['type'], {}))
        _fit(each, features, classes, scale.channels)
    model['data_preprocessor'] = small.model.data_preprocessor.to_dict()
    model['test_cfg'] = small.model.test_cfg.to_dict()
    return model


def _features(backbone: dict, height: int, width: int) -> list[tuple[int, int, int]]:
    """(channels, height, width) of each output of a backbone."""
    init_default_scope('mmseg')
    with torch.device('meta'):
        built = MODELS.build(backbone)
        built.eval()  # does not return the backbone in all of them
        return [tuple(each.shape[1:]) for each in built(torch.zeros(1, 3, height, width))]


def _fit(head: dict, features: list, classes: dict, channels: int) -> None:
    """Gives a head the backbone's channels, the classes and few channels of its own."""
    own = inspect.signature(MODELS.get(head['type'])).parameters.get('in_index')
    index = head.get('in_index', own.default if own else -1)
    several = isinstance(index, (list, tuple))
    head['in_channels'] = [features[at][0] for at in index] if several else features[index][0]
    if 'c1_in_channels' in head:
        head['c1_in_channels'] = features[head.get('c1_in_index', 0)][0]
    for key in ('channels', 'c1_channels'):
        if key in head:
            head[key] = min(head[key], channels)
    if 'mask_size' in head:
        # the smallest that reaches from every place of the map, halved, to every other
        head['mask_size'] = tuple(2 * math.ceil(size / 2) - 1 for size in features[-1][1:])
    head['num_classes'] = classes['num_classes']
    if 'out_channels' in head:
        head['out_channels'] = classes['out_channels']
    for loss in _listed(head.get('loss_decode')):
        loss.pop('class_weight', None)


def _listed(one_or_several: dict | list | None) -> list:
    if isinstance(one_or_several, list):
        return one_or_several
    return [one_or_several] if one_or_several else []

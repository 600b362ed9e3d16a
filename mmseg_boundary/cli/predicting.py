"""Trained nets, and what they predict on the images of their configs, for the tools that draw."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.fileio import get
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS, MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..compat import UnfitFile
from ..files import names_of
from .arguments import read_config
from .checkpoints import load_fully
from .errors import plain_errors, stop
from .parts import require_parts

CONFIGS = '.py', '.yaml', '.yml', '.json'


@dataclass(frozen=True)
class Images:
    """The test images of a config."""

    config: str
    settings: Config
    dataset: Dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; empty where the data set has none."""
        return tuple(self.dataset.metainfo.get('classes') or ())

    @property
    def ignore_index(self) -> int:
        """The void label."""
        dataset = self.dataset
        while not hasattr(dataset, 'ignore_index'):  # a wrapper, such as ConcatDataset
            dataset = dataset.dataset if hasattr(dataset, 'dataset') else dataset.datasets[0]
        return dataset.ignore_index

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each image, under its path, that of its label, and its name: that of the
        file without the suffix."""
        places = {}
        for index in range(len(self.dataset)):
            info = self.dataset.get_data_info(index)
            paths = [info[key] for key in ('img_path', 'seg_map_path') if info.get(key)]
            resolved = [str(Path(path).resolve()) for path in paths]
            for name in (*paths, *resolved, Path(paths[0]).stem):
                places.setdefault(name, index)
        return places


@dataclass(frozen=True)
class Net:
    """A checkpoint, with the images of its config."""

    title: str
    images: Images
    model: nn.Module


@dataclass(frozen=True)
class Prediction:
    """(1, K, H, W) float probs, of two classes for one logit; and the classes, (H, W) int64. On the
    CPU."""

    probs: Tensor
    pred: Tensor


@dataclass(frozen=True)
class Scene:
    """An image, (H, W, 3) uint8 RGB, None if only its label was given; and its label, (H, W)
    int64."""

    path: str
    image: np.ndarray | None
    label: Tensor


def pair_files(files: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(config, its checkpoints), from files that are told apart by how their names end."""
    pairs = []
    for file in files:
        if file.endswith(CONFIGS):
            pairs.append((file, []))
        elif pairs:
            pairs[-1][1].append(file)
        else:
            stop(f'{file} comes before any config; give CONFIG CHECKPOINT, in this order.')
    return pairs


def read_images(config: str, options: dict | None, debug: bool = False) -> Images:
    """The test set of a config file with the overrides of `--cfg-options`."""
    settings = read_config(config, options)
    if settings.get('test_dataloader') is None:
        stop(f"{config} has no test_dataloader: set it, as MMSegmentation's own configs do.")
    require_parts(settings, ('test_dataloader',))
    # quiet: building a net would list the initialisation of every parameter
    if not MMLogger.check_instance_created('drawing'):
        MMLogger.get_instance('drawing', log_level='WARNING')
    init_default_scope(settings.get('default_scope', 'mmseg'))
    with plain_errors(settings, debug):
        return Images(config, settings, DATASETS.build(settings.test_dataloader.dataset))


def read_nets(args: argparse.Namespace) -> list[Net]:
    """The nets of the command line, which know the same classes."""
    pairs = pair_files(args.nets)
    for config, some in pairs:
        if not some:
            stop(f'{config} has no checkpoint behind it; give CONFIG CHECKPOINT.')
    checkpoints = [checkpoint for _, some in pairs for checkpoint in some]
    names = args.names or names_of([Path(each) for each in checkpoints])
    if len(names) != len(checkpoints) or len(set(names)) < len(names):
        stop(
            f'The {len(checkpoints)} checkpoints are called {", ".join(names)}; give each a name '
            'of its own with --names.'
        )
    titles, nets = iter(names), []
    for config, some in pairs:
        images = read_images(config, args.cfg_options, args.debug)
        nets += [read_net(next(titles), images, each, args.partial, args.debug) for each in some]
    for net in nets[1:]:
        _require_same_classes(net.images, nets[0].images)
    return nets


def read_net(title: str, images: Images, checkpoint: str, partial: bool, debug: bool) -> Net:
    """A net that is ready to predict."""
    settings = images.settings
    settings.load_from = checkpoint
    require_parts(settings, ())
    init_default_scope(settings.get('default_scope', 'mmseg'))
    with plain_errors(settings, debug):
        model = revert_sync_batchnorm(MODELS.build(settings.model))
        load_fully(
            lambda: load_checkpoint(model, checkpoint, map_location='cpu', logger='silent'),
            checkpoint,
            model,
            partial,
            tests=True,
        )
    return Net(title, images, model.to(get_device()).eval())


def _require_same_classes(images: Images, others: Images) -> None:
    if images.classes != others.classes:
        first, second = others.classes, images.classes
        pairs = zip_longest(first, second)
        number = next(n for n, (one, other) in enumerate(pairs) if one != other)
        named = [f"'{each[number]}'" if number < len(each) else 'none' for each in (first, second)]
        stop(
            f'Class {number} is {named[0]} in {others.config} and {named[1]} in {images.config}; '
            'give nets that were trained with the same classes.'
        )


def require_image(images: Images, given: str) -> int:
    """The index of an image, from its path, that of its label, or its name; ends the process if
    there is none."""
    for name in (given, str(Path(given).resolve())):
        if name in images.places:
            return images.places[name]
    example = Path(images.dataset.get_data_info(0)['img_path']).stem
    stop(
        f'{given} is none of the {len(images.dataset)} test images of {images.config}, nor the '
        f'label of one: give the file of one or its name, such as {example}, or set '
        'test_dataloader to where it is.'
    )


def read_scene(images: Images, index: int, debug: bool = False) -> Scene:
    """An image with its label."""
    with plain_errors(images.settings, debug):
        sample = images.dataset[index]['data_samples']
        if 'gt_sem_seg' not in sample:
            stop(
                f'{sample.img_path} has no label: LoadAnnotations is not in the pipeline of '
                f'test_dataloader in {images.config}, or the data set has none.'
            )
        label = sample.gt_sem_seg.data[0].long()
        pixels = mmcv.imfrombytes(get(sample.img_path), channel_order='rgb')
    if pixels.shape[:2] != label.shape:  # a pipeline that resizes labels
        pixels = mmcv.imresize(pixels, label.shape[::-1])
    return Scene(sample.img_path, pixels, label)


def read_label(path: str) -> Scene:
    """A label file alone, as a training reads it."""
    found = dict(seg_map_path=path, reduce_zero_label=None, seg_fields=[])
    try:
        label = LoadAnnotations().transform(found)['gt_seg_map']
    except UnfitFile as error:
        stop(f'{error} For an image, give its CONFIG too.')
    return Scene(path, None, torch.from_numpy(label).long())


def predict_all(nets: Sequence[Net], scene: Scene, debug: bool = False) -> list[Prediction]:
    """What each net predicts on an image, which it reads by the pipeline of its own config."""
    found = []
    for net in nets:
        found.append(predict(net, require_image(net.images, scene.path), debug))
        size, expected = found[-1].pred.shape, scene.label.shape
        if size != expected:
            stop(
                f'{net.title} predicts {size[0]} x {size[1]} pixels (height x width) of '
                f'{scene.path}, whose label has {expected[0]} x {expected[1]}: give configs that '
                'read the same images.'
            )
    return found


@torch.inference_mode()
def predict(net: Net, index: int, debug: bool = False) -> Prediction:
    """What a net predicts in a test."""
    init_default_scope(net.images.settings.get('default_scope', 'mmseg'))
    with plain_errors(net.images.settings, debug):
        (found,) = net.model.test_step(pseudo_collate([net.images.dataset[index]]))
    logits = found.seg_logits.data[None].float().cpu()
    if logits.shape[1] == 1:  # MMSegmentation has taken the sigmoid of it
        probs = torch.cat([1 - logits, logits], 1)
    else:
        probs = logits.softmax(1)
    return Prediction(probs, found.pred_sem_seg.data[0].long().cpu())

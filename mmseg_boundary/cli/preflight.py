"""Checks before a training that labels, data sets and heads agree on the classes, and before a test
that contours stay where they are."""

import logging
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner
from mmseg.models.decode_heads import SideAdapterCLIPHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import nn

from ..registered import BoundaryMetric
from ..registered.model_losses import unwrapped
from .alignment import watch_logits
from .pretrained import watch_pretrained

FIRST_LABELS = 8  # of the validation set; each is read together with its image
FIRST_BATCHES = 100


def prepare_training(runner: Runner) -> None:
    """Checks heads, data sets and labels before a run trains.

    The number of classes of every decode head, where it has one as MMSegmentation's own heads do,
    is compared with the training set's; auxiliary heads may have others. The first validation
    labels are compared with the classes of each `BoundaryMetric`. A head of one logit gets an
    `ObjectSeenHook`. Pretrained weights are watched (`watch_pretrained`), and in validations the
    size of the logits (`watch_logits`).

    Raises:
        ValueError: a head has fewer classes than its data set, or validation labels are neither a
            class nor void and the metric refuses those.
    """
    if runner.train_loop is None:
        return  # `runner.train` says what the config lacks
    heads = decode_heads(runner)
    compare_classes(heads, runner.train_dataloader.dataset)
    require_known_validation_labels(runner)
    watch_pretrained(unwrapped(runner.model))
    _watch_contours(runner, runner.val_loop, heads)
    voids = [head.ignore_index for head in heads.values() if head.out_channels == 1]
    if voids and voids[-1] is not None:
        runner.register_hook(ObjectSeenHook(voids[-1]))


def prepare_test(runner: Runner) -> None:
    """Has the network warn if it moves contours, before a run tests."""
    _watch_contours(runner, runner.test_loop, decode_heads(runner))


def _watch_contours(
    runner: Runner, loop: BaseLoop | None, heads: dict[str, BaseDecodeHead]
) -> None:
    """`watch_logits`, where a `BoundaryMetric` evaluates."""
    if not boundary_metrics(loop):
        return
    model = unwrapped(runner.model)
    sizes = (
        getattr(getattr(model, 'data_preprocessor', None), 'size', None),
        (getattr(model, 'test_cfg', None) or {}).get('crop_size'),
    )
    watch_logits(heads.values(), [tuple(size) for size in sizes if size])


def boundary_metrics(loop: BaseLoop | None) -> list[BoundaryMetric]:
    """Those that evaluate a loop."""
    metrics = getattr(getattr(loop, 'evaluator', None), 'metrics', ())
    return [each for each in metrics if isinstance(each, BoundaryMetric)]


def decode_heads(runner: Runner) -> dict[str, BaseDecodeHead]:
    """The decode heads that have a number of classes, under their names in the config."""
    given = getattr(unwrapped(runner.model), 'decode_head', None)
    named = {'model.decode_head': given}
    if isinstance(given, nn.ModuleList):
        named = {f'model.decode_head.{index}': head for index, head in enumerate(given)}
    # Mask2Former's is no BaseDecodeHead. VPD's, whose class alone has the number, estimates depths,
    # and SAN's does not count the background that its text encoder adds.
    return {
        name: head
        for name, head in named.items()
        if isinstance(head, BaseDecodeHead)
        and 'num_classes' in vars(head)
        and not isinstance(head, SideAdapterCLIPHead)
    }


def compare_classes(heads: dict[str, BaseDecodeHead], dataset: object) -> None:
    """Refuses a head with fewer classes than the data set, and warns of one with more.

    One logit stands for two classes; a data set of one class names its object alone.
    """
    metainfo = getattr(dataset, 'metainfo', None) or {}
    count = len(metainfo.get('classes') or ())
    theirs = f'the {count} classes of the training set ({type(dataset).__name__})'
    more = []
    for name, head in heads.items() if count else ():
        binary = head.out_channels == 1
        if count > (2 if binary else head.num_classes):
            has = 'one logit' if binary else f'num_classes={head.num_classes}'
            remedy = f'num_classes={count}' + (' and no out_channels' if binary else '')
            if metainfo.get('reduce_zero_label'):
                remedy += ', or leave label 0, which reduce_zero_label makes void, out of classes'
            raise ValueError(f'{name} has {has}, too few for {theirs}: give all heads {remedy}.')
        if count < head.num_classes and not binary:
            more.append(f'{name} has num_classes={head.num_classes}')
    if more:
        print_log(
            f'{", ".join(more)}, more than {theirs}: no label is one of the others, so that the '
            'head learns never to predict them.',
            logger='current',
            level=logging.WARNING,
        )


def require_known_validation_labels(runner: Runner) -> None:
    """Has every `BoundaryMetric` check the first labels, as it will in the first validation."""
    metrics = boundary_metrics(runner.val_loop)
    dataset = runner.val_dataloader.dataset if metrics else ()
    for index in range(min(FIRST_LABELS, len(dataset))):
        given = dataset[index]
        sample = given.get('data_samples') if isinstance(given, dict) else None
        # A pipeline of another project may pack something else, or no labels.
        if isinstance(sample, SegDataSample) and 'gt_sem_seg' in sample:
            for metric in metrics:
                metric.require_known([sample.to_dict()])


class ObjectSeenHook(Hook):
    """Warns once, where one logit is trained, if labels have void but never 1, the object.

    Checks the first batches of the loader, before they go to a GPU, on the first rank.

    Args:
        ignore_index: the head's void label.
    """

    def __init__(self, ignore_index: int) -> None:
        self.ignore_index = ignore_index
        self.batches = 0
        self.void_seen = self.object_seen = False

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Checks the labels of one batch."""
        if self.object_seen or self.batches == FIRST_BATCHES:
            return
        self.batches += 1
        for label in _labels_on_host(data_batch):
            self.void_seen |= bool((label == self.ignore_index).any())
            self.object_seen |= bool((label == 1).any())
        if self.batches == FIRST_BATCHES:
            self._warn()

    def after_train(self, runner: Runner) -> None:
        """Warns in a run of fewer batches."""
        if self.batches < FIRST_BATCHES:
            self._warn()

    def _warn(self) -> None:
        if self.void_seen and not self.object_seen:
            print_log(
                f'In the first {self.batches} batches no label is 1, and some are '
                f'{self.ignore_index}: {self.ignore_index} is void: the object is never seen. One '
                'logit is trained with 0 and 1: write 1 for the object into the label files.',
                logger='current',
                level=logging.WARNING,
            )


def _labels_on_host(data_batch: dict | None) -> Sequence:
    samples = data_batch.get('data_samples') or () if isinstance(data_batch, dict) else ()
    labels = [sample.gt_sem_seg.data for sample in samples if 'gt_sem_seg' in sample]
    return [label for label in labels if label.device.type == 'cpu']

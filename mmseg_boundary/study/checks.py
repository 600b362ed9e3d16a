"""Checks with MMSegmentation that a study has data for every split, and its endpoints."""

import logging
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, METRICS
from mmseg.structures import SegDataSample

from .. import registered  # noqa: F401
from .plan import Plan, Run, UnfitStudy
from .runs import compose, with_split


def require_runnable(plan: Plan, root: Path) -> None:
    """Raises an UnfitStudy for a split without images, and an endpoint or margin of a score that
    the evaluator does not give.

    Args:
        root: of the code whose configs the study names.
    """
    init_default_scope('mmseg')
    run = Run(plan.base_arm, plan.seeds[0], 'final')
    config = compose(plan, root, run, plan.settings_of(run), [], Path())
    classes = _require_images(config.train_dataloader.dataset, 'the training images', plan)
    for split in [*plan.splits, *([plan.tuning.split] if plan.tuning else [])]:
        changed = with_split(config, split)
        _require_images(changed.test_dataloader.dataset, f'the split {split.name!r}', plan)
    if plan.tuning:
        changed = Config(config.to_dict())
        changed.merge_from_dict(plan.tuning.options)
        _require_images(changed.train_dataloader.dataset, 'the training images of tuning', plan)
    given = scores_of(config, classes)
    for endpoint in plan.endpoints:
        if endpoint.key not in given:
            raise UnfitStudy(
                f'{plan.name} has the endpoint {endpoint.key!r}, which the evaluator does not '
                f'give; it gives {", ".join(given)}.'
            )
        unknown = [name for name in endpoint.classes or [] if name not in classes]
        if unknown:
            raise UnfitStudy(
                f'{plan.name} has the class {unknown[0]!r} in the endpoint {endpoint.title!r}; '
                f'the classes are {", ".join(classes)}.'
            )
    unknown = [key for key in plan.margins if key not in given]
    if unknown:
        raise UnfitStudy(
            f'{plan.name} has a margin for {unknown[0]!r}, which the evaluator does not give; it '
            f'gives {", ".join(given)}.'
        )


def _require_images(config: dict, what: str, plan: Plan) -> tuple[str, ...]:
    """The classes of a data set; raises an UnfitStudy if it has no images."""
    try:
        dataset = DATASETS.build(config)
        count = len(dataset)
    except FileNotFoundError as error:
        raise UnfitStudy(f'{plan.name} has no data for {what}: {error}') from None
    except ValueError as error:
        # of NumPy, when MMEngine packs an empty list
        if 'at least one array' not in str(error):
            raise
        count = 0
    if not count:
        raise UnfitStudy(
            f'{plan.name} has no image in {what}: check its data_root, data_prefix and ann_file.'
        )
    return tuple(dataset.metainfo['classes'])


def scores_of(config: Config, classes: tuple[str, ...]) -> list[str]:
    """The keys that the evaluators give, found by having them evaluate one small image."""
    label = torch.zeros(1, 8, 8, dtype=torch.long)
    label[:, :, 4:] = 1
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=label), pred_sem_seg=PixelData(data=label)
    ).to_dict()
    evaluators = config.test_evaluator
    keys = []
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        for each in evaluators if isinstance(evaluators, list) else [evaluators]:
            metric = METRICS.build(each)
            metric.dataset_meta = dict(classes=classes)
            metric.process({}, [sample])
            keys += metric.evaluate(1)
    finally:
        logger.setLevel(level)
    return keys

"""Evaluates a checkpoint: MMSegmentation's command line, also on CPU ranks, and boundary metrics.

python tools/test.py configs/pspnet_epl_shapes.py work_dirs/pspnet_epl_shapes/iter_700.pth
python tools/test.py ANY_CONFIG ANY_CHECKPOINT --boundary --json numbers.json
"""

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401

# isort: split
import argparse
import logging
from contextlib import AbstractContextManager, nullcontext
from inspect import signature

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.datasets import PascalVOCDataset
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, METRICS

from mmseg_boundary.cli import patches
from mmseg_boundary.cli.arguments import add_common_arguments, add_partial_argument, load_config
from mmseg_boundary.cli.errors import plain_errors, stop
from mmseg_boundary.cli.label_images import filled_when_complete
from mmseg_boundary.cli.outputs import require_file, require_folder
from mmseg_boundary.cli.preflight import boundary_metrics, prepare_test
from mmseg_boundary.cli.ranks import leave
from mmseg_boundary.cli.runner import build_runner
from mmseg_boundary.files import atomic_write
from mmseg_boundary.registered import BoundaryMetric
from mmseg_boundary.report import write_report


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test (and evaluate) a model')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--boundary',
        action='store_true',
        help='boundary metrics too, for any config; their settings with --cfg-options, such as '
        'test_evaluator.void_is_boundary=True',
    )
    parser.add_argument('--json', help='file for all numbers, per class and per width')
    parser.add_argument(
        '--per-image', help='file (.npz) for what BoundaryMetric counted in each image'
    )
    parser.add_argument('--out', help='folder for the predictions, as label images')
    parser.add_argument('--show', action='store_true', help='show the boundaries in a window')
    parser.add_argument('--show-dir', help='folder for pictures of the boundaries')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds between shown images')
    parser.add_argument('--tta', action='store_true', help='test time augmentation')
    add_partial_argument(parser)
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    patches.install()
    config = load_config(args)
    config.load_from, config.resume = args.checkpoint, False
    require_test(config)
    if args.show or args.show_dir:
        draw_boundaries(config, args)
    if args.tta:
        use_test_time_augmentation(config)
    dropped = add_boundary_metrics(config) if args.boundary else []
    if args.per_image:
        require_boundary_metric(config)
    with plain_errors(config, args.debug):
        try_outputs(args)
        runner = build_runner(config, ('test_dataloader',), args.partial)
        if dropped:
            warn_of(dropped)
        prepare_test(runner)
        with keep_predictions(runner, args.out) if args.out else nullcontext():
            metrics = runner.test()
        if args.json and is_main_process():
            write_report(args.json, report(args, runner, metrics))
        if args.per_image and is_main_process():
            write_per_image(args.per_image, runner)
    leave()


def require_test(config: Config) -> None:
    for part in ('test_dataloader', 'test_cfg', 'test_evaluator'):
        if config.get(part) is None:
            stop(
                f"The config's {part} is missing or None, and a test needs it. Set it, as "
                "MMSegmentation's own configs do."
            )


def try_outputs(args: argparse.Namespace) -> None:
    """Checks before hours of work that its outputs can be written."""
    if args.out:
        require_folder(args.out, '--out')
    if args.show_dir:
        require_folder(args.show_dir, '--show-dir')
    if args.json:
        require_file(args.json, '--json')
    if args.per_image:
        require_file(args.per_image, '--per-image')


def draw_boundaries(config: Config, args: argparse.Namespace) -> None:
    hooks = config.get('default_hooks') or {}
    hook = hooks.get('visualization') or {}
    # The arguments of a hook other than MMSeg's may mean nothing to ours.
    known = hook.get('type') in ('SegVisualizationHook', 'BoundaryVisualizationHook')
    hook = dict(hook if known else {}, type='BoundaryVisualizationHook', draw=True)
    if args.show:
        hook.update(show=True, wait_time=args.wait_time)
    config.default_hooks = dict(hooks, visualization=hook)
    if args.show_dir:
        files = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
        config.visualizer = dict(config.get('visualizer') or files, save_dir=args.show_dir)


def use_test_time_augmentation(config: Config) -> None:
    if 'tta_pipeline' not in config:
        stop(
            '--tta needs a `tta_pipeline` in the config; those of MMSegmentation and ours scale by '
            '0.5 to 1.75 and flip.'
        )
    config.test_dataloader.dataset.pipeline = config.tta_pipeline
    tta_model = config.get('tta_model', dict(type='SegTTAModel'))
    if tta_model['type'] == 'SegTTAModel':
        tta_model['type'] = 'BoundarySegTTAModel'
    config.model = dict(tta_model, module=config.model)


def add_boundary_metrics(config: Config) -> list[str]:
    """Has the first IoUMetric count boundaries too, so that mIoU keeps its key and is counted
    once; other evaluators stay, and get a BoundaryMetric beside them.

    Returns:
        The arguments of that IoUMetric that were dropped: it accepts and ignores any, and
        BoundaryMetric refuses those that it does not know.
    """
    evaluators = evaluators_of(config)
    if any(metric_class(evaluator) is BoundaryMetric for evaluator in evaluators):
        return []
    plain = [evaluator for evaluator in evaluators if metric_class(evaluator) is IoUMetric]
    if plain:
        plain[0].type = 'BoundaryMetric'
        if plain[0].get('trimap_mode') != 'deeplab':  # which follows void, and takes no such choice
            plain[0].setdefault('void_is_boundary', draws_boundaries_as_void(config))
        known = {'type', '_scope_', *signature(BoundaryMetric).parameters}
        dropped = [key for key in plain[0] if key not in known]
        for key in dropped:
            del plain[0][key]
        return dropped
    boundary = dict(type='BoundaryMetric', prefix='boundary')
    boundary['void_is_boundary'] = draws_boundaries_as_void(config)
    config.test_evaluator = [*evaluators, boundary]
    return []


def warn_of(dropped: list[str]) -> None:
    print_log(
        f'--boundary drops {", ".join(dropped)} of the IoUMetric in test_evaluator, which ignores '
        'what it does not know; BoundaryMetric has no such argument. Take it out of the config, or '
        'correct its spelling.',
        logger='current',
        level=logging.WARNING,
    )


def draws_boundaries_as_void(config: Config) -> bool:
    """Whether the test set is VOC, whatever it is called and wrapped in; as in our configs."""
    dataset = config.test_dataloader.dataset
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    kind = DATASETS.get(dataset.type) if isinstance(dataset.type, str) else dataset.type
    return isinstance(kind, type) and issubclass(kind, PascalVOCDataset)


def keep_predictions(runner: Runner, folder: str) -> AbstractContextManager:
    """Has one evaluator write the label images; others of a list would write the same again."""
    for metric in runner.test_loop.evaluator.metrics:
        if isinstance(metric, IoUMetric):
            return filled_when_complete(folder, metric, runner.test_dataloader.dataset)
    stop('--out needs an IoUMetric among the evaluators of the config.')


def evaluators_of(config: Config) -> list[dict]:
    evaluators = config.test_evaluator
    return list(evaluators) if isinstance(evaluators, (list, tuple)) else [evaluators]


def metric_class(evaluator: dict) -> type:
    metric = METRICS.get(evaluator.type) if isinstance(evaluator.type, str) else evaluator.type
    return metric if isinstance(metric, type) else object


def require_boundary_metric(config: Config) -> None:
    if not any(issubclass(metric_class(each), BoundaryMetric) for each in evaluators_of(config)):
        stop('--per-image needs a BoundaryMetric among the evaluators: add --boundary.')


def write_per_image(path: str, runner: Runner) -> None:
    """What the first BoundaryMetric counted; the others count the same pixels."""
    arrays = boundary_metrics(runner.test_loop)[0].per_image()
    # an open file: NumPy would append a suffix to a name without one
    with atomic_write(path) as unfinished, unfinished.open('wb') as file:
        np.savez_compressed(file, **arrays)


def report(args: argparse.Namespace, runner: Runner, metrics: dict) -> dict:
    """The means of all evaluators, and what each BoundaryMetric found per class."""
    return dict(
        config=args.config,
        checkpoint=args.checkpoint,
        tta=args.tta,
        metrics=metrics,
        evaluators=[
            dict(prefix=metric.prefix, **metric.details)
            for metric in boundary_metrics(runner.test_loop)
            if metric.details
        ],
    )


if __name__ == '__main__':
    main()

"""Evaluates a checkpoint: MMSegmentation's command line, also on CPU ranks.

python tools/test.py configs/pspnet_epl_shapes.py work_dirs/pspnet_epl_shapes/iter_300.pth
"""

import argparse

from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from mmseg_boundary.launch import add_common_arguments, build_runner, load_config, plain_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test (and evaluate) a model')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='folder for the predictions, as label images')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', help='folder for painted predictions')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds between shown images')
    parser.add_argument('--tta', action='store_true', help='test time augmentation')
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = load_config(args)
    config.load_from = args.checkpoint
    if args.show or args.show_dir:
        draw_predictions(config, args)
    if args.tta:
        use_test_time_augmentation(config)
    if args.out:
        keep_predictions(config, args.out)
    with plain_errors(config):
        build_runner(config, ('test_dataloader',)).test()


def draw_predictions(config: Config, args: argparse.Namespace) -> None:
    hook = config.default_hooks.get('visualization')
    if hook is None:
        raise SystemExit(
            '--show and --show-dir need a hook that draws. Add it: --cfg-options '
            'default_hooks.visualization.type=SegVisualizationHook'
        )
    hook.draw = True
    if args.show:
        hook.show = True
        hook.wait_time = args.wait_time
    if args.show_dir:
        config.visualizer.save_dir = args.show_dir


def use_test_time_augmentation(config: Config) -> None:
    if 'tta_pipeline' not in config or 'tta_model' not in config:
        raise SystemExit('--tta needs `tta_pipeline` and `tta_model` in the config.')
    config.test_dataloader.dataset.pipeline = config.tta_pipeline
    config.tta_model.module = config.model
    config.model = config.tta_model


def keep_predictions(config: Config, folder: str) -> None:
    """Has one evaluator write the label images; others of a list would write the same again."""
    evaluators = config.test_evaluator
    for evaluator in evaluators if isinstance(evaluators, list) else [evaluators]:
        metric = METRICS.get(evaluator.type)
        if isinstance(metric, type) and issubclass(metric, IoUMetric):
            evaluator.output_dir = folder
            evaluator.keep_results = True
            return
    raise SystemExit('--out needs an IoUMetric among the evaluators of the config.')


if __name__ == '__main__':
    main()

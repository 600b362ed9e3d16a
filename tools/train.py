"""Trains a segmentor: MMSegmentation's command line, also on CPU ranks.

python tools/train.py configs/pspnet_epl_shapes.py
bash tools/dist_train.sh configs/pspnet_epl_city.py 4
"""

import argparse
import os

# Read when torch loads. Its threads spin while they wait for each other; beside other programs this
# takes the core from the thread that is waited for (`tools/benchmark.py --beside 4` measures it).
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401
import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.cli import patches
from mmseg_boundary.cli.arguments import add_common_arguments, add_partial_argument, load_config
from mmseg_boundary.cli.errors import plain_errors, stop
from mmseg_boundary.cli.preflight import prepare_training
from mmseg_boundary.cli.ranks import leave
from mmseg_boundary.cli.runner import build_runner, check_losses
from mmseg_boundary.compiled import compile_from


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a segmentor')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='go on from the newest whole checkpoint in the work folder, if there is one',
    )
    add_partial_argument(parser)
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    patches.install()
    config = load_config(args)
    config.resume = args.resume
    if args.amp:
        use_mixed_precision(config)
    check_losses(config)
    with plain_errors(config, args.debug):
        runner = build_runner(config, ('train_dataloader', 'val_dataloader'), args.partial)
        prepare_training(runner)
        runner.train()
    leave()


def use_mixed_precision(config: dict) -> None:
    wrapper = config.optim_wrapper
    if wrapper.type not in ('OptimWrapper', 'AmpOptimWrapper'):
        stop(
            f'--amp replaces an OptimWrapper, but the config has {wrapper.type}: set its precision '
            'in the config instead.'
        )
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


if __name__ == '__main__':
    compile_from(0)  # long enough to be worth it, whatever the batch
    main()

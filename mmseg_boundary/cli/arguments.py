"""MMSeg's common arguments, and the config that they name."""

import argparse
import os
from pathlib import Path

from mmengine.config import Config, DictAction

from .errors import stop


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that MMSeg's `train.py` and `test.py` have in common."""
    parser.add_argument('--work-dir', help='folder for logs, results and checkpoints')
    add_config_options(parser)
    add_debug_argument(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes it; torchrun sets the variable instead
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """`--cfg-options`, which every tool takes."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config: key=value pairs; lists as key="[a,b]" or key=a,b, '
        'without white space',
    )


def add_debug_argument(parser: argparse.ArgumentParser) -> None:
    """`--debug`, which every tool takes that uses `plain_errors`."""
    parser.add_argument(
        '--debug', action='store_true', help='print the traceback of an error above its sentence'
    )


def add_partial_argument(parser: argparse.ArgumentParser) -> None:
    """`--partial`, which every tool takes that reads a checkpoint of its config's net."""
    parser.add_argument(
        '--partial',
        action='store_true',
        help='take what fits of a checkpoint of another net; the rest stays as it is initialised',
    )


def read_config(path: str, options: dict | None) -> Config:
    """The config file with the overrides of `--cfg-options`."""
    if not Path(path).is_file():
        stop(f'The config {path} does not exist. `ls configs` lists ours.')
    config = Config.fromfile(path)
    if options is not None:
        config.merge_from_dict(options)
    return config


def load_config(args: argparse.Namespace) -> Config:
    """The config file with the command line's overrides, a work folder and the launcher."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = read_config(args.config, args.cfg_options)
    config.launcher = args.launcher
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs', Path(args.config).stem))
    return config

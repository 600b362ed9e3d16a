"""MMSeg's common arguments, and the config that they name."""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, DictAction

from .errors import stop
from .parts import require_launched

# A dict, alone or in a list: of JSON, of Python, or as the shell leaves it, without quotes.
DICT = re.compile(
    r"""(^|[\[(,])\s*["']?(\{\s*["']?[A-Za-z_]\w*["']?\s*:|\{\s*\}["']?($|[\]),])|dict\()"""
)


class Options(DictAction):
    """MMEngine's `DictAction`, which ends the process with a sentence for an option that it cannot
    read, and for dicts, which it would take for strings."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Adds KEY=VALUE pairs to the options."""
        for each in values:
            key, equals, value = each.partition('=')
            if not (equals and all(key.split('.'))):
                stop(
                    f'--cfg-options got {each!r}; give KEY=VALUE, without white space, such as '
                    'train_cfg.max_iters=100.'
                )
            if DICT.search(value):
                stop(
                    f'--cfg-options got {each!r}, but no value can be a dict; give each of its '
                    f'entries as a KEY=VALUE of its own, such as {key}.NAME=VALUE, or set it in a '
                    'config that inherits this one.'
                )
            try:
                self._parse_iterable(value)
            except AssertionError:
                stop(
                    f'--cfg-options got {each!r}, whose brackets do not match; close each of them.'
                )
        super().__call__(parser, namespace, values, option_string)


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
        action=Options,
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


def add_net_arguments(parser: argparse.ArgumentParser, nargs: str) -> None:
    """Configs, each with checkpoints, and what these are called."""
    parser.add_argument(
        'nets',
        nargs=nargs,
        metavar='CONFIG CHECKPOINT',
        help='a config and one or more checkpoints of it, and further configs with theirs',
    )
    parser.add_argument(
        '--names', nargs='+', help="the checkpoints' names (default: those of the files)"
    )


def add_figure_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """`--out` and `--force`, of the tools that draw one figure."""
    parser.add_argument(
        '--out', type=Path, default=Path(name), help=f'the figure, PNG or SVG (default: {name})'
    )
    parser.add_argument('--force', action='store_true', help='replace the figure')


def read_config(path: str, options: dict | None) -> Config:
    """The config file with the overrides of `--cfg-options`."""
    if not Path(path).is_file():
        stop(f'The config {path} does not exist. `ls configs` lists ours.')
    config = Config.fromfile(path)
    if options is not None:
        _require_places(config.to_dict(), options)
        config.merge_from_dict(options)
    return config


def _require_places(settings: dict, options: dict) -> None:
    """Ends the process where the key of an option leads through what has no such entry."""
    for key in options:
        names, node = key.split('.'), settings
        for index, name in enumerate(names):
            place = '.'.join(names[:index])
            if place in options:
                stop(f'--cfg-options sets {place} and {key} in it; leave out one of them.')
            if isinstance(node, dict):
                if name not in node or f'{place}.{name}._delete_'.lstrip('.') in options:
                    break
                node = node[name]
            elif not isinstance(node, (list, tuple)):
                stop(
                    f'--cfg-options sets {key}, but in the config {place} is {node!r}, which has '
                    f'no entries; to put a dict in its place, add {place}._delete_=True.'
                )
            elif isinstance(node, tuple) or index == len(names) - 1:
                stop(
                    f'--cfg-options sets {key}, but single values in a list cannot be replaced; '
                    f'give the whole list, {place}=[...].'
                )
            elif not (name.isdigit() and int(name) < len(node)):
                last = len(node) - 1
                remedy = f'give an index from 0 to {last}' if node else f'give it, {place}=[...]'
                stop(
                    f'--cfg-options sets {key}, but in the config {place} is a list of length '
                    f'{len(node)}; {remedy}.'
                )
            else:
                node = node[int(name)]


def load_config(args: argparse.Namespace) -> Config:
    """The config file with the command line's overrides, a work folder and the launcher."""
    require_launched(args.launcher)
    slurm = os.environ.get('SLURM_LOCALID') if args.launcher == 'slurm' else None
    os.environ.setdefault('LOCAL_RANK', slurm or str(args.local_rank))
    config = read_config(args.config, args.cfg_options)
    config.launcher = args.launcher
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs', Path(args.config).stem))
    return config

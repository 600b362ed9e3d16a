"""What the tools share: MMSeg's common arguments, ranks without a GPU, safe loading, and plain
words for what a user can mend."""

import argparse
import logging
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from . import stacks

# torch obeys this over any argument: onedl's loader falls back to running a pickle that it could
# not load safely, and mmlab users often have the opposite switch set.
if stacks.SAFE_LOADING:
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)

HEADS_WITH_OPERATORS = {'PSAHead': 'PSAMask', 'CCHead': 'CrissCrossAttention'}


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that MMSeg's `train.py` and `test.py` have in common."""
    parser.add_argument('--work-dir', help='folder for logs, results and checkpoints')
    add_config_options(parser)
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


def require_parts(config: Config, dataloaders: tuple[str, ...]) -> None:
    """Looks for what a run would stumble over much later.

    Args:
        config: the whole config.
        dataloaders: the names of those that will be read, such as 'train_dataloader'.

    Raises:
        SystemExit: an operator, a data set or a checkpoint is missing; says which and the remedy.
    """
    _require_operators(config.model)
    for name in dataloaders:
        _require_data(name, config.get(name))
    for checkpoint in _checkpoints(config, 'train_dataloader' in dataloaders):
        if '://' not in checkpoint and not Path(checkpoint).expanduser().is_file():
            stop(
                f'The checkpoint {checkpoint} does not exist. Training writes iter_N.pth, and the '
                "last one's name into last_checkpoint, in its work folder (work_dirs/CONFIG)."
            )


def build_runner(config: Config, dataloaders: tuple[str, ...]) -> Runner:
    """MMEngine's runner, after `require_parts`; the config's `launcher` is set."""
    require_parts(config, dataloaders)
    if config.launcher == 'pytorch' and get_device() == 'cpu':
        _prepare_cpu_ranks(config)
    return RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)


def stop(sentence: str) -> NoReturn:
    """Ends the process with a sentence, which one rank of a node says for all."""
    raise SystemExit(sentence if os.environ.get('LOCAL_RANK', '0') == '0' else 1)


def leave() -> None:
    """Ends a rank without a GPU when all is done.

    Before the interpreter takes itself apart: now and then gloo's threads abort that, and the
    launcher reports a failure that is none.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == 'gloo':
        torch.distributed.barrier()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@contextmanager
def plain_errors(config: Config) -> Iterator[None]:
    """Turns what fails for want of a network or a trustworthy file into one sentence."""
    try:
        yield
    except Exception as error:
        # MMEngine's builders wrap what they catch
        for cause in _chain(error):
            if isinstance(cause, URLError):
                stop(_no_download(config, cause))
            if isinstance(cause, pickle.UnpicklingError):
                stop(_unsafe_checkpoint(config))
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_download(config: Config, error: URLError) -> str:
    wanted = [name for name in _checkpoints(config, training=True) if '://' in name]
    return (
        f'{" or ".join(wanted)} could not be downloaded: {error}. Fetch the file elsewhere and '
        'name its path instead (pretrained weights: --cfg-options '
        'model.pretrained=/path/to/weights.pth), or train from scratch with --cfg-options '
        'model.pretrained=None'
    )


def _unsafe_checkpoint(config: Config) -> str:
    wanted = _checkpoints(config, training=True)
    return (
        f'The checkpoint {" or ".join(wanted)} cannot be read as tensors and plain values: it is '
        'damaged, or reading it would mean to run code that it brings, so it is refused. If you '
        'know where it comes from, keep its weights alone: python -c "import torch; c = '
        "torch.load('FILE', weights_only=False); torch.save({'state_dict': c['state_dict']}, "
        "'NEW')\""
    )


def _checkpoints(config: Config, training: bool) -> list[str]:
    """Every checkpoint that a run reads: paths, URLs and MMEngine's names for URLs."""
    found = [config.get('load_from')]
    latest = Path(config.get('work_dir') or '.', 'last_checkpoint')
    if config.get('resume') and not config.get('load_from') and latest.is_file():
        found.append(latest.read_text().strip())
    for _, node in _dicts_in(config.model) if training else ():
        found.append(node.get('pretrained'))
        if node.get('type') == 'Pretrained':
            found.append(node.get('checkpoint'))
    return list(dict.fromkeys(name for name in found if isinstance(name, str) and name))


def _dicts_in(config: object, key: str = '') -> Iterator[tuple[str, dict]]:
    """Every dict of a config, with its key as `--cfg-options` writes it."""
    if isinstance(config, dict):
        yield key, config
        parts = list(config.items())
    else:
        parts = list(enumerate(config)) if isinstance(config, (list, tuple)) else []
    for name, part in parts:
        yield from _dicts_in(part, f'{key}.{name}' if key else str(name))


def _require_operators(model: dict) -> None:
    if stacks.has_compiled_operators():
        return
    for _, node in _dicts_in(model):
        operator = HEADS_WITH_OPERATORS.get(node.get('type'))
        if operator:
            mmcv = 'onedl-mmcv' if stacks.STACK == 'onedl' else 'mmcv==2.1.0'
            stop(
                f"{node['type']} needs mmcv's compiled {operator}, and mmcv is installed without "
                'its operators. Compile it (mmlab: with setuptools below 81): pip install '
                f'--no-build-isolation --no-cache-dir --force-reinstall --no-deps {mmcv}'
            )


def _require_data(dataloader: str, config: dict | None) -> None:
    for key, dataset in _dicts_in(config, dataloader):
        # Another storage than the file system is not ours to look into.
        if not dataset.get('data_root') or dataset.get('backend_args'):
            continue
        # Not the labels: a test set may have none.
        images = (dataset.get('data_prefix') or {}).get('img_path')
        for place in filter(None, (dataset.get('ann_file'), images)):
            path = Path(dataset['data_root'], place)
            if '://' not in str(place) + dataset['data_root'] and not path.exists():
                stop(
                    f'The data set is not there: {path} ({key}, {dataset.get("type")}) does not '
                    f'exist. Put or link the data at {dataset["data_root"]}, or name its place: '
                    f'--cfg-options {key}.data_root=/path/to/data'
                )


def _prepare_cpu_ranks(config: Config) -> None:
    """Several ranks without a GPU: gloo instead of NCCL, and no device for the wrapper."""
    # MMEngine asks CUDA for a device when it makes the group itself.
    timeout = config.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800)
    torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout))
    config.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': config.get('find_unused_parameters', False),
        **(config.get('model_wrapper_cfg') or {}),
        'device_ids': None,
    }
    synchronised = [node for _, node in _dicts_in(config.model) if node.get('type') == 'SyncBN']
    for node in synchronised:
        node['type'] = 'BN'
    if synchronised and torch.distributed.get_rank() == 0:
        print_log('No GPU: SyncBN runs as BN, whose statistics are those of each rank.')

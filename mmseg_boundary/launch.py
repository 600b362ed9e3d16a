"""What the tools share: MMSeg's common arguments, ranks without a GPU, safe loading, and plain
words for what a user can mend."""

import argparse
import atexit
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.error import URLError

# torch obeys this over any argument: onedl's loader falls back to running a pickle that it could
# not load safely, and mmlab users often have the opposite switch set.
os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from . import stacks

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
        raise SystemExit(f'The config {path} does not exist. `ls configs` lists ours.')
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
    _require_checkpoint(config.get('load_from'))


def build_runner(config: Config, dataloaders: tuple[str, ...]) -> Runner:
    """MMEngine's runner, after `require_parts`; the config's `launcher` is set."""
    require_parts(config, dataloaders)
    if config.launcher == 'pytorch' and get_device() == 'cpu':
        _prepare_cpu_ranks(config)
    return RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)


@contextmanager
def plain_errors(config: Config) -> Iterator[None]:
    """Turns what fails for want of a network or a trustworthy file into one sentence."""
    try:
        yield
    except Exception as error:
        # MMEngine's builders wrap what they catch
        for cause in _chain(error):
            if isinstance(cause, URLError):
                raise SystemExit(_no_download(config, cause)) from None
            if isinstance(cause, pickle.UnpicklingError):
                raise SystemExit(_unsafe_checkpoint(config)) from None
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_download(config: Config, error: URLError) -> str:
    wanted = ', '.join(dict.fromkeys(_pretrained_weights(config.model))) or 'a file'
    return (
        f'The pretrained weights ({wanted}) could not be downloaded: {error}. Train from scratch '
        'with --cfg-options model.pretrained=None, or fetch the file elsewhere and name it: '
        '--cfg-options model.pretrained=/path/to/weights.pth'
    )


def _unsafe_checkpoint(config: Config) -> str:
    name = config.get('load_from') or f'to resume from in {config.work_dir}'
    return (
        f'The checkpoint {name} cannot be read as tensors and plain values: it is damaged, or '
        'reading it would mean to run code that it brings, so it is refused. If you know where it '
        "comes from, keep its weights alone: python -c \"import torch; c = torch.load('FILE', "
        "weights_only=False); torch.save({'state_dict': c['state_dict']}, 'NEW')\""
    )


def _pretrained_weights(config: object) -> Iterator[str]:
    """Every checkpoint that a model config wants to start from."""
    for node in _dicts_in(config):
        if isinstance(node.get('pretrained'), str):
            yield node['pretrained']
        if node.get('type') == 'Pretrained':
            yield str(node.get('checkpoint'))


def _dicts_in(config: object) -> Iterator[dict]:
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for value in config:
            yield from _dicts_in(value)


def _require_operators(model: dict) -> None:
    if stacks.has_compiled_operators():
        return
    for node in _dicts_in(model):
        operator = HEADS_WITH_OPERATORS.get(node.get('type'))
        if operator:
            mmcv = 'onedl-mmcv' if stacks.STACK == 'onedl' else 'mmcv'
            raise SystemExit(
                f"{node['type']} needs mmcv's compiled {operator}, and mmcv is installed without "
                f'its operators: install a binary wheel (mim install {mmcv}), or compile it (pip '
                f'install --no-build-isolation --no-cache-dir --force-reinstall --no-deps {mmcv}).'
            )


def _require_data(dataloader: str, config: dict | None) -> None:
    for dataset in _dicts_in(config):
        # Another storage than the file system is not ours to look into.
        if not dataset.get('data_root') or dataset.get('backend_args'):
            continue
        places = [dataset.get('ann_file'), *(dataset.get('data_prefix') or {}).values()]
        for place in filter(None, places):
            path = Path(dataset['data_root'], place)
            if '://' not in str(place) + dataset['data_root'] and not path.exists():
                raise SystemExit(
                    f'The data set is not there: {path} ({dataloader}, {dataset.get("type")}) '
                    f'does not exist. Put or link the data at {dataset["data_root"]}, or name its '
                    f'place: --cfg-options {dataloader}.dataset.data_root=/path/to/data'
                )


def _require_checkpoint(checkpoint: str | None) -> None:
    if checkpoint and '://' not in checkpoint and not Path(checkpoint).expanduser().is_file():
        raise SystemExit(
            f'The checkpoint {checkpoint} does not exist. Training writes iter_N.pth, and the '
            "last one's name into last_checkpoint, in its work folder (work_dirs/CONFIG)."
        )


def _prepare_cpu_ranks(config: Config) -> None:
    """Several ranks without a GPU: gloo instead of NCCL, and no device for the wrapper."""
    # MMEngine asks CUDA for a device when it makes the group itself.
    timeout = config.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800)
    torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout))
    # A group that is alive when the interpreter ends aborts the process now and then.
    atexit.register(torch.distributed.destroy_process_group)
    config.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': config.get('find_unused_parameters', False),
        **config.get('model_wrapper_cfg', {}),
        'device_ids': None,
    }
    synchronised = [node for node in _dicts_in(config.model) if node.get('type') == 'SyncBN']
    for node in synchronised:
        node['type'] = 'BN'
    if synchronised and torch.distributed.get_rank() == 0:
        print_log('No GPU: SyncBN runs as BN, whose statistics are those of each rank.')

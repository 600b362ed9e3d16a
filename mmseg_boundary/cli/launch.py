"""What the tools share: MMSeg's common arguments, ranks without a GPU, safe loading, and plain
words for what a user can mend."""

import argparse
import logging
import os
import pickle
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .. import stacks
from ..files import REMEDIES, UnwrittenFile, atomic_write
from . import checkpoints, safe_loading
from .outputs import GatherInWorkFolder, require_folder


class WholeFileBackend(LocalBackend):
    """MMEngine's file system, where a file that is being written has another name until it is
    whole: a run that is killed meanwhile leaves the checkpoint before."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes `obj` to `filepath`, all of it or nothing."""
        with atomic_write(filepath) as unfinished:
            super().put(obj, unfinished)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Writes `obj` to `filepath`, all of it or nothing."""
        with atomic_write(filepath) as unfinished:
            super().put_text(obj, unfinished, encoding)


register_backend('local', WholeFileBackend, force=True, prefixes='')

# of MMEngine's modules, those that write without `atomic_write`
WRITERS = (
    'config.config',
    'dist.dist',
    'hooks.checkpoint_hook',
    'logging.logger',
    'visualization.vis_backend',
)
PATIENCE = 10.0  # seconds
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
    """The config file with the overrides of `--cfg-options`.

    From here on no checkpoint runs code, whatever the config makes of it.
    """
    safe_loading.install()
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
    # A run that is resumed reads its own instead of `load_from`.
    unread = config.get('load_from') if config.get('resume') else None
    for checkpoint in _checkpoints(config, 'train_dataloader' in dataloaders):
        if checkpoint != unread:
            _require_checkpoint(checkpoint)


def _require_checkpoint(name: str) -> None:
    if '://' not in name and not Path(name).expanduser().is_file():
        stop(
            f'The checkpoint {name} does not exist. Training writes iter_N.pth, and the last '
            "one's name into last_checkpoint, in its work folder (work_dirs/CONFIG)."
        )


def check_losses(config: Config) -> None:
    """Adds the hook that ends training at the first loss that is NaN or infinite, and where a loss
    of ours is never called."""
    hooks = list(config.get('custom_hooks') or [])
    if not any(map(_checks_losses, hooks)):
        hooks.append(dict(type='mmseg.CheckFiniteLossHook'))
    for hook in hooks:
        if _checks_losses(hook) and isinstance(hook, dict):
            hook.setdefault('uncalled_loss', 'stop')
    config.custom_hooks = hooks


def _checks_losses(hook: object) -> bool:
    kind = hook['type'] if isinstance(hook, dict) else type(hook)
    name = kind if isinstance(kind, str) else kind.__name__
    return name.rpartition('.')[2] == 'CheckFiniteLossHook'


def add_partial_argument(parser: argparse.ArgumentParser) -> None:
    """`--partial`, which every tool takes that reads a checkpoint of its config's net."""
    parser.add_argument(
        '--partial',
        action='store_true',
        help='take what fits of a checkpoint of another net; the rest stays as it is initialised',
    )


def build_runner(config: Config, dataloaders: tuple[str, ...], partial: bool = False) -> Runner:
    """MMEngine's runner, after `require_parts`; the config's `launcher` is set.

    One that trains has the work folder for itself, and knows from which checkpoint it goes on
    (`config.resume`). `partial` allows a checkpoint of another net; `load_from` of a training
    always may be one.
    """
    require_parts(config, dataloaders)
    require_folder(config.work_dir, 'The work folder (--work-dir)')
    training = 'train_dataloader' in dataloaders
    notes = _begin(config) if training else []
    stacks.mend_loading()
    if config.launcher == 'pytorch' and get_device() == 'cpu':
        _prepare_cpu_ranks(config)
    runner = RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)
    runner.register_hook(GatherInWorkFolder())
    for note in notes:
        print_log(note, 'current')
    if training:
        checkpoints.require_agreement(config)
    if config.get('resume') or not training:
        gathered = (config.get('optim_wrapper') or {}).get('accumulative_counts', 1)
        checkpoints.watch_runner(runner, partial, resumes=training, updates_every=gathered)
    return runner


def _begin(config: Config) -> list[str]:
    """Takes the work folder, and settles from which checkpoint the training goes on, if any."""
    notes = checkpoints.claim(config.work_dir) if _is_first_rank(config) else []
    notes += checkpoints.choose_start(config)
    if config.get('load_from'):
        _require_checkpoint(config.load_from)
    return notes


def _is_first_rank(config: Config) -> bool:
    """Whether this is the first of all ranks, before they make a group."""
    ranks = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')
    return os.environ.get(ranks.get(config.launcher, ''), '0') == '0'


def stop(sentence: str, every_rank: bool = False) -> NoReturn:
    """Ends the process with a sentence.

    Args:
        sentence: what is wrong and what to do.
        every_rank: it may be news to this rank alone; else one rank of a node says it for all.
    """
    says = every_rank or os.environ.get('LOCAL_RANK', '0') == '0'
    if not says:
        # torchrun kills all ranks when one has ended, and one of them has yet to say it
        time.sleep(PATIENCE)
    if _has_gloo():
        if says:
            print(sentence, file=sys.stderr)
        _leave(1)
    raise SystemExit(sentence if says else 1)


def leave() -> None:
    """Ends a rank without a GPU when all is done."""
    if _has_gloo():
        torch.distributed.barrier()
        _leave(0)


def _has_gloo() -> bool:
    return torch.distributed.is_initialized() and torch.distributed.get_backend() == 'gloo'


def _leave(status: int) -> NoReturn:
    # Before the interpreter takes itself apart: now and then gloo's threads abort that, and the
    # launcher reports a failure that is none.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextmanager
def plain_errors(config: Config) -> Iterator[None]:
    """Turns what a user can mend into one sentence; every other error keeps its stack of frames.

    These are: no network, a checkpoint that is damaged, would run code or is of another net, a
    picture that cannot be read, a full disk, an argument in the config that its class does not
    know, and whatever this package refuses.
    """
    try:
        yield
    except Exception as error:
        for cause in _chain(error):
            frames = _frames(cause)
            building = ('mmengine.registry.build_functions', 'build_from_cfg') in frames
            if isinstance(cause, URLError):
                stop(_no_download(config, cause))
            if isinstance(cause, safe_loading.OldTorch):
                stop(str(cause))
            if isinstance(cause, pickle.UnpicklingError):
                stop(_unsafe_checkpoint(config))
            if ('torch.serialization', 'load') in frames and _is_cut_off(cause):
                stop(_damaged_checkpoint(config))
            if isinstance(cause, stacks.UnfitFile):
                # A worker of the data loader sends the text of its stack of frames.
                stop(str(cause).rpartition('UnfitFile: ')[2].strip(), every_rank=True)
            if isinstance(cause, UnwrittenFile):
                stop(str(cause), cause.every_rank)
            if isinstance(cause, OSError) and cause.errno in REMEDIES and _writes_logs(frames):
                stop(_unwritten_log(config, cause), every_rank=True)
            if isinstance(cause, (TypeError, KeyError)) and building:
                sentence = _misspelt(config, cause)
                if sentence:
                    stop(sentence)
            stranger = re.search(r'Target (-?\d+) is out of bounds', str(cause))
            if isinstance(cause, IndexError) and stranger:
                stop(_label_out_of_range(stranger[1]), every_rank=True)
            if isinstance(cause, (ValueError, FloatingPointError)) and _is_ours(frames):
                # Before training all ranks have looked at the same.
                before = ('mmseg_boundary.cli.preflight', 'prepare_training') in frames
                shared = building or before or getattr(cause, 'same_on_all_ranks', False)
                stop(str(cause), every_rank=not shared)
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _frames(error: BaseException) -> list[tuple[str, str]]:
    """(module, function) that an error came through, the one that raised it last."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [(frame.f_globals.get('__name__', ''), frame.f_code.co_name) for frame in frames]


def _is_ours(frames: list[tuple[str, str]]) -> bool:
    return bool(frames) and frames[-1][0].startswith('mmseg_boundary.')


def _writes_logs(frames: list[tuple[str, str]]) -> bool:
    # What MMEngine writes itself. Others may be full too: a cache of weights, shared memory.
    modules = {module for module, _ in frames}
    return bool(modules & {f'mmengine.{name}' for name in WRITERS})


def _is_cut_off(error: Exception) -> bool:
    # Others are not the file's: CUDA may be out of memory when a checkpoint is read onto it.
    said = ('PytorchStreamReader', 'unexpected EOF', 'corrupted')
    return isinstance(error, EOFError) or any(words in str(error) for words in said)


def _misspelt(config: Config, error: TypeError | KeyError) -> str | None:
    """For an argument that a class does not know or lacks, and a class that nobody registered."""
    said = str(error.args[0]) if error.args else ''
    if isinstance(error, KeyError):
        if ' is not in the ' not in said:
            return None
        name = said.split(' ')[0]
        places = [key for key, node in _dicts_in(config.to_dict()) if node.get('type') == name]
        remedy = 'Check its spelling; classes of your own, and ours, have to be named in '
        remedy += "`custom_imports` (ours: 'mmseg_boundary.registered')."
        return f'{said.split(". ")[0]}{_at(places)}. {remedy}'
    unknown = re.search(r"unexpected keyword argument '(\w+)'", said)
    if unknown is None and not re.search(r'missing \d+ required', said):
        return None
    name = unknown[1] if unknown else None
    places = [f'{key}.{name}' for key, node in _dicts_in(config.to_dict()) if name in node]
    if unknown and not places:
        return None  # not from the config: a mistake in the code of the class
    return f"{said}{_at(places)}. Check the config's spelling, and the class's arguments."


def _label_out_of_range(label: str) -> str:
    return (
        f'labels hold [{label}], which is neither a class of the head nor void. Check its number '
        "of classes, its ignore_index and the data set's label map."
    )


def _at(places: list[str]) -> str:
    return f' (in the config: {", ".join(places)})' if places else ''


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


def _unwritten_log(config: Config, error: OSError) -> str:
    places = {config.get('work_dir'), (config.get('visualizer') or {}).get('save_dir')} - {None}
    return (
        'What a run keeps beside its results (log, settings, last_checkpoint) could not be '
        f'written: {error.strerror}. It is in {" or ".join(sorted(places))}. '
        f'{REMEDIES[error.errno]}, or name another place.'
    )


def _damaged_checkpoint(config: Config) -> str:
    wanted = _checkpoints(config, training=True)
    return (
        f'The checkpoint {" or ".join(wanted)} is damaged or not whole, as a run leaves it that is '
        'killed while it writes. Take another. For --resume, write its path into '
        f'{Path(config.get("work_dir") or ".", "last_checkpoint")}.'
    )


def _checkpoints(config: Config, training: bool) -> list[str]:
    """Every checkpoint that a run reads: paths, URLs and MMEngine's names for URLs."""
    found = [config.get('load_from')]
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
        places = list(filter(None, (dataset.get('ann_file'), images)))
        for place in places:
            path = Path(dataset['data_root'], place)
            if '://' in str(place) + dataset['data_root']:
                continue
            if not path.exists():
                stop(
                    f'The data set is not there: {path} ({key}, {dataset.get("type")}) does not '
                    f'exist. Put or link the data at {dataset["data_root"]}, or name its place: '
                    f'--cfg-options {key}.data_root=/path/to/data'
                )
            # a list says which images there are, and else the folder does
            suffix = dataset.get('img_suffix') or ''
            if place == places[0] and not _has_names(path, suffix):
                stop(
                    f'The data set is empty: {path} ({key}, {dataset.get("type")}) has no images'
                    f'{suffix and f" that end in {suffix!r}"}. Is it the right place?'
                )


def _has_names(path: Path, suffix: str) -> bool:
    """Whether a list has a line, or a folder, at whatever depth, a file of this suffix."""
    if path.is_file():
        return bool(path.read_text().strip())
    folders = os.walk(path, followlinks=True)
    return any(name.endswith(suffix) for _, _, names in folders for name in names)


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

"""Turns errors that a user can fix into one sentence."""

import os
import pickle
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.logging import MMLogger

from .. import compat
from ..files import REMEDIES, UnwrittenFile
from . import safe_loading
from .config_tree import checkpoints_in, dicts_in
from .ranks import end, has_gloo

# of MMEngine's modules, those that write without `atomic_write`
WRITERS = (
    'config.config',
    'dist.dist',
    'hooks.checkpoint_hook',
    'logging.logger',
    'visualization.vis_backend',
)
PATIENCE = 10.0  # seconds


class UnfitStart(ValueError):
    """A run must not begin with its work folder or checkpoint as it is; says why, and the remedy.

    All ranks find the same, or the first alone.
    """

    same_on_all_ranks = True


def stop(sentence: str, every_rank: bool = False) -> NoReturn:
    """Ends the process with a sentence.

    Args:
        sentence: what is wrong and what to do.
        every_rank: every rank says it, since it may be the only one to know; else one rank of each
            node says it for all.
    """
    says = _says(every_rank)
    if not says:
        # torchrun kills all ranks when one has ended, and one of them has yet to say it
        time.sleep(PATIENCE)
    if has_gloo():
        if says:
            print(sentence, file=sys.stderr)
        end(1)
    raise SystemExit(sentence if says else 1)


def _says(every_rank: bool) -> bool:
    return every_rank or os.environ.get('LOCAL_RANK', '0') == '0'


@contextmanager
def plain_errors(config: Config, debug: bool = False) -> Iterator[None]:
    """Turns what a user can fix into one sentence; every other error is raised as it is.

    These are: no network, a checkpoint that is damaged, would run code or is of another net, an
    image that cannot be read, a full disk, an argument in the config that its class does not
    know, and whatever this package refuses. The traceback of any error is in the run's log file,
    so that a mistake in the code is not hidden behind a sentence; a line says so where it is not.

    Args:
        config: of the run.
        debug: whether the traceback is printed above the sentence.
    """
    try:
        yield
    except Exception as error:
        sentence, every_rank = _sentence_for(config, error)
        if sentence is None:
            _log_traceback(config, error)
            raise
        if _says(every_rank):
            logged = _log_traceback(config, error)
            if debug:
                traceback.print_exception(error)
            elif not logged:
                print('No log has the traceback of this; --debug prints it.', file=sys.stderr)
        stop(sentence, every_rank)


def _sentence_for(config: Config, error: Exception) -> tuple[str | None, bool]:
    """The sentence for an error that a user can fix, else None; and whether every rank says it."""
    for cause in _chain(error):
        frames = _frames(cause)
        building = ('mmengine.registry.build_functions', 'build_from_cfg') in frames
        if isinstance(cause, URLError):
            return _no_download(config, cause), False
        if isinstance(cause, safe_loading.OldTorch):
            return str(cause), False
        if isinstance(cause, pickle.UnpicklingError):
            return _unsafe_checkpoint(config), False
        if ('torch.serialization', 'load') in frames and _is_cut_off(cause):
            return _damaged_checkpoint(config), False
        if isinstance(cause, compat.UnfitFile):
            # A worker of the data loader sends the text of its traceback.
            return str(cause).rpartition('UnfitFile: ')[2].strip(), True
        if isinstance(cause, UnwrittenFile):
            return str(cause), cause.every_rank
        if isinstance(cause, OSError) and cause.errno in REMEDIES and _writes_logs(frames):
            return _unwritten_log(config, cause), True
        if isinstance(cause, (TypeError, KeyError)) and building:
            sentence = _misspelt(config, cause)
            if sentence:
                return sentence, False
        single = re.search(r'Expected more than 1 value per channel.*\[([\d, ]+)\]', str(cause))
        if isinstance(cause, ValueError) and single:
            return _single_value(config, single[1]), True
        unknown = re.search(r'Target (-?\d+) is out of bounds', str(cause))
        if isinstance(cause, IndexError) and unknown:
            return _label_out_of_range(unknown[1]), True
        if isinstance(cause, (ValueError, FloatingPointError)) and _is_ours(frames):
            # Before training all ranks have checked the same.
            before = ('mmseg_boundary.cli.preflight', 'prepare_training') in frames
            shared = building or before or getattr(cause, 'same_on_all_ranks', False)
            return str(cause), not shared
    return None, True


def _log_traceback(config: Config, error: Exception) -> bool:
    """Appends the traceback to the log; returns whether that could be written."""
    log = _log_file(config)
    if log is None:
        return False
    try:
        with log.open('a') as file:
            file.write(''.join(traceback.format_exception(error)))
    except OSError:  # such as a full disk, which may be the error itself
        return False
    return True


def _log_file(config: Config) -> Path | None:
    """The log of the run, on other ranks than the first a file beside it; before there is one,
    errors.log in the work folder, if there is that."""
    log = MMLogger.get_current_instance().log_file
    if log is None:
        folder = config.get('work_dir')
        return Path(folder, 'errors.log') if folder and Path(folder).is_dir() else None
    rank = get_rank()
    return Path(log).with_stem(f'{Path(log).stem}_rank{rank}') if rank else Path(log)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _frames(error: BaseException) -> list[tuple[str, str]]:
    """The (module, function) of each frame of a traceback; the last one raised the error."""
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
    """The sentence for an unknown or missing argument of a class, or an unregistered class."""
    said = str(error.args[0]) if error.args else ''
    if isinstance(error, KeyError):
        if ' is not in the ' not in said:
            return None
        name = said.split(' ')[0]
        places = [key for key, node in dicts_in(config.to_dict()) if node.get('type') == name]
        remedy = 'Check its spelling; classes of your own, and ours, have to be named in '
        remedy += "`custom_imports` (ours: 'mmseg_boundary.registered')."
        return f'{said.split(". ")[0]}{_at(places)}. {remedy}'
    unknown = re.search(r"unexpected keyword argument '(\w+)'", said)
    if unknown is None and not re.search(r'missing \d+ required', said):
        return None
    name = unknown[1] if unknown else None
    places = [f'{key}.{name}' for key, node in dicts_in(config.to_dict()) if name in node]
    if unknown and not places:
        return None  # not from the config: a mistake in the code of the class
    return f"{said}{_at(places)}. Check the config's spelling, and the class's arguments."


def _label_out_of_range(label: str) -> str:
    return (
        f'labels hold [{label}], which is neither a class of the head nor void. Check the number '
        "of classes of every head, their ignore_index and the data set's label map."
    )


def _single_value(config: Config, shape: str) -> str:
    batch_size = (config.get('train_dataloader') or {}).get('batch_size')
    remedy = (
        'train_dataloader.batch_size is 1: give 2 or more'
        if batch_size == 1
        else 'the last batch of an epoch has one image: leave it out with --cfg-options '
        'train_dataloader.drop_last=True'
    )
    return (
        f'A batch norm got one value per channel ({shape.replace(", ", " x ")}), which has no '
        f'variance to normalize by; {remedy}, or take another norm in the config, such as '
        "norm_cfg=dict(type='GN', num_groups=8)."
    )


def _at(places: list[str]) -> str:
    return f' (in the config: {", ".join(places)})' if places else ''


def _no_download(config: Config, error: URLError) -> str:
    wanted = [name for name in checkpoints_in(config, training=True) if '://' in name]
    return (
        f'{" or ".join(wanted)} could not be downloaded: {error}. Fetch the file elsewhere and '
        'name its path instead (pretrained weights: --cfg-options '
        'model.pretrained=/path/to/weights.pth), or train from scratch with --cfg-options '
        'model.pretrained=None'
    )


def _unsafe_checkpoint(config: Config) -> str:
    wanted = checkpoints_in(config, training=True)
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
    wanted = checkpoints_in(config, training=True)
    return (
        f'The checkpoint {" or ".join(wanted)} is damaged or not whole, as a run leaves it that is '
        'killed while it writes. Take another. For --resume, write its path into '
        f'{Path(config.get("work_dir") or ".", "last_checkpoint")}.'
    )

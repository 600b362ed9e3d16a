"""The checkpoints of a run: whether one is of its net, from which it goes on, and that no other run
writes beside it."""

import errno
import fcntl
import logging
import os
import re
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.dist import all_gather_object
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

LAST, LOCK = 'last_checkpoint', '.lock'


class UnfitStart(ValueError):
    """Why a run must not begin with what is in its work folder or its checkpoint, and the remedy.

    All ranks find the same, or the first alone.
    """

    same_on_all_ranks = True


# --- Is it of this net? ---------------------------------------------------------------------------


class Differences(NamedTuple):
    """Keys of parameters and buffers that a net and a checkpoint do not share."""

    missing: list[str]  # of the net
    reshaped: list[str]  # in both, but what the file has does not fit
    unknown: list[str]  # of the file


def load_fully(load: Callable[[], dict], name: str, model: nn.Module, partial: bool) -> dict:
    """Refuses a checkpoint that leaves a part of the net as it was initialised.

    Args:
        load: loads the checkpoint into `model` with MMEngine, and returns it.
        name: its path or URL.
        model: the net, which may be wrapped.
        partial: allows it, with a line in the log.

    Raises:
        UnfitStart: something of the net is missing or has another shape.
    """
    with _watched(model) as found:
        try:
            checkpoint = load()
        except RuntimeError as error:
            # EMAHook loads its copy before, and torch refuses another shape there.
            lines = [line for line in str(error).splitlines() if 'size mismatch for' in line]
            if not lines:
                raise
            if partial:
                raise UnfitStart(
                    f'{name} has averaged weights of other shapes, of which EMAHook cannot take a '
                    'part: take EMAHook out of the config, or train without --resume and with '
                    f'--cfg-options load_from={name}'
                ) from None
            found.reshaped.extend(_key_of(line).removeprefix('module.') for line in lines)
            _require_same_net({}, name, model, found, partial)
    _require_same_net(checkpoint, name, model, found, partial)
    return checkpoint


@contextmanager
def _watched(model: nn.Module) -> Iterator[Differences]:
    """What torch finds while MMEngine loads, which goes on in spite of it.

    That is after all renaming (`module.` in the file, keys of older versions), and without
    `num_batches_tracked`, which MMEngine does not ask for.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    found, kept = Differences([], [], []), []

    def begin(module, state, prefix, metadata, strict, *lists):
        kept[:] = lists

    def end(module, incompatible):
        missing, unknown, errors = kept
        found.missing.extend(key for key in missing if 'num_batches_tracked' not in key)
        found.reshaped.extend(map(_key_of, errors))
        found.unknown.extend(unknown)
        for each in kept:  # MMEngine would print every key
            each.clear()

    hooks = [
        model.register_load_state_dict_pre_hook(begin),
        model.register_load_state_dict_post_hook(end),
    ]
    try:
        yield found
        assert kept, 'nothing was loaded into this net'
    finally:
        for hook in hooks:
            hook.remove()


def _key_of(error: str) -> str:
    key = re.search(r'size mismatch for (\S+):|the parameter named "([^"]+)"', error)
    return key[1] or key[2] if key else error


def _require_same_net(
    checkpoint: dict, name: str, model: nn.Module, found: Differences, partial: bool
) -> None:
    if found.unknown:
        more = f'{len(found.unknown)} tensors that the net has not: {_few(found.unknown)}'
        print_log(f'{name} has {more}', 'current', logging.WARNING)
    lacking = list(dict.fromkeys([*found.missing, *found.reshaped]))
    if not lacking:
        return
    counted = [key for key in model.state_dict() if 'num_batches_tracked' not in key]
    says = (
        f'{len(lacking)} of the {len(counted)} tensors of the net are missing in the checkpoint '
        f'{name} or have another shape there ({_few(lacking)})'
    )
    if partial:
        said = f'--partial: {says}; these stay as they were initialised.'
        print_log(said, 'current', logging.WARNING)
        # It is kept by position, and of other shapes too.
        checkpoint.pop('optimizer', None)
        return
    origin = origin_of(checkpoint)
    raise UnfitStart(
        f'{says}: it is of another net{f" (it says: of {origin})" if origin else ""}. Give the '
        'config that it was trained with, or --partial to take what fits and leave the rest as it '
        'is initialised.'
    )


def _few(keys: list[str]) -> str:
    return ', '.join([*keys[:3], '…'] if len(keys) > 3 else keys)


def origin_of(checkpoint: dict) -> str | None:
    """The name of the config that a checkpoint says it was trained with. Nothing is evaluated."""
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    # MMEngine's: the config's name and the time
    said = re.fullmatch(r'([\w.+-]+)_\d{8}_\d{6}', str(meta.get('experiment_name')), re.ASCII)
    if said is None:
        # the config's text, which `safe_loading` finds as `config` in files of MMSegmentation 0.x
        text = str(meta.get('cfg'))
        said = re.search(r"^work_dir = '(?:[^'\n]*/)?([\w.+-]+)/?'$", text, re.ASCII | re.MULTILINE)
    return said and said[1]


def watch_runner(runner: Runner, partial: bool, resumes: bool, updates_every: int = 1) -> None:
    """Lets a runner refuse a checkpoint of another net, and one from which it cannot go on.

    Args:
        runner: one that has not loaded anything yet.
        partial: see `load_fully`.
        resumes: it goes on with a training, for which weights alone are not enough.
        updates_every: the `accumulative_counts` of its optimizer.
    """
    # A FlexibleRunner resumes by its strategy, and returns nothing.
    loader = getattr(runner, 'strategy', runner)
    load_checkpoint = loader.load_checkpoint

    def load(filename: str, *args, **kwargs) -> dict:
        checkpoint = load_fully(
            lambda: load_checkpoint(filename, *args, **kwargs), filename, runner.model, partial
        )
        if resumes:
            _require_progress(checkpoint, filename)
            for loss in _losses_of_state(checkpoint, runner.optim_wrapper, updates_every):
                print_log(f'{filename} {loss}', 'current', logging.WARNING)
        return checkpoint

    loader.load_checkpoint = load


def _require_progress(checkpoint: dict, name: str) -> None:
    meta = checkpoint.get('meta')
    counted = isinstance(meta, dict) and {'epoch', 'iter'} <= meta.keys()
    if not counted or 'message_hub' not in checkpoint:
        raise UnfitStart(
            f'{name} holds weights, but not how far the training was: --resume cannot go on from '
            'it. To begin with its weights, train without --resume and with --cfg-options '
            f'load_from={name}'
        )


def _losses_of_state(
    checkpoint: dict, optimizer: OptimWrapper | OptimWrapperDict | dict | None, updates_every: int
) -> Iterator[str]:
    """In what the resumed run will differ from an unbroken one. The state of an optimizer of other
    parameters, such as those of an auxiliary head that was removed, is taken out."""
    if 'optimizer' not in checkpoint:
        yield 'holds no state of the optimizer, which starts anew.'
    elif isinstance(optimizer, (OptimWrapper, OptimWrapperDict)) and (
        _group_sizes(checkpoint['optimizer']) != _group_sizes(optimizer.state_dict())
    ):
        del checkpoint['optimizer']
        yield 'holds the state of an optimizer of other parameters: the optimizer starts anew.'
    step = checkpoint['meta']['iter']
    if step % updates_every:
        yield (
            f'was written between two updates (iteration {step}, accumulative_counts='
            f'{updates_every}): the gradients gathered since the last are lost, so that the next '
            'update differs from that of an unbroken run.'
        )


def _group_sizes(state: dict) -> list[int] | dict[str, list[int]]:
    if 'param_groups' in state:
        return [len(group['params']) for group in state['param_groups']]
    return {name: _group_sizes(part) for name, part in state.items() if isinstance(part, dict)}


# --- Where to go on -------------------------------------------------------------------------------


class Written(NamedTuple):
    """A checkpoint that training wrote; of several, the largest was written last."""

    at: int  # ns
    number: int  # the iteration or epoch
    form: str  # of its name
    path: Path


def choose_start(config: Config) -> list[str]:
    """Settles `load_from` and `resume` of a training's config; returns lines for its log.

    With `resume`, it goes on from `newest_checkpoint`, whatever `load_from` names; where there is
    none, it starts as without.

    Raises:
        UnfitStart: it cannot be told which checkpoint is the newest.
    """
    folder, given = config.work_dir, config.get('load_from')
    if not config.get('resume'):
        written = checkpoints_of(config)
        if not written:
            return []
        return [
            f'{folder} holds checkpoints of another run, {max(written).path.name} the newest: this '
            'run writes over those of the same name. (--resume would go on from there.)'
        ]
    start, reason = newest_checkpoint(config)
    if start is None:
        config.resume = False
        begins = f', with the weights of {given}' if given else ''
        return [
            f'--resume found no checkpoint in {folder}: training starts at iteration 0{begins}.'
        ]
    config.load_from = start
    unread = f' load_from={given} is not read.' if given not in (None, start) else ''
    return [f'--resume goes on from {start}{reason}.{unread}']


def newest_checkpoint(config: Config) -> tuple[str | None, str]:
    """The newest whole checkpoint of a work folder, and why if `last_checkpoint` names another.

    That file decides, as far as it can. What it names is looked for in the work folder first, which
    may have been moved or copied; it may be elsewhere, or a URL. Where nothing is whole, what it
    names is returned, or the last that was written: reading it tells what is wrong.

    Raises:
        UnfitStart: it cannot be told which checkpoint is the newest.
    """
    folder = Path(config.work_dir)
    pointer = folder / LAST
    written = checkpoints_of(config)
    whole = [each for each in written if is_whole(each.path)]
    if not pointer.is_file():
        if whole:
            return str(_latest(whole, pointer)), f', the newest there ({LAST} is missing)'
        return (str(max(written).path), '') if written else (None, '')
    named = pointer.read_text(errors='replace').strip()
    if '://' in named:
        return named, ''
    target = folder / Path(named).name
    target = target if target.is_file() else Path(named)
    form, number = _numbered(target.name, config)
    # Killed between the two files. An older one of a higher number is of a run before.
    since = pointer.stat().st_mtime_ns
    later = [each for each in whole if each.form == form and each.number > number]
    later = [each for each in later if each.at > since]
    if later:
        return str(_latest(later, pointer)), f', which was written after {LAST}'
    if target.is_file() and is_whole(target):
        return str(target), ''
    earlier = [each for each in whole if each.form == form and each.number < number]
    if form is None:
        earlier = whole
    if earlier:
        problem = f'{named} is {"damaged" if target.is_file() else "missing"}'
        problem = problem if named else f'{LAST} is empty'
        return str(_latest(earlier, pointer)), f', the newest whole one there ({problem})'
    if not named:
        raise UnfitStart(
            f'{pointer} is empty, as a run leaves it that is killed while it writes. Write the '
            'path of the newest checkpoint into it (iter_N.pth, in the same folder).'
        )
    return str(target), ''


def _latest(written: list[Written], pointer: Path) -> Path:
    last = max(written)
    rivals = [each for each in written if each.form != last.form or each.number > last.number]
    if rivals:
        raise UnfitStart(
            f'In {pointer.parent}, {last.path.name} was written after {max(rivals).path.name}: '
            'they are of several runs, or copies. Write the path of the one to go on from into '
            f'{pointer}.'
        )
    return last.path


def checkpoints_of(config: Config) -> list[Written]:
    """What trainings wrote in the work folder at their intervals: no `best_*.pth`, whose optimizer
    is not stored."""
    hook = _checkpoint_hook(config)
    folder = Path(config.work_dir)
    if hook.get('out_dir'):  # MMEngine appends the name of the work folder
        folder = Path(hook['out_dir'], folder.absolute().name)
    files = [file for file in folder.glob('*') if file.is_file()]
    numbered = [(_numbered(file.name, config), file) for file in files]
    return [
        Written(file.stat().st_mtime_ns, number, form, file)
        for (form, number), file in numbered
        if form is not None
    ]


def _numbered(name: str, config: Config) -> tuple[str | None, int]:
    """By which form a file got its name, and with which number."""
    given = _checkpoint_hook(config).get('filename_tmpl')
    for form in [given] if given else ['iter_{}.pth', 'epoch_{}.pth']:
        number = re.fullmatch(re.sub(r'\\\{.*?\\\}', r'(\\d+)', re.escape(form)), name)
        if number:
            return form, int(number[1])
    return None, -1


def _checkpoint_hook(config: Config) -> dict:
    return (config.get('default_hooks') or {}).get('checkpoint') or {}


def is_whole(path: Path) -> bool:
    """Whether a checkpoint has its end. Other forms than torch's zip are left to their reader."""
    with path.open('rb') as file:
        start = file.read(2)
    return zipfile.is_zipfile(path) if start == b'PK' else bool(start)


def require_agreement(config: Config) -> None:
    """Compares the ranks' starts, once they can talk: their nodes may not see the same folder.

    Raises:
        UnfitStart: on all ranks, if they would not go on from the same checkpoint.
    """
    start = Path(config.load_from).name if config.get('resume') else 'none'
    starts = all_gather_object(start)
    if len(set(starts)) > 1:
        raise UnfitStart(
            f'The ranks see other checkpoints in {config.work_dir} ({", ".join(starts)}): --resume '
            'needs a work folder that all nodes share.'
        )


# --- One run at a time ----------------------------------------------------------------------------

_claimed = {}  # {path of the lock: (process, open file)}; the lock goes when the file is closed


def claim(folder: str | Path) -> list[str]:
    """Keeps other runs out of a work folder until this process ends, in whatever way.

    Its lock belongs to this process alone: the workers of a data loader, which may live a little
    longer, do not hold it. Returns lines for the log.

    Raises:
        UnfitStart: another run has it.
    """
    path = Path(folder).resolve() / LOCK
    if _claimed.get(path, (None,))[0] == os.getpid():
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open('a+')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):  # a network without locks
            return [f'{folder} cannot be locked ({error.strerror}): start no other run in it.']
        file.seek(0)
        raise UnfitStart(
            f'{folder} is in use by another run ({file.read().strip()}). Wait until it has ended, '
            'or give this one another folder with --work-dir.'
        ) from None
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    _claimed[path] = os.getpid(), file
    return []

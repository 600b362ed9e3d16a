"""Chooses the checkpoint from which a training goes on."""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.dist import all_gather_object

from .errors import UnfitStart

LAST = 'last_checkpoint'


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
    """The form by which a file got its name, and its number."""
    given = _checkpoint_hook(config).get('filename_tmpl')
    for form in [given] if given else ['iter_{}.pth', 'epoch_{}.pth']:
        number = re.fullmatch(re.sub(r'\\\{.*?\\\}', r'(\\d+)', re.escape(form)), name)
        if number:
            return form, int(number[1])
    return None, -1


def _checkpoint_hook(config: Config) -> dict:
    return (config.get('default_hooks') or {}).get('checkpoint') or {}


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is not cut off. Of other forms than torch's zip the reader tells it."""
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

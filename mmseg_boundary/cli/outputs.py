"""Tries, before the first image, the places where a run writes, which all ranks share."""

import os
import tempfile
from pathlib import Path
from typing import NoReturn

from mmengine.dist import barrier, broadcast_object_list, get_rank, is_main_process

from ..files import UnwrittenFile, named_if_unwritten
from .errors import stop

FIGURES = '.png', '.svg'


def require_folder(path: str | Path, what: str) -> None:
    """Checks that `path` is, or can become, a folder to write to; makes nothing.

    Args:
        path: of the folder.
        what: its name in the message, such as '--out'.

    Raises:
        UnwrittenFile: a part of the path is no folder, or nothing can be written there.
    """
    path = Path(path).resolve()
    place = nearest(path)
    if not place.is_dir():
        refuse(f'{what} has to be a folder, but {place} is not one. Name another place.')
    with named_if_unwritten(f'{what}, {path},', every_rank=False):
        tempfile.TemporaryFile(dir=place).close()


def require_file(path: str | Path, what: str) -> None:
    """Checks that a file can be written, or replaced, at `path`; makes nothing.

    Raises:
        UnwrittenFile: something else than a file is there, or nothing can be written there.
    """
    path = Path(path).resolve()
    if os.path.exists(path) and not path.is_file():
        refuse(f'{what} has to be a file, but {path} is not one. Name another place.')
    require_folder(path.parent, f'The folder of {what}')


def require_figure(path: Path, force: bool) -> None:
    """Ends the process where no figure can be made at `path`; `force` replaces one."""
    if path.suffix.lower() not in FIGURES:
        stop(f'--out {path} does not end in {" or ".join(FIGURES)}; give a name that does.')
    if path.is_file() and not force:
        stop(f'{path} exists; replace it with --force, or name another file with --out.')
    try:
        require_file(path, '--out')
    except UnwrittenFile as error:
        stop(str(error))


def nearest(path: Path) -> Path:
    """The longest part of a path that exists, as far as this process can see it."""
    return next(place for place in (path, *path.parents) if os.path.exists(place))


def refuse(sentence: str) -> NoReturn:
    """Raises an `UnwrittenFile` that all ranks find."""
    raise UnwrittenFile(sentence, every_rank=False)


def make_shared_folder(parent: Path, name: str) -> Path:
    """A new folder NAME.….part in `parent` that is this run's alone: the first rank makes it.

    Raises:
        UnwrittenFile: on a rank that cannot write to it, such as one on a machine that does not
            share the disk.
    """
    folder = None
    if is_main_process():
        with named_if_unwritten(parent):
            folder = tempfile.mkdtemp(prefix=f'{name}.', suffix='.part', dir=parent)
    told = [folder]
    broadcast_object_list(told)
    folder = Path(told[0])
    if not folder.is_dir():
        raise UnwrittenFile(
            f'{folder}, which rank 0 has made, is not seen by rank {get_rank()}. Name a place that '
            'all machines share.'
        )
    with named_if_unwritten(folder):
        tempfile.TemporaryFile(dir=folder).close()
    barrier()
    return folder

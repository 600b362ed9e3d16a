"""Atomic writes, and the error that says what to do where a file cannot be written."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REMEDIES = {
    errno.ENOSPC: 'Free some space there',
    errno.EDQUOT: 'Free some space there',
    errno.EFBIG: 'Raise the limit on the size of files (`ulimit -f`)',
    errno.EACCES: 'Make it writable',
    errno.EPERM: 'Make it writable',
    errno.EROFS: 'Make it writable',
}


class UnwrittenFile(OSError):
    """A file cannot be written; the message says which, why and what to do.

    Args:
        sentence: the message.
        every_rank: whether it is to be shown by whichever rank raises it.
    """

    def __init__(self, sentence: str, every_rank: bool = True) -> None:
        super().__init__(sentence)
        self.every_rank = every_rank


@contextmanager
def named_if_unwritten(path: str | Path, every_rank: bool = True) -> Iterator[None]:
    """Turns an error of the operating system, such as a full disk, into one that names `path`.

    Raises:
        UnwrittenFile: in place of an OSError with a number; others are raised as they are.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, UnwrittenFile) or error.errno is None:
            raise
        remedy = REMEDIES.get(error.errno)
        remedy = f'{remedy}, or name another place.' if remedy else 'Name another place.'
        raise UnwrittenFile(
            f'{path} could not be written: {error.strerror}. {remedy}', every_rank
        ) from error


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields another name in the folder of `path` to write to; the finished file then replaces
    `path`.

    If the process ends before that, `path` stays as it was. A killed process leaves the unfinished
    file beside it, as `.{process id}.{name}`. The folder is made if there is none.

    Raises:
        UnwrittenFile: it cannot be written, for instance because the disk is full.
    """
    path = Path(path).resolve()  # a link stays one
    unfinished = path.with_name(f'.{os.getpid()}.{path.name}')
    with named_if_unwritten(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def names_of(paths: list[Path]) -> list[str]:
    """The files' names without suffix, after as many of their folders as tell them apart."""
    parts = [path.resolve().with_suffix('').parts for path in paths]
    for depth in range(1, max(map(len, parts))):
        names = ['/'.join(each[-depth:]) for each in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names

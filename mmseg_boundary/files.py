"""Files that are there as a whole or not at all, and what is said where one cannot be written."""

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
    """Something that cannot be written; says what, why and what to do.

    Args:
        sentence: all of that.
        every_rank: it may be news to this rank alone.
    """

    def __init__(self, sentence: str, every_rank: bool = True) -> None:
        super().__init__(sentence)
        self.every_rank = every_rank


@contextmanager
def named_if_unwritten(path: str | Path, every_rank: bool = True) -> Iterator[None]:
    """Has what the operating system refuses, such as one byte more on a full disk, name `path`.

    Raises:
        UnwrittenFile: in place of an OSError with a number; others mean something else.
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
    """Another name in the folder of `path`, to write to; finished, the file gets its own.

    Whatever ends the process before leaves at `path` what was there. A killed process leaves the
    unfinished file beside, as `.{process id}.{name}`; makes the folder if there is none.

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

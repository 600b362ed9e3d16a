"""Locks that end with the last process that holds them, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUMMARY = '.lock'  # in a study's folder, of study.json


def try_lock(path: Path) -> int | None:
    """An open file that holds the lock of `path`, or None if another holds it.

    A child that inherits the file holds the lock as long as it lives, its parent or not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    note(file, os.getpid())
    return file


def lock(path: Path) -> int:
    """As `try_lock`, but waits until the lock is free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of `path`."""
    file = lock(path)
    try:
        yield
    finally:
        os.close(file)


def note(file: int, process: int) -> None:
    """Writes down which process is at work under a lock."""
    os.ftruncate(file, 0)
    os.pwrite(file, str(process).encode(), 0)


def holder(path: Path) -> int | None:
    """The process at work under the lock of `path`; None where nobody holds it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.pread(file, 20, 0)
        return int(said) if said and _has_open(int(said), path) else None
    finally:
        os.close(file)
    return None


def _has_open(process: int, path: Path) -> bool:
    """Whether it is this file's process; a number may have been given to another since."""
    try:
        return any(each.samefile(path) for each in Path(f'/proc/{process}/fd').iterdir())
    except OSError:
        return False

"""A run has its work folder alone."""

import errno
import os
import signal
import time

import pytest

from mmseg_boundary.cli import lock
from mmseg_boundary.cli.errors import UnfitStart
from mmseg_boundary.cli.lock import claim


def forked(act):
    """A child that does `act` and then waits for its end; returns once it has."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            act()
            os.write(writer, b'.')
            time.sleep(600)
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b'.'
    os.close(reader)
    return child


def end(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_second_run_waits_for_the_first_to_end(tmp_path):
    """Killed, it has no time to say so; and a worker of its data loader may outlive it."""
    workers, writer = os.pipe()

    def work():
        claim(tmp_path)
        os.write(writer, str(forked(lambda: None)).encode())

    first = forked(work)
    worker = int(os.read(workers, 20))
    try:
        with pytest.raises(UnfitStart, match=rf'in use by another run \(process {first} on .*\)'):
            claim(tmp_path)
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        os.kill(worker, 0)  # is alive
        assert claim(tmp_path) == []
    finally:
        os.kill(worker, signal.SIGKILL)
    assert claim(tmp_path) == []  # as often as it likes
    assert [path.name for path in tmp_path.iterdir()] == ['.lock']


def test_a_forked_process_has_not_the_lock_of_its_parent(tmp_path):
    claim(tmp_path)

    def act():
        with pytest.raises(UnfitStart):
            claim(tmp_path)

    end(forked(act))


@pytest.mark.parametrize('kind', [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(kind, monkeypatch, tmp_path):
    def refuse(*arguments):
        raise OSError(kind, os.strerror(kind))

    monkeypatch.setattr(lock.fcntl, 'lockf', refuse)
    (note,) = claim(tmp_path)
    assert note.startswith(f'{tmp_path} cannot be locked ({os.strerror(kind)})')

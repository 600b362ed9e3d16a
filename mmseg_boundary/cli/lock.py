"""One run at a time in a work folder."""

import errno
import fcntl
import os
import socket
from pathlib import Path

from .errors import UnfitStart

LOCK = '.lock'

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

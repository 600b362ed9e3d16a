"""Atomic writes."""

import os

import pytest

from mmseg_boundary.files import UnwrittenFile, atomic_write
from tests.support.label_images import files_in


def test_a_full_disk_leaves_files_as_they_were(tmp_path):
    """Errors that are not of the disk pass unchanged."""
    (tmp_path / 'a').write_text('before')
    for name in ('a', 'b'):
        (tmp_path / f'.{os.getpid()}.{name}').symlink_to('/dev/full')
        sentence = f'^{tmp_path}/{name} could not be written: No space left on device. Free some '
        with pytest.raises(UnwrittenFile, match=sentence):
            with atomic_write(tmp_path / name) as unfinished:
                unfinished.write_text('after')
    assert files_in(tmp_path) == {'a': b'before'}
    for error in (OSError('without errno'), ValueError()):
        with pytest.raises(type(error)) as caught, atomic_write(tmp_path / 'a'):
            raise error
        assert caught.value is error

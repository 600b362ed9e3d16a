"""The outputs of a run are tried early, and are the same for all ranks."""

import os
from pathlib import Path

import pytest

from mmseg_boundary.cli.outputs import make_shared_folder, require_file, require_folder
from mmseg_boundary.files import UnwrittenFile
from tests.support.forked import as_ranks


def test_places_that_will_do(tmp_path):
    """Nothing is made by trying."""
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('1')
    (tmp_path / 'link').symlink_to(tmp_path / 'folder')
    (tmp_path / 'to nowhere').symlink_to(tmp_path / 'not yet')
    before = sorted(tmp_path.rglob('*'))
    for name in ('folder', 'link', 'new', 'new/and/deep', 'to nowhere', 'link/new'):
        require_folder(tmp_path / name, '--out')
        require_file(tmp_path / name / 'a.json', '--json')
    require_file(tmp_path / 'file', '--json')
    assert sorted(tmp_path.rglob('*')) == before and (tmp_path / 'file').read_text() == '1'


def test_places_that_will_not_do(tmp_path):
    (tmp_path / 'file').write_text('1')
    os.mkfifo(tmp_path / 'pipe')
    for name in ('file', 'file/below', 'file/far/below', 'pipe'):
        with pytest.raises(
            UnwrittenFile, match='^--out has to be a folder, but .*(file|pipe) is not one'
        ):
            require_folder(tmp_path / name, '--out')
    for name in ('.', 'pipe'):
        with pytest.raises(UnwrittenFile, match='^--json has to be a file, but .* is not one'):
            require_file(tmp_path / name, '--json')
    with pytest.raises(UnwrittenFile, match='^The folder of --json has to be a folder, but '):
        require_file(tmp_path / 'file/a.json', '--json')
    # whoever runs this
    for path in ('/proc', '/proc/new'):
        with pytest.raises(UnwrittenFile, match=f'^--out, {path}, could not be written: '):
            require_folder(path, '--out')
    with pytest.raises(UnwrittenFile, match='could not be written: '):
        require_file('/proc/a.json', '--json')


def test_a_rank_that_does_not_see_the_folder(tmp_path, capfd):
    """As one on another machine, with a disk of its own."""

    def work(rank):
        if rank == 1:
            Path.is_dir = lambda path: False
        make_shared_folder(tmp_path, 'out')

    assert as_ranks(2, work, tmp_path)[1] is False
    assert 'is not seen by rank 1. Name a place that all machines share' in capfd.readouterr().err

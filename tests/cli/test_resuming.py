"""From which checkpoint a training goes on."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from mmseg_boundary.cli import resuming
from mmseg_boundary.cli.errors import UnfitStart
from mmseg_boundary.cli.resuming import (
    checkpoints_of,
    choose_start,
    newest_checkpoint,
    require_agreement,
)
from tests.support.logs import text_of
from tests.support.small_run import train, truncate

ONE, TWO = 'train_cfg.max_iters=1', 'train_cfg.max_iters=2'


def test_resume_goes_on_whatever_load_from_names(place):
    """And says so; without load_from's file it did not even start."""
    assert train(place, TWO) is None
    wanted = f'load_from={place}/nothing.pth'
    assert train(place, wanted, resume=True) is None
    assert (
        f'--resume goes on from {place}/work/iter_2.pth. load_from={place}/nothing.pth is not'
        in (text_of(place / 'work'))
    )
    state = CheckpointLoader.load_checkpoint(str(place / 'work/iter_3.pth'), 'cpu')
    (step,) = {int(each['step']) for each in state['optimizer']['state'].values()}
    assert step == 3
    assert 'resumed epoch: 0, iter: 2' in text_of(place / 'work')


def test_nothing_to_resume_and_another_run_in_the_folder(place):
    assert train(place, ONE, resume=True) is None
    assert f'--resume found no checkpoint in {place}/work: training starts at iteration 0.' in (
        text_of(place / 'work')
    )
    assert 'holds checkpoints' not in text_of(place / 'work')
    assert train(place, ONE) is None
    assert (
        text_of(place / 'work').count(
            'work holds checkpoints of another run, iter_1.pth the newest'
        )
        == 1
    )


def configured(folder, resume=True, **settings):
    return Config(dict(work_dir=str(folder), resume=resume, **settings))


def write(folder, *names, at=1000, damaged=False):
    """Checkpoints, a second apart."""
    for name in names:
        path = folder / name
        torch.save(dict(state_dict={}), path)
        if damaged:
            truncate(path)
        at += 1
        os.utime(path, (at, at))


def point(folder, name, at=2000):
    (folder / 'last_checkpoint').write_text(str(name))
    os.utime(folder / 'last_checkpoint', (at, at))


def found(folder, **settings):
    path, _ = newest_checkpoint(configured(folder, **settings))
    return path and Path(path).name


def test_the_pointer_decides(tmp_path):
    """Also where it was written by hand, and where numbers are higher, of a run before."""
    write(tmp_path, 'iter_2.pth', 'iter_4.pth', 'best_mIoU_iter_9.pth')
    point(tmp_path, tmp_path / 'iter_2.pth')
    assert newest_checkpoint(configured(tmp_path)) == (str(tmp_path / 'iter_2.pth'), '')
    point(tmp_path, 's3://bucket/iter_8.pth')
    assert newest_checkpoint(configured(tmp_path)) == ('s3://bucket/iter_8.pth', '')


def test_killed_before_the_pointer_was_written(tmp_path):
    write(tmp_path, 'iter_2.pth')
    point(tmp_path, tmp_path / 'iter_2.pth')
    write(tmp_path, 'iter_4.pth', at=3000)
    assert found(tmp_path) == 'iter_4.pth'
    write(tmp_path, 'iter_4.pth', at=3000, damaged=True)
    assert found(tmp_path) == 'iter_2.pth'


def test_no_pointer(tmp_path):
    assert newest_checkpoint(configured(tmp_path / 'nowhere')) == (None, '')
    write(tmp_path, 'best_mIoU_iter_9.pth')
    assert found(tmp_path) is None
    write(tmp_path, 'iter_9.pth', 'iter_10.pth')
    assert found(tmp_path) == 'iter_10.pth'  # 10 after 9
    assert choose_start(configured(tmp_path)) == [
        f'--resume goes on from {tmp_path}/iter_10.pth, the newest there (last_checkpoint is '
        'missing).'
    ]
    write(tmp_path, 'iter_10.pth', damaged=True)
    assert found(tmp_path) == 'iter_9.pth'
    truncate(tmp_path / 'iter_9.pth', 0)
    assert found(tmp_path) in ('iter_9.pth', 'iter_10.pth')  # reading it tells


@pytest.mark.parametrize('later', ['iter_2.pth', 'epoch_1.pth', 'epoch_9.pth'])
def test_no_pointer_and_several_runs(later, tmp_path):
    write(tmp_path, 'iter_4.pth')
    write(tmp_path, later, at=2000)
    with pytest.raises(UnfitStart, match=f'{later} was written after iter_4.pth: .* Write the'):
        newest_checkpoint(configured(tmp_path))
    point(tmp_path, later, at=3000)
    assert found(tmp_path) == later


@pytest.mark.parametrize('state', ['damaged', 'missing', 'empty'])
def test_a_pointer_to_nothing_whole(state, tmp_path):
    """The newest before it; what has a higher number and is older is of another run."""
    write(tmp_path, 'iter_9.pth' if state != 'empty' else 'iter_1.pth', 'iter_2.pth', 'iter_4.pth')
    if state == 'damaged':
        truncate(tmp_path / 'iter_4.pth')
    elif state == 'missing':
        (tmp_path / 'iter_4.pth').unlink()
    point(tmp_path, tmp_path / 'iter_4.pth' if state != 'empty' else '')
    path, reason = newest_checkpoint(configured(tmp_path))
    assert Path(path).name == ('iter_4.pth' if state == 'empty' else 'iter_2.pth')
    assert f'is {state})' in reason


def test_a_pointer_that_is_no_text(tmp_path):
    write(tmp_path, 'iter_2.pth')
    (tmp_path / 'last_checkpoint').write_bytes(b'\xff\0')
    path, reason = newest_checkpoint(configured(tmp_path))
    assert Path(path).name == 'iter_2.pth' and 'is missing)' in reason


def test_a_pointer_to_nothing_whole_and_nothing_else(tmp_path):
    point(tmp_path, 'gone/iter_4.pth')
    assert newest_checkpoint(configured(tmp_path)) == ('gone/iter_4.pth', '')
    point(tmp_path, '\n')
    with pytest.raises(UnfitStart, match='last_checkpoint is empty'):
        newest_checkpoint(configured(tmp_path))


def test_a_folder_that_was_moved_or_copied(tmp_path):
    """The pointer has the path of the folder as it was, where there may still be a file."""
    for name in ('old', 'new'):
        (tmp_path / name).mkdir()
        write(tmp_path / name, 'iter_2.pth')
    point(tmp_path / 'new', tmp_path / 'old/iter_2.pth')
    assert newest_checkpoint(configured(tmp_path / 'new'))[0] == str(tmp_path / 'new/iter_2.pth')
    (tmp_path / 'new/iter_2.pth').unlink()
    assert newest_checkpoint(configured(tmp_path / 'new'))[0] == str(tmp_path / 'old/iter_2.pth')


def test_names_and_places_of_the_config(tmp_path):
    hook = dict(filename_tmpl='net_{:04d}.pth', out_dir=str(tmp_path / 'out'))
    config = configured(tmp_path / 'work', default_hooks=dict(checkpoint=hook))
    (tmp_path / 'out/work').mkdir(parents=True)
    write(tmp_path / 'out/work', 'net_0002.pth', 'net_0010.pth', 'iter_99.pth', 'net_0003.txt')
    assert [each.number for each in sorted(checkpoints_of(config))] == [2, 10]
    assert newest_checkpoint(config)[0] == str(tmp_path / 'out/work/net_0010.pth')


def test_what_becomes_of_load_from(tmp_path):
    config = configured(tmp_path, load_from='a.pth')
    (note,) = choose_start(config)
    assert note.endswith('at iteration 0, with the weights of a.pth.')
    assert (config.resume, config.load_from) == (False, 'a.pth')
    write(tmp_path, 'iter_2.pth')
    config = configured(tmp_path, load_from='a.pth')
    (note,) = choose_start(config)
    assert note.endswith('load_from=a.pth is not read.')
    assert (config.resume, config.load_from) == (True, str(tmp_path / 'iter_2.pth'))
    config = configured(tmp_path, resume=False, load_from='a.pth')
    (note,) = choose_start(config)
    assert 'iter_2.pth the newest' in note
    assert (config.resume, config.load_from) == (False, 'a.pth')


@pytest.mark.parametrize('starts, agree', [(['a', 'a'], True), (['a', 'none'], False)])
def test_nodes_that_do_not_share_the_folder(starts, agree, monkeypatch):
    """Else the one would go on, and the other start anew."""
    monkeypatch.setattr(resuming, 'all_gather_object', lambda mine: starts)
    config = configured('work', load_from='work/a')
    if agree:
        require_agreement(config)
    else:
        with pytest.raises(UnfitStart, match=r'\(a, none\): --resume needs a work folder'):
            require_agreement(config)

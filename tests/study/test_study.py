"""tools/study.py as it is called, and the studies that we ship. Of the onedl stack alone."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from mmseg_boundary import stacks
from mmseg_boundary.study import reading
from mmseg_boundary.study.checks import require_runnable
from mmseg_boundary.study.locks import holder
from mmseg_boundary.study.plan import Run, UnfitStudy
from mmseg_boundary.study.runs import compose, write_config
from tests.support.commands import attempt, environment_for
from tests.support.skips import ROOT
from tests.support.small_run import run_tool
from tests.support.studies import CE, write_study

# Those of the sources' tables have parts, and tests of their own.
STUDIES = sorted((ROOT / 'configs/studies').glob('*.py'))
STUDIES = [path for path in STUDIES if reading.parts(path) == [None] and 'thesis' not in path.stem]


# --- What needs MMSegmentation to be seen ---------------------------------------------------------

UNRUNNABLE = {
    'an endpoint that the evaluator does not give': (
        dict(endpoints=['mBoundaryF_4px']),
        "made_up has the endpoint 'mBoundaryF_4px', which the evaluator does not give; it gives "
        'aAcc, mIoU, mAcc, mBoundaryIoU, mBoundaryIoU_1px',
    ),
    'a class that there is not': (
        dict(endpoints=[dict(key='mIoU', classes=['unicorn'], title='rare')]),
        "made_up has the class 'unicorn' in the endpoint 'rare'; the classes are ground, ",
    ),
    'a margin of no score': (dict(margins=dict(IoU=1)), "made_up has a margin for 'IoU', which"),
    'an empty split': (
        {'splits.test.dataset': dict(length=0)},
        "made_up has no image in the split 'test': check its data_root, data_prefix and ann_file.",
    ),
    'a split without a folder': (
        {
            'splits.test.dataset': dict(
                type='CamVidDataset',
                data_root='nowhere',
                data_prefix=dict(img_path='test', seg_map_path='testannot'),
                _delete_=True,
            )
        },
        "made_up has no data for the split 'test': No .png or .jpg images in 'nowhere/test'.",
    ),
    'no image to tune with': (
        {'tuning.options': {'train_dataloader.dataset.length': 0}},
        'made_up has no image in the training images of tuning: check',
    ),
}


@pytest.mark.parametrize('case', UNRUNNABLE)
def test_what_cannot_run_is_said_before_anything_runs(case, tmp_path):
    register_all_modules()
    changes, sentence = UNRUNNABLE[case]
    made = reading.read(write_study(tmp_path, changes), ROOT)
    with pytest.raises(UnfitStudy) as raised:
        require_runnable(made, ROOT)
    assert str(raised.value).startswith(sentence)
    require_runnable(reading.read(write_study(tmp_path, {}), ROOT), ROOT)


def test_the_frozen_stack_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, 'STACK', 'mmlab')
    said = run_tool('study', 'run', write_study(tmp_path, {}))
    assert said.startswith('A study needs the onedl stack, ') and 'this is mmlab' in said
    plain = {'arms': dict(ce=dict(losses=[CE])), 'baselines': ['ce'], 'finals': [], 'tuning': None}
    assert run_tool('study', 'run', write_study(tmp_path, plain)) == said
    assert run_tool('study', 'run', write_study(tmp_path, {}), '--in-place') == said
    # which has no fork
    above = write_study(tmp_path, plain | dict(budget=0.01))
    assert run_tool('study', 'run', above, '--in-place').startswith('made_up would take 0.0')


def test_it_says_what_it_would_take_and_refuses_above_the_budget(tmp_path, capsys):
    said = run_tool('study', 'run', write_study(tmp_path, dict(budget=0.01)), '--workers', 2)
    assert said.startswith('made_up would take 0.1 core-hours, above its budget of 0.01: ')
    printed = capsys.readouterr().out
    assert printed.startswith('made_up: 23 of 23 runs are left, about 0.14 core-hours, or 0.07 ')
    assert not (ROOT / 'work_dirs/studies/made_up').exists()


def test_status_of_what_has_not_begun(tmp_path, capsys):
    path = write_study(tmp_path, {})
    assert run_tool('study', 'status', path, '--work-dir', tmp_path / 'work') is None
    said = capsys.readouterr().out.splitlines()
    assert said[0] == 'tuning__ce__seed100: waiting' and len(said) == 24
    assert said[-1].startswith('0 of 23 runs are finished; about 0.14 of 0.14 core-hours are left')
    assert run_tool('study', 'stop', path, '--work-dir', tmp_path / 'work') is None


# --- The studies that we ship ---------------------------------------------------------------------


def configs_of(path):
    """(arm, its config) of a study."""
    study = reading.read(path, ROOT)
    for name in study.arms:
        run = Run(name, 0, 'final')
        yield name, compose(study, ROOT, run, study.settings_of(run), [], ROOT / 'none')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The variables of data sets, with a few random images of their sizes."""
    folder = tmp_path_factory.mktemp('data')
    draw = np.random.default_rng(0)
    for split in ('train', 'val', 'test'):
        for place, shape, count in ((split, (180, 240, 3), 256), (f'{split}annot', (180, 240), 11)):
            (folder / place).mkdir()
            for frame in range(10):
                pixels = draw.integers(0, count, shape, np.uint8)
                assert cv2.imwrite(str(folder / place / f'drive_{frame:05}.png'), pixels)
    return dict(CAMVID_HALF_ROOT=str(folder))


@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
def test_every_arm_can_be_built(path):
    register_all_modules()
    for _, config in configs_of(path):
        revert_sync_batchnorm(MODELS.build(config.model))


def train_two_iterations(study, arm, folder):
    run = Run(arm, 0, 'final')
    settings = dict(study.settings_of(run), iterations=2)
    config = compose(study, ROOT, run, settings, [], folder)
    folder.mkdir()
    write_config(config, folder / 'config.py')
    assert run_tool('train', folder / 'config.py', '--work-dir', folder / 'work') is None
    measured = json.loads((folder / 'work/measured.json').read_text())
    assert (folder / 'work/iter_2.pth').is_file() and measured['parameters'] > 1000


@pytest.mark.parametrize('path', STUDIES[:3], ids=lambda path: path.stem)
def test_its_last_arm_takes_two_iterations(path, data, tmp_path, monkeypatch):
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    study = reading.read(path, ROOT)
    train_two_iterations(study, list(study.arms)[-1], tmp_path / 'last')


@pytest.mark.slow
@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
def test_every_arm_takes_two_iterations(path, data, tmp_path, monkeypatch):
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    study = reading.read(path, ROOT)
    for arm in study.arms:
        train_two_iterations(study, arm, tmp_path / arm)


# --- Killed, as it is called ----------------------------------------------------------------------

STUDY = """
ce = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
study = dict(
    question='Does Dice help?',
    base='configs/pspnet_ce_shapes.py',
    iterations=40,
    checkpoint_interval=2,
    options={
        'train_dataloader.batch_size': 2,
        'test_dataloader.dataset.length': 3,
        'default_hooks.logger.interval': 1,
    },
    arms=dict(
        ce=dict(losses=[ce]),
        again=dict(losses=[ce], start=0.5),
        dice=dict(losses=[ce, dict(type='SoftDiceLoss')], start=0.5),
    ),
    seeds=[0],
    splits=dict(val=dict(), test=dict(dataset=dict(seed=2), opened_last=True)),
    endpoints=['mBoundaryF_3px'],
    budget=9,
)
"""


@pytest.fixture
def repository(tmp_path):
    """A repository of the tree as it is."""
    folder = tmp_path / 'clone'
    for name in ('mmseg_boundary', 'configs', 'tools'):
        ignore = shutil.ignore_patterns('__pycache__', '.mim')
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    (folder / '.gitignore').write_text('__pycache__/\n')
    identity = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    for command in (['init', '-q'], ['add', '.'], [*identity, 'commit', '-qm', 'a']):
        subprocess.run(['git', '-C', folder, *command], check=True, capture_output=True)
    (tmp_path / 'made_up.py').write_text(STUDY)
    return folder


def command(repository, action, folder):
    study = repository.parent / 'made_up.py'
    more = ['--workers', '2'] if action == 'run' else []
    tool = repository / 'tools/study.py'
    return [sys.executable, str(tool), action, str(study), '--work-dir', str(folder), *more]


def scores(folder):
    left_out = ('cpu_seconds', 'peak_memory_mib', 'core_seconds')
    rows = {path.name: json.loads(path.read_text()) for path in (folder / 'rows').iterdir()}
    return {name: {k: v for k, v in row.items() if k not in left_out} for name, row in rows.items()}


def at_work(folder):
    parents = [holder(path) for path in (folder / 'processes').glob('*.lock')]
    children = [holder(path) for path in (folder / 'runs').glob('*/lock')]
    return sorted({*parents, *children} - {None})


@pytest.mark.slow
def test_killed_ten_times_it_ends_in_the_same_scores(repository, tmp_path):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    environment = dict(PYTHONPATH=str(repository))
    done = attempt(*command(repository, 'run', whole), cwd=repository, **environment)
    assert done.returncode == 0, done.stdout
    assert (
        scores(whole)['again__seed0__val.json']['metrics']
        == (scores(whole)['ce__seed0__val.json']['metrics'])
    )
    moments = random.Random(0)
    kills = 0
    while kills < 10:
        process = subprocess.Popen(
            command(repository, 'run', broken), cwd=repository, env=environment_for(**environment)
        )
        until = time.monotonic() + moments.uniform(8, 40)
        while time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        victims = at_work(broken)
        if victims:
            victim = moments.choice([process.pid, *victims])
            subprocess.run(['kill', '-9', str(victim)], check=False)
        kills += 1
        if process.poll() is None and not victims:
            process.send_signal(signal.SIGKILL)
        process.wait(timeout=900)
    done = attempt(*command(repository, 'run', broken), cwd=repository, **environment)
    assert done.returncode == 0, done.stdout
    assert scores(broken) == scores(whole)
    assert not list(broken.rglob('*.pth'))

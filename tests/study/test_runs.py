"""A study as it runs: killed at the worst moments, by two processes, into a NaN loss.

Its parent process is forked from this one, which has imported everything, and so are the tools that
it calls; tests/study/test_study.py runs the command itself. Of the onedl stack alone."""

import json
import os
import signal
import sys
import time
import traceback
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import get_file_backend

from mmseg_boundary.files import atomic_write
from mmseg_boundary.study import hooks, reading, runs, schedule
from mmseg_boundary.study.code import Code
from mmseg_boundary.study.locks import note
from mmseg_boundary.study.plan import Run
from mmseg_boundary.study.schedule import Study, Workers
from tests.support import last_run
from tests.support.skips import ROOT
from tests.support.small_run import run_tool

CE = "dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)"
DICE = "dict(type='SoftDiceLoss')"
LIMIT = 600  # seconds, for what hangs
STUDY = """
study = dict(
    question='Does Dice help?',
    base='configs/pspnet_ce_shapes.py',
    iterations=4,
    checkpoint_interval=1,
    options={options},
    arms=dict(ce=dict(losses=[{ce}]), again=dict(losses=[{ce}], start=0.5, {again}), {more}),
    seeds=[3],
    splits=dict(val=dict()),
    endpoints=['mBoundaryF_3px'],
    budget=2,
)
"""
OPTIONS = {
    'train_dataloader.batch_size': 2,
    'train_dataloader.dataset': dict(length=10, size=(64, 64)),
    'test_dataloader.dataset': dict(length=3, size=(64, 64)),
    'model.data_preprocessor.size': (64, 64),
    'default_hooks.logger.interval': 1,
}


class ForkedProcesses(runs.Processes):
    """The tools, in children of this process."""

    def call(self, command, log, lock, root, code):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                torch.set_num_threads(1)
                sys.stdout = sys.stderr = log.open('a', buffering=1)
                last_run.forget()
                tool, *arguments = command
                ended = run_tool(tool.stem, *arguments)
                if isinstance(ended, str):
                    print(ended, flush=True)
                status = int(ended is not None)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        note(lock, child)
        self.running[child] = SimpleNamespace(terminate=lambda: os.kill(child, signal.SIGTERM))
        try:
            _, status = os.waitpid(child, 0)
        finally:
            del self.running[child]
            note(lock, os.getpid())
        return os.waitstatus_to_exitcode(status), 1.0


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A function that makes the study, in a folder of its own."""
    monkeypatch.setattr(schedule, 'require_untouched', lambda code: None)
    monkeypatch.setattr(schedule, 'PAUSE', 0.05)
    # MMEngine formats a config three times per run, for a second each
    plain = property(lambda config: ''.join(f'{k} = {v!r}\n' for k, v in config.to_dict().items()))
    monkeypatch.setattr(Config, 'pretty_text', plain)

    def make(folder, more='', again='', **options):
        path = tmp_path / 'made_up.py'
        given = dict(options=OPTIONS | options, ce=CE, more=more, again=again)
        path.write_text(STUDY.format(**given))
        return Study(reading.read(path, ROOT), tmp_path / folder)

    return make


def start(study, keep=False, code=None, progress=False):
    """The parent process of a study; ends with 0, or 1 where a run failed."""
    code = code or Code(ROOT, 'c' * 40, 'h')
    child = os.fork()
    if child == 0:
        status = 2
        try:
            workers = Workers(study, code, ROOT, keep, progress)
            workers.processes = ForkedProcesses()
            try:
                workers.work(1)
                status = 0
            except runs.FailedRun as error:
                print(error, flush=True)
                status = 1
        finally:
            os._exit(status)
    return child


def end(child):
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    pytest.fail('the study hangs')


def scores(study):
    """{name: row} without times and memory."""
    left_out = ('cpu_seconds', 'peak_memory_mib', 'core_seconds')
    rows = {path.name: json.loads(path.read_text()) for path in (study.folder / 'rows').iterdir()}
    return {name: {k: v for k, v in row.items() if k not in left_out} for name, row in rows.items()}


def images(study):
    files = sorted((study.folder / 'per_image').glob('*.npz'))
    return {path.name: {k: v.tolist() for k, v in np.load(path).items()} for path in files}


def equal(ours, theirs):
    return json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)  # NaN is NaN


@pytest.fixture
def dies_once(tmp_path, monkeypatch):
    """A function that has the process die, once, before or after it calls something."""

    def dies(owner, name, after=False, which=1):
        function, seen = getattr(owner, name), tmp_path / f'died_in_{name}'

        def dying(*given, **named):
            calls = len(seen.read_text()) if seen.is_file() else 0
            seen.write_text('.' * (calls + 1))
            if calls + 1 != which:
                return function(*given, **named)
            if after:
                function(*given, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(owner, name, dying)

    return dies


def test_killed_at_the_worst_moments_it_ends_in_the_same_scores(make, dies_once, monkeypatch):
    whole = make('whole')
    assert end(start(whole)) == 0
    again, before = (scores(whole)[f'{arm}__seed3__val.json'] for arm in ('again', 'ce'))
    assert again['metrics'] == before['metrics'] and again['per_class'] == before['per_class']
    assert not list(whole.folder.rglob('*.pth'))

    backend = type(get_file_backend('/'))

    def put(self, obj, filepath):
        with atomic_write(filepath) as unfinished:
            unfinished.write_bytes(obj[: len(obj) // 2])
            halfway()
            unfinished.write_bytes(obj)

    monkeypatch.setattr(backend, 'put', put)
    dies_once(sys.modules[__name__], 'halfway', which=2)
    dies_once(hooks.StudyRun, '_keep_states', which=3)
    dies_once(runs, '_write_row')
    dies_once(runs.RunFolder, 'begin_from', after=True)
    dies_once(runs.RunFolder, 'drop_weights')
    dies_once(Study, 'write_summary', which=2)
    broken = make('broken')
    ends = [end(start(broken))]
    while ends[-1] != 0:
        assert len(ends) < 10, ends
        ends.append(end(start(broken)))
    # a tool that is killed is a failed run; else the parent was killed itself
    assert set(ends) == {-9, 0, 1} and len(ends) >= 6
    assert equal(scores(broken), scores(whole)) and equal(images(broken), images(whole))
    assert not list(broken.folder.rglob('*.pth'))


def halfway():
    """Replaced by what kills."""


def test_a_base_state_that_is_gone_is_computed_again(make):
    """From the rows alone, as on a fresh machine."""
    whole, fresh = make('whole'), make('fresh')
    assert end(start(whole)) == 0
    (fresh.folder / 'rows').mkdir(parents=True)
    row = whole.folders[Run('ce', 3, 'final')].row(whole.plan.splits[0])
    (fresh.folder / 'rows' / row.name).write_bytes(row.read_bytes())
    assert end(start(fresh)) == 0
    assert scores(fresh) == scores(whole)
    trained = (fresh.folder / 'runs/ce__seed3/log.txt').read_text()
    assert 'Iter(train) [2/4]' in trained and 'Iter(train) [3/4]' not in trained


def test_forks_of_a_base_that_ended_in_nan(make):
    study = make('study', **{'optim_wrapper.optimizer.lr': 1e36})
    assert end(start(study)) == 0
    assert {row['status'] for row in scores(study).values()} == {'nan'}
    assert len(scores(study)) == 2


def test_two_processes_do_not_disturb_each_other(make):
    study = make('study', more=f'dice=dict(losses=[{CE}, {DICE}])')
    children = [start(study, keep=True), start(study, keep=True)]
    assert [end(child) for child in children] == [0, 0]
    for run in study.runs:
        log = (study.folders[run].path / 'log.txt').read_text()
        assert log.count('Iter(train) [4/4]') == 1, run
    assert len(list(study.folder.rglob('iter_4.pth'))) == 3  # kept
    assert (study.folder / 'results.csv').read_text().count('finished') == 3


def test_runs_that_fail_or_end_in_nan_leave_the_others(make, capfd):
    options = "{'optim_wrapper.optimizer.lr': 1e36}"
    misspelt = "misspelt=dict(losses=[dict(type='SoftDiceLos')])"
    study = make('study', more=f'{misspelt}, lost=dict(losses=[{CE}], options={options})')
    assert end(start(study)) == 1
    said = capfd.readouterr().out
    assert 'misspelt__seed3: its training ended with 1;' in said
    assert 'SoftDiceLos is not in the' in said
    rows = scores(study)
    assert {name: row['status'] for name, row in rows.items()} == {
        'ce__seed3__val.json': 'finished',
        'again__seed3__val.json': 'finished',
        'lost__seed3__val.json': 'nan',
    }
    lost = rows['lost__seed3__val.json']
    assert lost['metrics'] == {} and lost['per_image'] is None
    assert ',lost,,3,val,nan,' in (study.folder / 'results.csv').read_text()


def test_in_place_it_names_no_commit_and_shows_its_progress(make, capfd):
    study = make('study')
    before = study.folders[Run('ce', 3, 'final')].log
    before.parent.mkdir(parents=True)
    before.write_text('Iter(train) [1/4] of an earlier process\n')
    assert end(start(study, code=Code(ROOT, None, 'in place 1'), progress=True)) == 0
    rows = scores(study).values()
    assert {(row['commit'], row['code_hash']) for row in rows} == {(None, 'in place 1')}
    said = capfd.readouterr().out
    for run, reached in (('ce', 'train) [1/4]'), ('ce', 'test) [3/3]'), ('again', 'train) [3/4]')):
        assert said.count(f'\n{run}__seed3: Iter({reached}') >= 1, said
    assert 'earlier process' not in said
    assert said.count('ce__seed3: Iter(train)') == 4


def test_without_forks_the_frozen_stack_begins_anew(make, dies_once, monkeypatch):
    """Its sampler cannot go on where a run was broken off."""
    monkeypatch.setattr(runs, 'STACK', 'mmlab')
    study = make('study')
    dies_once(hooks.StudyRun, '_keep_states', which=3)
    assert end(start(study)) == 1
    log = study.folders[Run('ce', 3, 'final')].log
    assert 'Iter(train) [2/4]' in log.read_text() and 'Iter(train) [3/4]' not in log.read_text()
    assert end(start(study)) == 0
    assert log.read_text().count('Iter(train) [1/4]') == 2


def test_stop_ends_all_of_it(make):
    study = make('study', **{'train_dataloader.dataset': dict(length=10, size=(256, 256))})
    child = start(study)
    lock = study.folders[Run('ce', 3, 'final')].lock
    until = time.monotonic() + LIMIT
    while schedule.holder(lock) in (None, child):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert schedule.stop(study.folder) >= 1
    assert end(child) == 1
    assert schedule.holder(lock) is None and schedule.stop(study.folder) == 0

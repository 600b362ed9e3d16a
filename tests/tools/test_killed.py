"""Runs that are killed: what is left is whole or refused, and the rest goes on from there."""

import importlib.util
import io
import json
import os
import resource
import signal
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.runner import CheckpointLoader, save_checkpoint

from mmseg_boundary.cli import patches
from mmseg_boundary.cli.errors import plain_errors
from mmseg_boundary.compat import AtomicBackend
from mmseg_boundary.report import write_report
from tests.support.commands import ROOT, SHAPES, TINY, attempt, free_port
from tests.support.logs import losses

DIST_TRAIN = ROOT / 'tools/dist_train.sh'


@pytest.fixture(scope='module', autouse=True)
def files_are_written_as_in_our_tools():
    patches.install()


# --- In the middle of a file ----------------------------------------------------------------------


def killed_in_the_middle(write, size):
    """Runs `write` in a child that the kernel kills at the first byte beyond `size` of a file."""
    child = os.fork()
    if child == 0:
        # python ignores the signal, and would see an error instead
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        write()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXFSZ, status


def checkpoint_of(value):
    return dict(state_dict={'weight': torch.full((50_000,), value)}, meta=dict(iter=2))


def write_checkpoint(path, value):
    save_checkpoint(checkpoint_of(value), str(path))


def read_checkpoint(path):
    return CheckpointLoader.load_checkpoint(str(path), 'cpu')['state_dict']['weight'].unique()


def write_numbers(path, value):
    write_report(path, dict(metrics={f'm{index}': value for index in range(500)}, evaluators=[]))


def read_numbers(path):
    return torch.tensor(list(json.loads(path.read_text())['metrics'].values())).unique()


FILES = {'a checkpoint': (write_checkpoint, read_checkpoint), 'JSON': (write_numbers, read_numbers)}


@pytest.mark.parametrize('kind', FILES)
@pytest.mark.parametrize('share', [0.0001, 0.5, 0.9999])
@pytest.mark.parametrize('is_there', [True, False])
def test_a_file_is_whole_or_not_there(kind, share, is_there, tmp_path):
    """The one before stays."""
    write, read = FILES[kind]
    path, complete = tmp_path / 'file', tmp_path / 'complete'
    write(complete, 2.0)
    if is_there:
        write(path, 1.0)
    killed_in_the_middle(lambda: write(path, 2.0), int(share * complete.stat().st_size))
    assert path.exists() is is_there
    assert not is_there or read(path).tolist() == [1]
    (unfinished,) = tmp_path.glob('.*.file')  # what is no `*.pth` or `*.json`
    assert int(share * complete.stat().st_size) == unfinished.stat().st_size
    write(path, 3.0)
    assert read(path).tolist() == [3]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'file')
    write_numbers(tmp_path / 'link', 1.0)
    assert (tmp_path / 'link').is_symlink() and read_numbers(tmp_path / 'file').tolist() == [1]


def test_a_text_is_whole_or_not_there(tmp_path):
    path = tmp_path / 'a.txt'
    AtomicBackend().put_text('before', path)
    killed_in_the_middle(lambda: AtomicBackend().put_text('a' * 10_000, path), 5000)
    assert path.read_text() == 'before'


@pytest.mark.parametrize('form', ['zip', 'legacy'])
@pytest.mark.parametrize('share', [0.0001, 0.003, 0.5, 0.9999])
def test_what_mmengine_alone_leaves_is_refused(share, form, tmp_path):
    """A training by MMSegmentation's own tool, killed: its checkpoint has its name at once."""
    path, buffer = tmp_path / 'iter_2.pth', io.BytesIO()
    torch.save(checkpoint_of(2.0), buffer, _use_new_zipfile_serialization=form == 'zip')
    whole = buffer.getvalue()
    killed_in_the_middle(lambda: LocalBackend().put(whole, path), int(share * len(whole)))
    assert 0 < path.stat().st_size < len(whole)
    config = Config(dict(model={}, load_from=str(path)))
    with pytest.raises(SystemExit, match=f'{path} (is damaged or not whole|cannot be read)'):
        with plain_errors(config):
            CheckpointLoader.load_checkpoint(str(path), 'cpu')


def test_figure_and_table(tmp_path):
    """Of plot_boundary.py: killed, or on a full disk, it leaves both as they were."""
    spec = importlib.util.spec_from_file_location('plot', ROOT / 'tools/plot_boundary.py')
    plot = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plot)
    report = dict(
        metrics={f'm{name}_{w}px': 50.0 for name in plot.CURVES for w in (1, 3)},
        evaluators=[dict(prefix=None, widths=[1, 3])],
    )
    write_report(tmp_path / 'a.json', report)
    out = tmp_path / 'out/boundary.png'

    def draw(*names):
        given = [tmp_path / 'a.json', '--force', '--out', out, '--names', *names]
        sys.argv = ['plot', *map(str, given)]
        plot.main()

    given = sys.argv
    try:
        draw('before')
        figure, table = out.read_bytes(), out.with_suffix('.csv').read_text()
        killed_in_the_middle(lambda: draw('after'), len(figure) // 2)
        assert out.read_bytes() == figure and out.with_suffix('.csv').read_text() == table
        out.with_name(f'.{os.getpid()}.boundary.png').symlink_to('/dev/full')
        with pytest.raises(SystemExit, match='boundary.png could not be written: No space left'):
            draw('after')
        assert out.read_bytes() == figure and out.with_suffix('.csv').read_text() == table
    finally:
        sys.argv = given


LIMIT = """
import resource, signal
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class LimitHook(Hook):
    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx == 2:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))
"""


def test_predictions_are_there_when_all_are(trained, tmp_path):
    """Three label images are whole, and the fourth is cut off, when the evaluation is killed."""
    config = configured(tmp_path, 'limit', LIMIT, "custom_hooks = [dict(type='LimitHook')]\n")
    out = tmp_path / 'out'
    command = [sys.executable, ROOT / 'tools/test.py', config, trained / 'iter_4.pth']
    command += ['--work-dir', tmp_path / 'work', '--out', out]
    # the log would be the first to grow
    options = [*TINY, 'default_hooks.logger.interval=9']
    done = attempt(*command, '--cfg-options', *options, PYTHONPATH=f'{tmp_path}:{ROOT}')
    assert done.returncode == -signal.SIGXFSZ, done.stdout
    (unfinished,) = tmp_path.glob('out*')
    assert unfinished.match('out.*.part') and (unfinished / '000003.png').stat().st_size == 40


def configured(folder, module, code, settings):
    """A config of the tiny run with a module of its own."""
    (folder / f'{module}.py').write_text(code)
    config = folder / f'{module}_config.py'
    config.write_text(
        f"_base_ = ['{SHAPES}']\n"
        f"custom_imports = dict(imports=['mmseg_boundary.registered', '{module}'], "
        'allow_failed_imports=False)\n' + settings
    )
    return config


# --- One of several ranks -------------------------------------------------------------------------

KILL = """
import os, signal
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module()
class KillHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3 and os.environ.get('SIGNAL') and os.environ['LOCAL_RANK'] == '1':
            os.kill(os.getpid(), int(os.environ['SIGNAL']))
"""


def two_ranks(config, work_dir, *arguments, options=(), **environment):
    command = ['bash', DIST_TRAIN, config, 2, '--work-dir', work_dir, *arguments]
    path = f'{config.parent}:{ROOT}'
    command += ['--cfg-options', *TINY, 'train_cfg.val_interval=9', *options]
    return attempt(*command, PORT=free_port(), PYTHONPATH=path, **environment)


def test_a_killed_rank_ends_the_run_and_it_can_be_resumed(tmp_path):
    """To the last bit: nothing is random, and both runs have one thread per rank."""
    config = configured(tmp_path, 'kill', KILL, "custom_hooks = [dict(type='KillHook')]\n")
    unbroken, broken = tmp_path / 'unbroken', tmp_path / 'broken'
    assert two_ranks(config, unbroken).returncode == 0

    # `attempt` waits for less than the 30 minutes of the process group.
    done = two_ranks(config, broken, SIGNAL=str(int(signal.SIGKILL)))
    assert done.returncode != 0 and 'Signal 9' in done.stdout, done.stdout
    assert set(losses(broken)) == {1, 2, 3}
    assert (broken / 'last_checkpoint').read_text() == str(broken / 'iter_2.pth')
    assert sorted(path.name for path in broken.glob('*.pth')) == ['iter_2.pth']
    started = losses(broken)

    done = two_ranks(config, broken, '--resume')
    assert done.returncode == 0, done.stdout
    assert set(losses(broken)) == {3, 4}
    assert {**started, **losses(broken)} == losses(unbroken)


@pytest.mark.slow
def test_a_stopped_rank_ends_the_run_after_the_timeout(tmp_path):
    """It is alive and silent, so that only waiting tells; then torchrun kills it."""
    config = configured(tmp_path, 'kill', KILL, "custom_hooks = [dict(type='KillHook')]\n")
    options = ['env_cfg.dist_cfg.timeout=20']
    stop = str(int(signal.SIGSTOP))
    done = two_ranks(config, tmp_path / 'work', options=options, SIGNAL=stop)
    assert done.returncode != 0 and 'Timed out waiting 20000ms' in done.stdout, done.stdout
    assert sorted(path.name for path in (tmp_path / 'work').glob('*.pth')) == ['iter_2.pth']


NAN = """
import os
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class NaNLoss(nn.Module):
    loss_name = 'loss_odd'

    def forward(self, logits, labels, **options):
        self.calls = getattr(self, 'calls', 0) + 1
        bad = self.calls == 3 and os.environ['LOCAL_RANK'] == '1'
        return logits.square().mean() * (float('nan') if bad else 1)
"""


def test_a_loss_that_is_nan_on_one_rank_ends_all_before_they_store_it(tmp_path):
    """The first rank, which logs and stores, has finite losses and NaN weights then."""
    loss = "model = dict(decode_head=dict(loss_decode=[dict(type='CrossEntropyLoss'), "
    loss += "dict(type='NaNLoss')]))\n"
    config = configured(tmp_path, 'odd', NAN, loss)
    done = two_ranks(config, tmp_path / 'work', options=['default_hooks.checkpoint.interval=1'])
    assert done.returncode != 0
    assert done.stdout.count('decode.loss_odd is nan on rank 1 at iteration 3.') == 1, done.stdout
    written = sorted(path.name for path in (tmp_path / 'work').glob('*.pth'))
    assert written == ['iter_1.pth', 'iter_2.pth']
    weights = CheckpointLoader.load_checkpoint(str(tmp_path / 'work/iter_2.pth'), 'cpu')
    assert all(tensor.isfinite().all() for tensor in weights['state_dict'].values())

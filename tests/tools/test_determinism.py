"""The same seed gives the same weights."""

import sys

import pytest
from mmengine.runner import CheckpointLoader

from tests.support.commands import ROOT, run

ITERATIONS = 6


@pytest.fixture
def train(monkeypatch):
    """(loss, folder, options) -> the weights after some iterations of a config on drawn shapes."""
    monkeypatch.chdir(ROOT)

    def trained(loss, folder, *options):
        config, work = f'configs/pspnet_{loss}_shapes.py', folder / loss
        command = ['tools/train.py', config, '--work-dir', work, '--cfg-options']
        command += [f'train_cfg.{name}={ITERATIONS}' for name in ('max_iters', 'val_interval')]
        command += [f'param_scheduler.0.end={ITERATIONS}']
        # Two threads and two workers, as on the machine of whoever trains with it.
        threads = dict(OMP_NUM_THREADS='2', OMP_WAIT_POLICY='PASSIVE', TORCHDYNAMO_DISABLE='0')
        run(sys.executable, *command, 'val_dataloader.dataset.length=2', *options, **threads)
        path = folder / loss / f'iter_{ITERATIONS}.pth'
        return CheckpointLoader.load_checkpoint(str(path), 'cpu')['state_dict']

    return trained


def same(weights, others):
    assert list(weights) == list(others)
    return all(weight.equal(others[name]) for name, weight in weights.items())


@pytest.mark.slow
@pytest.mark.parametrize('loss', ['ce', 'boundary', 'dt', 'bf1', 'dicefocal', 'bwce'])
def test_the_same_seed_gives_the_same_weights(loss, train, tmp_path):
    """Not the same file: MMEngine writes the time of day and measured seconds into it."""
    assert same(train(loss, tmp_path / 'first'), train(loss, tmp_path / 'again'))


@pytest.mark.slow
def test_the_same_seed_and_no_other(train, tmp_path):
    first = train('epl', tmp_path / 'first')
    assert same(first, train('epl', tmp_path / 'again'))
    assert not same(first, train('epl', tmp_path / 'other', 'randomness.seed=1'))

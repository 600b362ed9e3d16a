"""What is decided before MMEngine builds its runner."""

import pytest
from mmengine.config import Config

from mmseg_boundary.cli import resuming, runner
from mmseg_boundary.cli.runner import build_runner, check_losses
from mmseg_boundary.registered import CheckFiniteLossHook


def test_the_hook_on_losses_is_added_once():
    config = Config(dict(model={}))
    check_losses(config)
    check_losses(config)
    # with its scope: a config may have another as its default
    assert config.custom_hooks == [dict(type='mmseg.CheckFiniteLossHook', uncalled_loss='stop')]
    config = Config(dict(custom_hooks=[dict(type='EMAHook'), dict(type=CheckFiniteLossHook)]))
    check_losses(config)
    assert config.custom_hooks[1:] == [dict(type=CheckFiniteLossHook, uncalled_loss='stop')]


def test_a_config_may_have_the_hook_warn():
    given = dict(type='CheckFiniteLossHook', uncalled_loss='warn')
    config = Config(dict(custom_hooks=[dict(given)]))
    check_losses(config)
    assert config.custom_hooks == [given]


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm'])
@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_ranks_without_a_gpu_make_their_group_here(launcher, device, monkeypatch, place):
    """With one MMEngine makes it."""
    monkeypatch.setattr(runner, 'get_device', lambda: device)
    monkeypatch.setattr(runner, 'prepare_cpu_ranks', lambda config: 1 / 0)
    monkeypatch.setattr(runner.Runner, 'from_cfg', lambda config: [][0])
    config = Config.fromfile(place / 'config.py')
    config.launcher, config.work_dir = launcher, str(place / 'work')
    with pytest.raises(ZeroDivisionError if device == 'cpu' else IndexError):
        build_runner(config, ('test_dataloader',))


@pytest.mark.parametrize(
    'launcher, variable',
    [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_RANK')],
)
def test_the_first_rank_alone_takes_the_lock(launcher, variable, monkeypatch, place):
    """All the others share the folder."""
    monkeypatch.setenv(variable, '1')
    config = Config.fromfile(place / 'config.py')
    config.launcher, config.work_dir = launcher, str(place / 'work')
    monkeypatch.setattr(resuming, 'choose_start', lambda config: 1 / 0)
    for rank, takes in (('1', False), ('0', True)):
        monkeypatch.setenv(variable, rank)
        with pytest.raises(ZeroDivisionError):
            build_runner(config, ('train_dataloader',))
        assert (place / 'work/.lock').exists() is takes

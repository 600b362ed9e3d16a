"""Ranks without a GPU, and which of them is the first."""

import os
from datetime import timedelta

import pytest
import torch
from mmengine.config import Config
from torch.testing._internal.distributed.fake_pg import FakeStore

from mmseg_boundary.cli.parts import require_launched
from mmseg_boundary.cli.ranks import LAUNCHERS, has_gloo, is_first_rank, leave, prepare_cpu_ranks
from mmseg_boundary.losses import EPLLoss
from tests.support.skips import needs_gpu

VARIABLES = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


@pytest.mark.parametrize('launcher', VARIABLES)
def test_a_launcher_has_to_have_started_the_process(launcher, monkeypatch):
    for name in LAUNCHERS[launcher].variables:
        monkeypatch.setenv(name, '0')
    require_launched(launcher)
    require_launched('none')
    monkeypatch.delenv(VARIABLES[launcher])
    with pytest.raises(
        SystemExit, match=f'--launcher {launcher} finds no {VARIABLES[launcher]} in '
    ):
        require_launched(launcher)


@pytest.mark.parametrize('launcher', VARIABLES)
@pytest.mark.parametrize('rank', [0, 1])
def test_the_first_of_all_ranks(launcher, rank, monkeypatch):
    """By the launcher's own variable; those of another may be left over."""
    for name, variable in VARIABLES.items():
        monkeypatch.setenv(variable, str(rank if name == launcher else 1 - rank))
    assert is_first_rank(Config(dict(launcher=launcher))) is (rank == 0)


def test_one_process_is_the_first_of_its_ranks(monkeypatch):
    monkeypatch.setenv('RANK', '1')
    assert is_first_rank(Config(dict(launcher='none')))
    assert not has_gloo()
    leave()  # goes on


def test_a_group_without_gloo_is_destroyed():
    """As NCCL's, which warns where the interpreter's end finds it."""
    torch.distributed.init_process_group('fake', store=FakeStore(), rank=0, world_size=2)
    assert not has_gloo()
    leave()
    assert not torch.distributed.is_initialized()


@needs_gpu
def test_nccl_with_one_rank(tmp_path):
    torch.distributed.init_process_group(
        'nccl', init_method=f'file://{tmp_path}/group', rank=0, world_size=1
    )
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Conv2d(2, 3, 3, padding=1).cuda())
    loss = EPLLoss(mu=2)
    loss(model(torch.rand(2, 2, 24, 30).cuda()), torch.randint(3, (2, 24, 30)).cuda()).backward()
    gradients = [each.grad for each in model.parameters()]
    assert all(each.isfinite().all() and each.abs().sum() > 0 for each in gradients)
    leave()
    assert not torch.distributed.is_initialized()


def test_without_a_gpu_the_config_is_made_for_gloo(monkeypatch):
    made = []
    monkeypatch.setattr(
        torch.distributed, 'init_process_group', lambda *given, **named: made.append((given, named))
    )
    monkeypatch.setattr(torch.distributed, 'get_rank', lambda: 1)
    config = Config(
        dict(
            model=dict(backbone=dict(norm_cfg=dict(type='SyncBN', eps=1e-3)), head=dict(type='A')),
            env_cfg=dict(dist_cfg=dict(timeout=20)),
            model_wrapper_cfg=dict(broadcast_buffers=True),
            find_unused_parameters=True,
        )
    )
    prepare_cpu_ranks(config)
    assert made == [(('gloo',), dict(timeout=timedelta(seconds=20)))]
    assert config.model.backbone.norm_cfg == dict(type='BN', eps=1e-3)
    assert config.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=True,
        find_unused_parameters=True,
        device_ids=None,
    )


@pytest.mark.parametrize('given', [{}, dict(MASTER_ADDR='10.0.0.1', MASTER_PORT='1234')])
def test_ranks_of_slurm_make_a_group_as_those_of_torchrun(given, monkeypatch, tmp_path):
    """MMEngine asks CUDA for a device there. Address and port may be given, as to MMEngine."""
    (tmp_path / 'scontrol').write_text('#!/bin/sh\nprintf "%s\\n" "$3-1" "$3-2"\n')
    (tmp_path / 'scontrol').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    names = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
    for name in names:
        monkeypatch.setenv(name, '')  # so that it is restored
        monkeypatch.delenv(name)
    slurm = dict(PROCID='3', LOCALID='1', NTASKS='4', NODELIST='node')
    for name, value in {**{f'SLURM_{key}': slurm[key] for key in slurm}, **given}.items():
        monkeypatch.setenv(name, value)
    made = []
    monkeypatch.setattr(
        torch.distributed,
        'init_process_group',
        lambda *_, **__: made.append([os.environ[name] for name in names]),
    )
    config = Config(dict(launcher='slurm', model={}))
    prepare_cpu_ranks(config)
    address = [given.get('MASTER_ADDR', 'node-1'), given.get('MASTER_PORT', '29500')]
    assert made == [['3', '1', '4', *address]]
    assert config.model_wrapper_cfg.device_ids is None

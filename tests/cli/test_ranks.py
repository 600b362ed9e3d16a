"""Ranks without a GPU, and which of them is the first."""

from datetime import timedelta

import pytest
import torch
from mmengine.config import Config

from mmseg_boundary.cli.ranks import has_gloo, is_first_rank, leave, prepare_cpu_ranks

VARIABLES = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


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

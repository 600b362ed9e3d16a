"""How ranks begin and end, with and without a GPU."""

import logging
import os
import subprocess
import sys
from datetime import timedelta
from typing import NamedTuple, NoReturn

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from .config_tree import dicts_in


class Launcher(NamedTuple):
    """What its processes find in their environment, the rank first; and what starts them."""

    variables: tuple[str, ...]
    command: str


LAUNCHERS = {
    'pytorch': Launcher(
        ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
        'torchrun (tools/dist_train.sh, tools/dist_test.sh)',
    ),
    'slurm': Launcher(
        ('SLURM_PROCID', 'SLURM_NTASKS'), 'srun (tools/slurm_train.sh, tools/slurm_test.sh)'
    ),
    'mpi': Launcher(
        ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'MASTER_ADDR'),
        "Open MPI's mpirun, with MASTER_ADDR=HOST",
    ),
}


def is_first_rank(config: Config) -> bool:
    """Whether this is the first of all ranks, before they make a group."""
    if config.launcher not in LAUNCHERS:
        return True
    return os.environ.get(LAUNCHERS[config.launcher].variables[0], '0') == '0'


def prepare_cpu_ranks(config: Config) -> None:
    """Prepares several ranks without a GPU: gloo instead of NCCL, no device for the wrapper."""
    if config.get('launcher') == 'slurm':
        _translate_slurm()
    # MMEngine asks CUDA for a device when it makes the group itself.
    timeout = config.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800)
    torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout))
    config.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': config.get('find_unused_parameters', False),
        **(config.get('model_wrapper_cfg') or {}),
        'device_ids': None,
    }
    synchronised = [node for _, node in dicts_in(config.model) if node.get('type') == 'SyncBN']
    for node in synchronised:
        node['type'] = 'BN'
    if synchronised and torch.distributed.get_rank() == 0:
        print_log('No GPU: SyncBN runs as BN, whose statistics are those of each rank.')


def _translate_slurm() -> None:
    """Sets what torchrun would, from what srun sets; as MMEngine does."""
    of_slurm = {'RANK': 'PROCID', 'LOCAL_RANK': 'LOCALID', 'WORLD_SIZE': 'NTASKS'}
    os.environ.update({name: os.environ[f'SLURM_{slurm}'] for name, slurm in of_slurm.items()})
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
        nodes = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        os.environ['MASTER_ADDR'] = nodes.split()[0]


def leave() -> None:
    """Leaves the group of ranks when all is done; without a GPU that ends the process."""
    if has_gloo():
        torch.distributed.barrier()
        end(0)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # NCCL warns of what is left to the interpreter


def has_gloo() -> bool:
    """Whether this is one of several ranks without a GPU."""
    return torch.distributed.is_initialized() and torch.distributed.get_backend() == 'gloo'


def end(status: int) -> NoReturn:
    """Ends the process of a rank at once."""
    # Not through the interpreter's shutdown: gloo's threads sometimes abort that, and the launcher
    # would report a failure.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

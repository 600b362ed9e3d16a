"""Processes of our tools, and of MMSegmentation's from its installed package."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import mmseg
import pytest

from mmseg_boundary.stacks import STACK
from tests.support.skips import ROOT

MMSEG_TOOLS = Path(mmseg.__path__[0], '.mim/tools')
# Without the switch the frozen stack's tools cannot read their own checkpoints with current torch.
SWITCH = {} if STACK == 'onedl' else {'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': '1'}

# Seconds after which a process counts as hanging: the longest take minutes, and ten times as many
# on busy cores.
LIMIT = 3600

# A run of seconds on small images, with nothing random: no dropout, no flip, no shuffle.
TINY = [
    'train_cfg.max_iters=4',
    'train_cfg.val_interval=4',
    'param_scheduler=[]',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=2',
    'model.decode_head.dropout_ratio=0',
    'model.auxiliary_head.dropout_ratio=0',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'train_dataloader.sampler.shuffle=False',
    'train_dataloader.dataset.pipeline.2.prob=0.0',
    'val_dataloader.dataset.length=5',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.dataset.length=5',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
]
SHAPES = ROOT / 'configs/pspnet_epl_shapes.py'


def run(*command, cwd=ROOT, **environment):
    """The output of a process that has to succeed (stdout and stderr together)."""
    done = attempt(*command, cwd=cwd, **environment)
    if done.returncode != 0:
        pytest.fail(f'{" ".join(map(str, command))}\nended with {done.returncode}:\n{done.stdout}')
    return done.stdout


def attempt(*command, cwd=ROOT, **environment):
    """A process that may fail: `returncode` and `stdout`, which holds stderr too."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment_for(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )


def sentence(*command, **environment):
    """The last line of a process that ends without a traceback."""
    done = attempt(sys.executable, *command, **environment)
    assert done.returncode == 1 and 'Traceback' not in done.stdout, done.stdout
    return done.stdout.strip().splitlines()[-1]


def environment_for(**changes):
    """This interpreter is first on the PATH; there is one thread, and no compilation, which takes
    longer than a run of four iterations."""
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    given = {**os.environ, 'PATH': path, 'OMP_NUM_THREADS': '1', 'TORCHDYNAMO_DISABLE': '1'}
    # Our tools have set it in this process; in the new one they have to set it themselves.
    given.pop('TORCH_FORCE_WEIGHTS_ONLY_LOAD', None)
    return {**given, **changes}


def train(work_dir, *arguments, options=(), config=SHAPES, tool=ROOT / 'tools/train.py', **env):
    """The output of train.py on the tiny run."""
    return run(
        sys.executable,
        tool,
        config,
        '--work-dir',
        work_dir,
        *arguments,
        '--cfg-options',
        *TINY,
        *options,
        **env,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])

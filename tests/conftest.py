"""Profiles, the fixed list of reasons for which a test may be skipped, and the command runner."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

ROOT = Path(__file__).parent.parent
CAMVID = Path(os.environ.get('CAMVID_ROOT', ROOT.parent / 'shared/data/CamVid'))

# hypothesis' deadline of 200 ms fails on torch's first call
settings.register_profile('torch', deadline=None, derandomize=True, max_examples=40)
settings.load_profile('torch')

NO_GPU = 'no CUDA device'
NO_CAMVID = 'no CamVid: link its folder to ../shared/data/CamVid or set CAMVID_ROOT'
NO_OPERATORS = 'no compiled operators of mmcv, which PSANet and CCNet need'
ALLOWED_SKIPS = {'onedl': {NO_GPU, NO_CAMVID, NO_OPERATORS}, 'mmlab': {NO_GPU, NO_CAMVID}}

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
needs_camvid = pytest.mark.skipif(not CAMVID.is_dir(), reason=NO_CAMVID)


STACK = pytest.StashKey[str]()


def pytest_configure(config):
    from mmseg_boundary.stacks import STACK as stack

    config.stash[STACK] = stack


def pytest_terminal_summary(terminalreporter, config):
    """Ends the lane with its skip reasons."""
    reasons = skip_reasons(config)
    terminalreporter.section('skips')
    for reason in sorted(set(reasons)):
        allowed = reason in ALLOWED_SKIPS[config.stash[STACK]]
        terminalreporter.line(
            f'{reasons.count(reason):4} {reason}{"" if allowed else " (NOT ALLOWED)"}'
        )
    if not reasons:
        terminalreporter.line('none')


def pytest_sessionfinish(session):
    """A skip for a reason that is not on the list fails the lane."""
    strangers = set(skip_reasons(session.config)) - ALLOWED_SKIPS[session.config.stash[STACK]]
    if strangers and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def skip_reasons(config):
    reports = config.pluginmanager.get_plugin('terminalreporter').stats.get('skipped', [])
    return [report.longrepr[2].removeprefix('Skipped: ') for report in reports]


def run(*command, check=True, **environment):
    """A real process, from the repository root, that sees one thread and this interpreter first.

    Its text (stdout and stderr together) is returned; with `check`, a failure shows it.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment_for(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    if check and done.returncode != 0:
        pytest.fail(f'{" ".join(map(str, command))}\nended with {done.returncode}:\n{done.stdout}')
    return done if not check else done.stdout


def environment_for(**changes):
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    return {**os.environ, 'PATH': path, 'OMP_NUM_THREADS': '1', **changes}

"""The profile of the property tests, and the reasons for which a test may be skipped."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, settings
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

ROOT = Path(__file__).parent.parent
CAMVID = Path(os.environ.get('CAMVID_ROOT', ROOT.parent / 'shared/data/CamVid'))

# hypothesis' deadline of 200 ms fails on torch's first call
settings.register_profile('torch', deadline=None, derandomize=True, max_examples=40)
settings.register_profile('thorough', settings.get_profile('torch'), max_examples=10_000)
settings.register_profile(
    'first_failure',
    settings.get_profile('torch'),
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile('torch')

NO_GPU = 'no CUDA device'
NO_CAMVID = 'no CamVid: link its folder to ../shared/data/CamVid or set CAMVID_ROOT'
NO_OPERATORS = 'no compiled operators of mmcv, which PSANet and CCNet need'
ALLOWED_SKIPS = {'onedl': {NO_GPU, NO_CAMVID, NO_OPERATORS}, 'mmlab': {NO_GPU, NO_CAMVID}}

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
needs_camvid = pytest.mark.skipif(not CAMVID.is_dir(), reason=NO_CAMVID)


@pytest.fixture(scope='session', autouse=True)
def checkpoints_are_read_safely():
    """As our tools read them, whose checkpoints the tests look into; the frozen stack cannot
    otherwise read its own."""
    from mmseg_boundary import safe_loading

    safe_loading.install()


@pytest.fixture(autouse=True)
def no_run_left_over():
    """MMEngine's current logger, hub and visualizer are those of the last run in the process."""
    yield
    for manager in (MMLogger, MessageHub, Visualizer):
        manager._instance_dict.clear()


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

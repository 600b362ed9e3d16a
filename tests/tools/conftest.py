import pytest
from commands import train


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """The work folder of one tiny run: checkpoints of the iterations 2 and 4, logs, validation."""
    folder = tmp_path_factory.mktemp('trained')
    train(folder, options=['default_hooks.checkpoint.save_best=mBoundaryF_3px'])
    return folder

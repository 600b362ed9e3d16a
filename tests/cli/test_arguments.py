"""The command line names a config that exists."""

from tests.support.commands import ROOT, sentence

TRAIN, TEST = ROOT / 'tools/train.py', ROOT / 'tools/test.py'


def test_a_missing_config(tmp_path):
    assert 'configs/nothing.py does not exist. `ls configs`' in sentence(
        TRAIN, 'configs/nothing.py', '--work-dir', tmp_path
    )

"""MMSegmentation's own, unmodified tools on our configs and data."""

import sys

from commands import MMSEG_TOOLS, SHAPES, TINY, run, train
from conftest import ROOT
from logs import losses, metrics


def test_mmsegs_own_tools_train_and_test_our_config(trained, tmp_path):
    """Its test.py reads its own checkpoint, with torch's safe loading, once we are imported."""
    train(tmp_path, tool=MMSEG_TOOLS / 'train.py')
    assert losses(tmp_path) == losses(trained)
    run(
        sys.executable,
        MMSEG_TOOLS / 'test.py',
        SHAPES,
        tmp_path / 'iter_4.pth',
        '--work-dir',
        tmp_path / 'test',
        '--cfg-options',
        *TINY,
    )
    assert 'mIoU' in metrics(tmp_path / 'test')


def test_a_stranger_inherits_our_config_by_an_absolute_path(tmp_path):
    """From a project elsewhere, with MMSeg's own tool: the stock base resolves there too."""
    config = tmp_path / 'mine.py'
    config.write_text(f"_base_ = ['{SHAPES}']\nmodel = dict(decode_head=dict(channels=32))\n")
    train(tmp_path, config=config, tool=MMSEG_TOOLS / 'train.py', options=['train_cfg.max_iters=1'])
    assert losses(tmp_path)[1]['decode.loss_epl'] > 0


def test_stock_bases_resolve_without_pkg_resources():
    """As with setuptools 82 and newer, whatever is installed here."""
    script = f"""
import sys
sys.modules['pkg_resources'] = None
from mmengine.config import Config
config = Config.fromfile('{ROOT}/configs/pspnet_epl_city.py')
assert config.model.decode_head.type == 'PSPHead'
"""
    run(sys.executable, '-c', script)


def test_browse_dataset_draws_the_shapes(tmp_path):
    run(
        sys.executable,
        MMSEG_TOOLS / 'analysis_tools/browse_dataset.py',
        SHAPES,
        '--output-dir',
        tmp_path,
        '--not-show',
        '--cfg-options',
        'train_dataloader.dataset.length=2',
    )
    assert len(list(tmp_path.glob('**/*.png'))) == 2

"""MMSegmentation's own, unmodified tools on our configs and data."""

import re
import sys

from tests.support.commands import MMSEG_TOOLS, SHAPES, SWITCH, TINY, run, train
from tests.support.logs import losses, metrics
from tests.support.skips import ROOT

# What somebody has before they meet us: stock files, as their own checkout of MMSegmentation names
# them, cut to a size that trains in seconds. The data alone are ours, since they need no files.
STOCK_PROJECT = f"""
_base_ = [
    '{MMSEG_TOOLS.parent}/configs/_base_/models/pspnet_r50-d8.py',
    '{MMSEG_TOOLS.parent}/configs/_base_/default_runtime.py',
    '{MMSEG_TOOLS.parent}/configs/_base_/schedules/schedule_20k.py',
]
model = dict(
    data_preprocessor=dict(size=(64, 64)),
    pretrained=None,
    backbone=dict(depth=18, stem_channels=8, base_channels=8),
    decode_head=dict(in_channels=64, channels=16, num_classes=6),
    auxiliary_head=dict(in_channels=32, channels=16, num_classes=6),
)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
dataset = dict(type='ShapesDataset', length=4, seed=0, size=(64, 64), pipeline=pipeline)
train_dataloader = dict(
    batch_size=2, dataset=dataset, sampler=dict(type='InfiniteSampler', shuffle=True)
)
val_dataloader = test_dataloader = dict(
    batch_size=1, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False)
)
val_evaluator = test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""


def test_the_readmes_snippet_in_a_stock_project(tmp_path):
    """As it stands in the README, added to the config of another project; both of MMSeg's tools."""
    readme = (ROOT / 'README.md').read_text()
    snippet = re.search(r'```python\n(.*?)```', readme, re.DOTALL)[1]
    assert 'custom_imports' in snippet, 'the first Python of the README is not its snippet'
    (tmp_path / 'project.py').write_text(STOCK_PROJECT)
    config = tmp_path / 'mine.py'
    config.write_text(f"_base_ = './project.py'\n{snippet}")
    work = tmp_path / 'work'
    run(
        sys.executable,
        MMSEG_TOOLS / 'train.py',
        config,
        '--work-dir',
        work,
        cwd=tmp_path,
        PYTHONPATH=ROOT,
    )
    assert losses(work).keys() == {1, 2}
    assert losses(work)[2].keys() == {
        'loss',
        'decode.loss_ce',
        'decode.loss_epl',
        'aux.loss_ce',
    }
    run(
        sys.executable,
        MMSEG_TOOLS / 'test.py',
        config,
        work / 'iter_2.pth',
        '--work-dir',
        tmp_path / 'test',
        cwd=tmp_path,
        PYTHONPATH=ROOT,
        **SWITCH,
    )
    assert {'mIoU', 'mBoundaryIoU', 'mBoundaryF_3px'} <= metrics(tmp_path / 'test').keys()


def test_mmsegs_own_tools_train_and_test_our_config(trained, tmp_path):
    """Its test.py reads its own checkpoint, in its own way, which we leave alone."""
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
        **SWITCH,
    )
    assert 'mIoU' in metrics(tmp_path / 'test')


def test_another_project_inherits_our_config_by_an_absolute_path(tmp_path):
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

"""Configs in MMEngine's lazy style: they train with MMSegmentation's runner and with our tools."""

import sys

from tests.support import last_run
from tests.support.commands import TINY, run
from tests.support.logs import losses, scalars
from tests.support.skips import ROOT
from tests.support.small_run import run_tool

LAZY = ROOT / 'configs/lazy'
# In a process that has imported nothing of ours before the config is read.
SCRIPT = """
import sys
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

folder, plain, boundary, *options = sys.argv[1:]
options = [option.split('=', 1) for option in options]
options = {key: DictAction._parse_iterable(value) for key, value in options}

def runner_of(path, **changes):
    config = Config.fromfile(path)
    work_dir = f'{folder}/{path.split("/")[-1][:-3]}'
    config.merge_from_dict({**options, 'work_dir': work_dir, **changes})
    config.visualizer.name = f'{work_dir} {changes}'  # there is one of each name
    return Runner.from_cfg(config)

assert not any(name.startswith('mmseg_boundary') for name in sys.modules)
try:
    runner_of(boundary, **{'default_hooks.checkpoint.rule': None})
except ValueError as error:
    print('Without a rule:', error)
for path in (plain, boundary):
    runner_of(path).train()
"""
OPTIONS = [*TINY, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2']


def test_they_train_for_two_iterations(tmp_path):
    configs = [LAZY / f'pspnet_epl_shapes{name}.py' for name in ('', '_boundary')]
    said = run(sys.executable, '-W', 'ignore', '-c', SCRIPT, tmp_path, *configs, *OPTIONS)
    assert 'Without a rule: Cannot infer the rule for key mBoundaryF_3px' in said
    for config in configs:
        assert losses(tmp_path / config.stem)[2]['decode.loss_epl'] > 0
        metrics = scalars(tmp_path / config.stem)[-1]
        assert 'mIoU' in metrics and ('mBoundaryF_3px' in metrics) == (config == configs[1])
    best = list((tmp_path / 'pspnet_epl_shapes_boundary').glob('best_mBoundaryF_3px_iter_2.pth'))
    assert len(best) == 1


def test_our_tools_take_them(tmp_path):
    config = LAZY / 'pspnet_epl_shapes_boundary.py'
    said = run_tool('train', config, '--work-dir', tmp_path, '--cfg-options', *OPTIONS)
    assert said is None
    assert losses(tmp_path)[2]['decode.loss_epl'] > 0
    last_run.forget()
    said = run_tool(
        'test', config, tmp_path / 'iter_2.pth', '--work-dir', tmp_path / 'test', '--boundary',
        '--show-dir', tmp_path / 'show', '--cfg-options', *OPTIONS, 'visualizer.name=tested',
    )  # fmt: skip
    assert said is None
    assert len(list(tmp_path.glob('show/**/*.png'))) == 5

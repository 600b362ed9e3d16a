"""`make demo`, the newcomer's first command."""

import json
import re
import runpy
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from tests.support.commands import run
from tests.support.skips import ROOT

ERROR, TRUE = (213, 94, 0), (86, 180, 233)  # of `paint`


def demo(folder, *options):
    """What it prints, its scores per net and its folder; of a copy that is no clone, such as an
    unpacked archive."""
    copy, work = folder / 'copy', folder / 'work'
    for name in ('mmseg_boundary', 'configs', 'tools'):
        ignore = shutil.ignore_patterns('__pycache__', '.mim')
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    command = (sys.executable, 'tools/demo.py', '--work-dir', work, *options)
    out = run(*command, cwd=copy, PYTHONPATH=str(copy), TORCHDYNAMO_DISABLE='0')
    # mIoU, Boundary IoU, F and trimap IoU at 3 px, wrong pixels, their share near boundaries
    row = r'^(CE|CE \+ EPL)' + r' +(\d+\.\d\d)' * 4 + r' +(\d+) +(\d+\.\d)%$'
    rows = re.findall(row, out, re.MULTILINE)
    assert [row[0] for row in rows] == ['CE', 'CE + EPL'] and rows[0][1:] != rows[1][1:]
    return out, rows, work


def test_the_demo_prints_its_table_and_draws_its_figures(tmp_path):
    out, rows, work = demo(tmp_path, '--iters', '60')
    assert 'eta:' in out and 'step 4 of 4' in out

    made = {arm: json.loads((work / f'study/rows/{arm}__seed0__val.json').read_text())
            for arm in ('ce', 'epl')}  # fmt: skip
    for arm, printed in zip(made, rows, strict=True):
        assert float(printed[3]) == round(made[arm]['metrics']['mBoundaryF_3px'], 2)
        assert made[arm]['commit'] is None and made[arm]['code_hash'].startswith('in place ')
        assert f'{arm}__seed0: Iter(train) [60/60]' in out
    assert 'Run in place' in (work / 'study/report.html').read_text()

    assert (work / 'fields.png').stat().st_size > 10_000
    # The last picture shows where each net, of its own row, is wrong.
    assert out.splitlines()[-1] == f'Picture: {work / "errors.png"}'
    for row in np.array_split(np.asarray(Image.open(work / 'errors.png').convert('RGB')), 2):
        for color in (ERROR, TRUE):
            assert (row == color).all(-1).sum() > 1000

    # One seed is no evidence, however far its nets are apart.
    said = ' '.join(out.split())
    assert 'none of them says that a loss is better' in said
    report = (work / 'study/report.md').read_text()
    assert '- val: one seed says nothing about the losses.' in report
    for claim in ('Highest', 'better than', 'meets the target', 'beats', 'gain of'):
        assert claim not in said and claim not in report


def test_each_net_has_its_row_in_the_last_picture(tmp_path):
    """A net that is right and one that misses the object in every image that is shown."""
    tool = runpy.run_path(str(ROOT / 'tools/demo.py'))
    label = torch.zeros(128, 128, dtype=torch.uint8)
    label[40:80, 40:80] = 1
    image = torch.full((128, 128, 3), 100, dtype=torch.uint8)
    scenes = [tool['Scene'](image, label, [label, 0 * label])] * (max(tool['SHOWN']) + 1)
    nets = [tool['Net'](title, None) for title in ('right', 'wrong')]
    meta = dict(classes=('ground', 'object'), palette=((60, 60, 60), (0, 158, 115)))
    held_out = SimpleNamespace(metainfo=meta, ignore_index=255)
    tool['draw_errors'](tmp_path / 'errors.png', nets, scenes, held_out)
    drawn = np.asarray(Image.open(tmp_path / 'errors.png').convert('RGB'))
    right, wrong = ((row == ERROR).all(-1).sum() for row in np.array_split(drawn, 2))
    assert wrong > 10_000 and right < wrong / 20  # the legend has a swatch


def test_an_arm_of_the_study_is_one_of_the_demo(tmp_path, monkeypatch):
    """Such as a preset, which need not be called pspnet_NAME_shapes.py."""
    tool = runpy.run_path(str(ROOT / 'tools/demo.py'))
    study = Config.fromfile(ROOT / tool['STUDY'])
    study.study.arms['preset'] = dict(title='Preset', config='configs/pspnet_bf1_shapes.py')
    file = tmp_path / 'demo.py'
    file.write_text(f'study = {study.study.to_dict()!r}\n')
    ran = []

    def process(command, check):
        ran.append(Config.fromfile(command[3]).study.arms)
        return SimpleNamespace(returncode=1)

    monkeypatch.setitem(tool['main'].__globals__, 'STUDY', str(file))
    monkeypatch.setattr('subprocess.run', process)
    monkeypatch.chdir(ROOT)
    for options in ([], ['--losses', 'dice', 'preset']):
        monkeypatch.setattr('sys.argv', ['demo.py', '--work-dir', str(tmp_path / 'work'), *options])
        with pytest.raises(SystemExit, match='its study failed'):
            tool['main']()
    assert ran[0] == study.study.arms and list(ran[0]) == ['ce', 'epl', 'preset']
    assert {name: arm.title for name, arm in ran[1].items()} == {
        'dice': 'CE + SoftDice',
        'preset': 'Preset',
    }


@pytest.mark.slow  # minutes
def test_the_whole_demo_is_hard_at_the_boundaries(tmp_path):
    out, rows, _ = demo(tmp_path)
    for arm in ('ce', 'epl'):
        assert f'{arm}__seed0: Iter(train) [700/700]' in out
    # Hard enough, and hard where it should be: at the boundaries.
    assert 50 < float(rows[0][1]) < 95
    assert float(rows[0][2]) < float(rows[0][1]) and float(rows[0][4]) < float(rows[0][1])
    assert float(rows[0][6]) > 50

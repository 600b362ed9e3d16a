"""`make demo`, the newcomer's first command, whole."""

import json
import re
import shutil
import sys

from tests.support.commands import run
from tests.support.skips import ROOT


def test_the_demo_prints_its_table_and_draws_its_figures(tmp_path):
    # of a copy that is no clone, such as an unpacked archive
    copy, work = tmp_path / 'copy', tmp_path / 'work'
    for name in ('mmseg_boundary', 'configs', 'tools'):
        ignore = shutil.ignore_patterns('__pycache__', '.mim')
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    demo = (sys.executable, 'tools/demo.py', '--work-dir', work)
    out = run(*demo, cwd=copy, PYTHONPATH=str(copy), TORCHDYNAMO_DISABLE='0')
    # mIoU, Boundary IoU, F and trimap IoU at 3 px, wrong pixels, their share near boundaries
    row = r'^(CE|CE \+ EPL)' + r' +(\d+\.\d\d)' * 4 + r' +(\d+) +(\d+\.\d)%$'
    rows = re.findall(row, out, re.MULTILINE)
    assert [row[0] for row in rows] == ['CE', 'CE + EPL']
    # Hard enough, and hard where it should be: at the boundaries.
    assert 50 < float(rows[0][1]) < 95
    assert float(rows[0][2]) < float(rows[0][1]) and float(rows[0][4]) < float(rows[0][1])
    assert float(rows[0][6]) > 50
    assert 'eta:' in out and 'step 4 of 4' in out
    for figure in ('predictions.png', 'fields.png'):
        assert (work / figure).stat().st_size > 10_000

    made = {arm: json.loads((work / f'study/rows/{arm}__seed0__val.json').read_text())
            for arm in ('ce', 'epl')}  # fmt: skip
    for arm, printed in zip(made, rows, strict=True):
        assert float(printed[3]) == round(made[arm]['metrics']['mBoundaryF_3px'], 2)
        assert made[arm]['commit'] is None and made[arm]['code_hash'].startswith('in place ')
        assert f'{arm}__seed0: Iter(train) [700/700]' in out
    assert 'Run in place' in (work / 'study/report.html').read_text()

"""`make demo`, the newcomer's first command, whole."""

import re
import sys

from tests.support.commands import run


def test_the_demo_prints_its_table_and_draws_its_figures(tmp_path):
    out = run(sys.executable, 'tools/demo.py', '--work-dir', tmp_path, TORCHDYNAMO_DISABLE='0')
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
        assert (tmp_path / figure).stat().st_size > 10_000

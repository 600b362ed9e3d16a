import csv
import json
import sys

import pytest
from PIL import Image

from mmseg_boundary.report import write_report
from tests.support.commands import ROOT, attempt

TOOL = ROOT / 'tools/plot_boundary.py'


def report(path, widths, offset=0.0):
    metrics = {
        f'm{name}_{width}px': width + offset
        for name in ('BoundaryF', 'TrimapIoU')
        for width in widths
    }
    metrics['mTrimapIoU_1px'] = float('nan')
    write_report(path, dict(metrics=metrics, evaluators=[dict(prefix=None, widths=widths)]))
    return path


def test_a_figure_and_a_table(tmp_path):
    """Three runs, of which one has other widths."""
    files = [
        report(tmp_path / 'ce.json', [1, 3]),
        report(tmp_path / 'epl.json', [1, 3], 0.125),
        report(tmp_path / 'bf1.json', [1, 5]),
    ]
    done = attempt(sys.executable, TOOL, *files, '--out', tmp_path / 'figure/fig7.png')
    assert done.returncode == 0, done.stdout
    assert Image.open(tmp_path / 'figure/fig7.png').size[0] > 1000
    with (tmp_path / 'figure/fig7.csv').open() as file:
        table = list(csv.reader(file))
    assert table == [
        ['run', 'metric', '1 px', '3 px', '5 px'],
        ['ce', 'mBoundaryF', '1.00', '3.00', ''],
        ['ce', 'mTrimapIoU', '', '3.00', ''],
        ['epl', 'mBoundaryF', '1.12', '3.12', ''],
        ['epl', 'mTrimapIoU', '', '3.12', ''],
        ['bf1', 'mBoundaryF', '1.00', '', '5.00'],
        ['bf1', 'mTrimapIoU', '', '', '5.00'],
    ]
    assert 'epl,mBoundaryF,1.12' in done.stdout


def test_shares_of_the_diagonal_are_left_out_aloud(tmp_path):
    file = report(tmp_path / 'ce.json', [1, 3])
    kept = json.loads(file.read_text())
    kept['evaluators'][0]['widths'] += [0.02, 0.008]
    kept['metrics'] |= {'mBoundaryF_0.02d': 60.0, 'mTrimapIoU_0.02d': 61.0}
    file.write_text(json.dumps(kept))
    done = attempt(sys.executable, TOOL, file, '--out', tmp_path / 'figure.png')
    assert done.returncode == 0 and 'run,metric,1 px,3 px\n' in done.stdout
    assert 'ce.json: the widths 0.008, 0.02 are shares of the diagonal, and left out' in done.stdout


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['none.json'], 'none.json is not what test.py --boundary --json writes'),
        (['a/x.json', 'b/x.json'], 'The 2 runs are called x, x; give each a name of its own'),
    ],
)
def test_what_a_user_can_fix_is_said_in_a_sentence(arguments, words):
    done = attempt(sys.executable, TOOL, *arguments)
    assert done.returncode == 1 and 'Traceback' not in done.stdout and words in done.stdout

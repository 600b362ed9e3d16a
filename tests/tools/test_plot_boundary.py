import csv
import importlib.util
import json
import sys
from pathlib import Path

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
        (['a.json', 'a.json'], 'The 2 runs are called a, a; give each a name of its own'),
        (['a/x.json', 'b/x.json', '--names', 'y', 'y'], 'The 2 runs are called y, y; give each'),
    ],
)
def test_what_a_user_can_fix_is_said_in_a_sentence(arguments, words):
    done = attempt(sys.executable, TOOL, *arguments)
    assert done.returncode == 1 and 'Traceback' not in done.stdout and words in done.stdout


@pytest.fixture
def plot(monkeypatch):
    """The tool in this process: `plot(*arguments)` is the sentence it ends with, if any."""
    spec = importlib.util.spec_from_file_location('plot', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['plot', *map(str, arguments)])
        try:
            tool.main()
        except SystemExit as end:
            return end.code
        return None

    return call


def table_of(path):
    with path.open() as file:
        return list(csv.reader(file))


def full_report(path, prefix=None, names=('BoundaryF', 'TrimapIoU', 'BoundaryIoU')):
    """Two classes, whose scores are apart from each other and from the mean."""
    keys = {f'{name}_{width}px': width for name in names for width in (1, 3)}
    place = f'{prefix}/' if prefix else ''
    evaluator = dict(
        prefix=prefix,
        widths=[1, 3],
        classes=['road', 'pole'],
        per_class={key: [80.0 + width, 20.0 + width] for key, width in keys.items()},
    )
    metrics = {f'{place}m{key}': 50.0 + width for key, width in keys.items()}
    write_report(path, dict(metrics=metrics, evaluators=[evaluator]))
    return path


def test_boundary_iou_is_a_third_curve(plot, tmp_path):
    """And a metric that no run has is left out."""
    assert plot(full_report(tmp_path / 'a.json'), '--out', tmp_path / 'three.png') is None
    assert table_of(tmp_path / 'three.csv')[1:] == [
        ['a', 'mBoundaryF', '51.00', '53.00'],
        ['a', 'mTrimapIoU', '51.00', '53.00'],
        ['a', 'mBoundaryIoU', '51.00', '53.00'],
    ]
    one = full_report(tmp_path / 'one.json', names=['BoundaryIoU'])
    assert plot(one, '--out', tmp_path / 'one.png') is None
    assert table_of(tmp_path / 'one.csv')[1:] == [['one', 'mBoundaryIoU', '51.00', '53.00']]
    sizes = [Image.open(tmp_path / f'{name}.png').width for name in ('three', 'one')]
    assert sizes[0] == 3 * sizes[1]
    none = full_report(tmp_path / 'none.json', names=['F'])
    assert 'The report has no BoundaryF per width' in plot(none, '--out', tmp_path / 'none.png')


@pytest.mark.parametrize('prefix', [None, 'boundary'])
def test_one_class(plot, tmp_path, prefix):
    report = full_report(tmp_path / 'a.json', prefix)
    out = tmp_path / 'pole.png'
    assert plot(report, '--class', 'pole', '--out', out) is None
    assert table_of(tmp_path / 'pole.csv')[1:] == [
        ['a', 'BoundaryF of pole', '21.00', '23.00'],
        ['a', 'TrimapIoU of pole', '21.00', '23.00'],
        ['a', 'BoundaryIoU of pole', '21.00', '23.00'],
    ]
    said = plot(report, '--class', 'car', '--out', tmp_path / 'car.png')
    assert said == "There is no class 'car'; choose one of road, pole."
    assert not (tmp_path / 'car.png').exists()


def test_files_of_one_name_are_called_by_their_folders(plot, tmp_path):
    files = [tmp_path / name / 'test/numbers.json' for name in ('ce', 'epl')]
    for file in files:
        file.parent.mkdir(parents=True)
        full_report(file)
    assert plot(*files, '--out', tmp_path / 'two.png') is None
    runs = [row[0] for row in table_of(tmp_path / 'two.csv')[1::3]]
    assert runs == ['ce/test/numbers', 'epl/test/numbers']


@pytest.mark.parametrize('there', ['x.png', 'x.csv'])
def test_nothing_is_replaced_without_force(plot, tmp_path, there):
    report = full_report(tmp_path / 'a.json')
    (tmp_path / there).write_text('mine')
    said = plot(report, '--out', tmp_path / 'x.png')
    assert said == (
        f'{tmp_path / there} exists; replace it with --force, or name another file with --out.'
    )
    assert (tmp_path / there).read_text() == 'mine'
    assert sorted(Path(tmp_path).iterdir()) == sorted([report, tmp_path / there])
    assert plot(report, '--out', tmp_path / 'x.png', '--force') is None
    assert (tmp_path / there).read_bytes() != b'mine'

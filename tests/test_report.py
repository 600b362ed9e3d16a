import json
import math

import pytest

from mmseg_boundary.report import by_width, width_of, write_report

REPORT = dict(
    metrics={'b/mBoundaryF_1px': 40.5, 'b/mBoundaryF_15px': math.nan, 'b/mIoU': 60.0},
    evaluators=[dict(prefix='a', widths=[2]), dict(prefix='b', widths=[15, 1])],
)


def test_it_is_written_atomically(tmp_path):
    path = tmp_path / 'deep/numbers.json'
    write_report(path, REPORT)
    before = path.read_text()
    with pytest.raises(TypeError):
        write_report(path, dict(metrics=object()))
    assert path.read_text() == before
    assert [each.name for each in path.parent.iterdir()] == ['numbers.json']


def test_nan_becomes_null(tmp_path):
    write_report(tmp_path / 'a.json', REPORT)
    metrics = json.loads((tmp_path / 'a.json').read_text())['metrics']
    assert metrics == {'b/mBoundaryF_1px': 40.5, 'b/mBoundaryF_15px': None, 'b/mIoU': 60.0}


def test_means_by_width(tmp_path):
    write_report(tmp_path / 'a.json', REPORT)
    curve = by_width(json.loads((tmp_path / 'a.json').read_text()), 'BoundaryF')
    assert list(curve) == [1, 15] and curve[1] == 40.5 and math.isnan(curve[15])
    with pytest.raises(ValueError, match='The report has no TrimapIoU per width: evaluate with'):
        by_width(REPORT, 'TrimapIoU')


def test_shares_of_the_diagonal_are_no_pixels():
    metrics = {'mBoundaryF_3px': 40.5, 'mBoundaryF_0.008d': 50.0}
    both = dict(metrics=metrics, evaluators=[dict(prefix=None, widths=[0.008, 3])])
    assert by_width(both, 'BoundaryF') == {3: 40.5}
    shares = dict(metrics=metrics, evaluators=[dict(prefix=None, widths=[0.008])])
    with pytest.raises(ValueError, match='no BoundaryF per width: .* and widths in pixels'):
        by_width(shares, 'BoundaryF')


@pytest.mark.parametrize(
    'key, width',
    [
        ('mBoundaryF_2px', 2),
        ('a/mTrimapIoU_15px', 15),
        ('mBoundaryF_0.00375d', 0.00375),
        ('mBoundaryF_1e-05d', 1e-05),
        ('mBoundaryIoU', None),
        ('mBoundaryF_2.5px', None),
        ('mean_head', None),
        ('mBoundaryF_d', None),
    ],
)
def test_the_width_of_a_key(key, width):
    found = width_of(key)
    assert found == width and type(found) is type(width)

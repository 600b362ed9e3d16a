"""Validations in a training: who is best how often, and when a score is reached."""

import math

import pytest

from mmseg_boundary.study import over_training
from mmseg_boundary.study.results import read
from tests.support.made_up_study import add_row, markdown_of, write_plan

CURVES = dict(
    ce={0: [30, 40, 50, 60], 1: [35, 45, 55, 60]},
    bf1={0: [20, 40, 55, 70], 1: [20, 30, 56, math.nan]},
    dt={0: [30, 20, 40, 50], 1: [10, 20, 30, 40]},
)


@pytest.fixture
def folder(tmp_path):
    wanted = dict(key='mBoundaryIoU', points=4, reach=55)
    write_plan(tmp_path, validation=wanted, seeds=[0, 1], finals=[], margins={})
    for arm, of_seeds in CURVES.items():
        for seed, scores in of_seeds.items():
            scores = [None if math.isnan(each) else each for each in scores]
            validated = {str(10 * number): each for number, each in enumerate(scores, 1)}
            add_row(tmp_path, arm, seed, 'val', validated=validated)
    add_row(tmp_path, 'bwce', 0, 'val')  # without validations
    return tmp_path


def test_shares_of_the_validations(folder):
    """Of seed 0 CE has half of the first (DT is as high) and half of the second; of seed 1 the
    first two, and the last, where BF1 has none."""
    found = over_training.growth(read(folder), 'val')
    assert list(found) == ['ce', 'bf1', 'dt']
    shares = {arm: each.superiority for arm, each in found.items()}
    assert shares == {'ce': (25 + 75) / 2, 'bf1': (62.5 + 25) / 2, 'dt': 12.5 / 2}
    assert sum(shares.values()) == 100
    assert found['ce'].scores == {10: 32.5, 20: 42.5, 30: 52.5, 40: 60}
    assert found['ce'].reached == [40, 30] and found['bf1'].reached == [30, 30]
    assert found['dt'].reached == [None, None]


def test_the_report_tells_them(folder):
    text = markdown_of(folder)
    assert '| CE | 50.00 | 60.00 | 40 | 40, 30 |' in text
    assert '| BF1 <2> | 43.75 | 55.50 | 30 | 30, 30 |' in text
    assert '| DT | 6.25 | 45.00 | 40 | —, — |' in text
    assert 'first iteration with 55' in text


def test_without_validations_there_is_nothing(folder):
    write_plan(folder, seeds=[0, 1], finals=[], margins={})
    assert 'Over the training' not in markdown_of(folder)
    study = read(folder)
    study.runs[:] = [run for run in study.runs if run.arm == 'bwce']
    assert over_training.growth(study, 'val') == {}

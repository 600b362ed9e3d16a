"""tools/ceiling.py: what labels score after pooling, worked by hand and through the tool."""

import runpy

import pytest
import torch

from tests.support.commands import ROOT
from tests.support.small_run import run_tool, write_config, write_data

pooled = runpy.run_path(str(ROOT / 'tools/ceiling.py'))['pooled']


@pytest.mark.parametrize(
    'columns, predicted',
    [
        ('0011', '0011'),  # the boundary lies between two squares: 1, 3/4, 1/4 and 0 of class 0
        ('0001', '0000'),  # 1, 7/8, 5/8 and 1/2, a tie, which the first class wins
        ('0111', '0111'),
        ('001.', '0011'),  # void is of no class
        ('00100', '00000'),  # odd: squares of three columns, which overlap
    ],
)
def test_two_pixels_by_hand(columns, predicted):
    row = torch.tensor([255 if c == '.' else int(c) for c in columns])
    found = pooled(row.expand(4, -1), 2, 255, stride=2, align_corners=False)
    assert [''.join(map(str, each)) for each in found.tolist()] == [predicted] * 4


def test_the_tool(tmp_path, capsys):
    write_data(tmp_path / 'data')
    write_config(tmp_path)
    assert run_tool('ceiling', tmp_path / 'config.py', '--strides', 1, 8) is None
    rows = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith('| '):
            key, *values = (cell.strip() for cell in line.strip('|').split('|'))
            rows[key] = values
    assert rows.pop('') == ['stride 1', 'stride 8']
    assert all(whole == '100.00' and 0 < float(pooled) < 100 for whole, pooled in rows.values())
    assert {'mIoU', 'mBoundaryF_3px', 'mBoundaryIoU_1px'} <= rows.keys()
    assert float(rows['mBoundaryF_1px'][1]) < float(rows['mBoundaryF_3px'][1])


def test_no_stride(tmp_path, capsys):
    assert run_tool('ceiling', tmp_path / 'config.py', '--strides', 0) == 2
    assert '--strides 0: give 1 or more pixels' in capsys.readouterr().err

import math

import pytest
import torch

from mmseg_boundary.metrics.contour_errors import count_contour_errors, share_near_contour

ROW = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]  # boundary pixels: columns 4 and 5


@pytest.mark.parametrize(
    'wrong_columns, width, near',
    [([4], 0, 1), ([3], 0, 0), ([3], 1, 1), ([1], 3, 1), ([0], 3, 0), ([0, 1, 5], 3, 2)],
)
def test_by_hand(wrong_columns, width, near):
    label = torch.tensor([ROW])
    pred = label.clone()
    pred[0, wrong_columns] = 2
    assert count_contour_errors(pred, label, width=width).tolist() == [near, len(wrong_columns)]


def test_void_is_neither_wrong_nor_a_boundary():
    label = torch.tensor([[0, 0, 0, 0, 255, 255, 1, 1]])
    assert count_contour_errors(1 - label.clamp(max=1), label, width=1).tolist() == [0, 6]
    assert count_contour_errors(torch.full_like(label, 9), label, 255)[1] == 6


def test_shares_add_over_images():
    label = torch.tensor([ROW])
    counts = [count_contour_errors(label + 1, label), count_contour_errors(label, label)]
    assert sum(counts).tolist() == [8, 10]
    assert share_near_contour(sum(counts)) == 0.8
    assert math.isnan(share_near_contour(counts[1]))


@pytest.mark.parametrize(
    'dtype, void', [(torch.uint8, -254), (torch.uint8, 256), (torch.int8, 256)]
)
def test_void_does_not_wrap_around_in_narrow_types(dtype, void):
    """-254 is 2 in uint8, and 256 is 0."""
    label = torch.tensor([[0, 0, 0, 2, 2, 2]], dtype=dtype)
    assert count_contour_errors(1 - label.clamp(max=1), label, void, width=0).tolist() == [2, 6]

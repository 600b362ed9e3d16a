"""Trimap IoU: what bounds where a label is void or of no class."""

from functools import partial

import pytest
import torch

from mmseg_boundary.metrics import count_trimap_iou
from tests.support import naive
from tests.support.scenes import square


def test_only_void_bounds_in_voc():
    """An object in a ring of void: no two classes touch, and void is all the boundary there is."""
    label = square(1, 1, 8, 8) * 255
    label[3:6, 3:6] = 1
    assert count_trimap_iou(label, label, 2, (1,)).sum() == 0
    assert count_trimap_iou(label, label, 2, (1,), void_is_boundary=True).tolist() == [
        [[28, 28]],
        [[8, 8]],
    ]


@pytest.mark.parametrize('void_is_boundary', [False, True])
def test_two_numbers_of_no_class_have_a_boundary_between_them(void_is_boundary):
    """And one to void, where void bounds; the class beside void is then a boundary as well."""
    label = torch.tensor([[0, 0, 1, 1, 9, 9, 7, 7, 255, 255, 1, 1]])
    ours = partial(count_trimap_iou, void_is_boundary=void_is_boundary)
    expected = naive.trimap_iou(label, label, 10, (1, 2), 255, void_is_boundary)
    measured = ours(label, label, 2, (1, 2), unknown_labels='wrong')
    assert measured.tolist() == expected[:2]
    known_wrong = ours(torch.zeros_like(label), label, 2, (1,), unknown_labels='wrong')
    # class 0 is predicted throughout the boundary; class 1 has its own pixels there
    boundary = [1, 2, 3, 4, 5, 6] + [7, 10] * void_is_boundary
    assert known_wrong[0].tolist() == [[1, len(boundary)]]

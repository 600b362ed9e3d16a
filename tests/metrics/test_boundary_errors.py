"""What is predicted where a boundary is not met."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from mmseg_boundary.geometry.boundary import MAX_SETS
from mmseg_boundary.metrics import boundary_f, count_boundary_errors
from mmseg_boundary.metrics.boundary_errors import KINDS
from tests.support.scenes import segmentation, segmentations, square

MET, OTHER, SHIFTED, MISSED = range(len(KINDS))


def by_pixels(pred, label, num_classes, tolerance, reach, void=255):
    """The same by a loop over pixels."""
    maps = [each.numpy() for each in (label, pred)]
    maps = [np.where(maps[0] == void, num_classes, each) for each in maps]
    height, width = maps[0].shape

    def boundary(labels, number):
        found = set()
        for y in range(height):
            for x in range(width):
                window = labels[y : y + 2, x : x + 2] == number
                if window.any() and not window.all():
                    found.add((y, x))
        return found

    def distance(place, others):
        return min((math.dist(place, each) for each in others), default=math.inf)

    def thin_parts(labels, number):
        everywhere = {(y, x) for y in range(height) for x in range(width)}
        inside = {place for place in everywhere if labels[place] == number}
        room = {place for place in everywhere if labels[place] in (number, num_classes)}
        centers = {each for each in room if distance(each, everywhere - room) > tolerance}
        return {each for each in inside if distance(each, centers) > tolerance}

    def between_classes(labels):
        windows = {
            (y, x): {*labels[y : y + 2, x : x + 2].flatten().tolist()} - {num_classes}
            for y in range(height)
            for x in range(width)
        }
        return {place for place, classes in windows.items() if len(classes) > 1}

    counts = np.zeros((2, num_classes, 4, 2), int)
    drawn = [[boundary(labels, k) for k in range(num_classes)] for labels in maps]
    for side, labels in enumerate(maps):
        contours = between_classes(maps[1 - side])
        for k in range(num_classes):
            thin = thin_parts(labels, k)
            for place in drawn[side][k]:
                theirs = distance(place, drawn[1 - side][k])
                if theirs <= tolerance:
                    kind = MET
                elif distance(place, contours) <= tolerance:
                    kind = OTHER
                else:
                    kind = SHIFTED if theirs <= reach else MISSED
                y, x = place
                window = {(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)}
                counts[side, k, kind, int(bool(window & thin))] += 1
    return counts


@given(segmentations())
@settings(max_examples=30, deadline=None)
def test_it_equals_the_loop_over_pixels(case):
    for tolerance, reach in ((1, 3), (0, 0), (1.5, 6)):
        ours = count_boundary_errors(*case, 4, tolerance, reach)
        assert np.array_equal(ours, by_pixels(*case, 4, tolerance, reach))


@pytest.mark.parametrize('tolerance', [0, 1, 3])
def test_the_shares_that_are_met_are_those_of_boundary_f(tolerance):
    pred, label = segmentation((40, 50), classes=4)
    counts = count_boundary_errors(pred, label, 4, tolerance).sum(-1).double()
    recall, precision = counts[..., MET] / counts.sum(-1)
    f = 2 * precision * recall / (precision + recall)
    expected = boundary_f(pred, label, 4, tolerance)[:, 0]
    torch.testing.assert_close(f.nan_to_num(), expected.nan_to_num())


def test_the_reach_is_four_tolerances():
    pred, label = segmentation((40, 50), classes=4)
    counts = [count_boundary_errors(pred, label, 4, 1, reach) for reach in (None, 4, 5)]
    assert torch.equal(*counts[:2]) and not torch.equal(*counts[1:])


def one_kind(counts, number, side=0):
    """The kind of all pixels of a class's boundary."""
    (kind,) = counts.sum(-1)[side, number].nonzero().flatten().tolist()
    return KINDS[kind]


def test_each_kind():
    label = square(20, 20, 40, 40, size=60)
    kinds = []
    for pred in (label, 2 * label, label * 0, square(20, 36, 40, 56, size=60)):
        kinds.append(count_boundary_errors(pred, label, 3, tolerance=2, reach=20))
    met, confused, missed, shifted = kinds
    assert one_kind(met, 1) == 'met' and one_kind(met, 1, side=1) == 'met'
    assert one_kind(confused, 1) == 'other class' == one_kind(confused, 2, side=1)
    assert one_kind(missed, 1) == 'missed' and not missed[1].any()
    vertical = shifted.sum(-1)[0, 1]
    assert vertical[SHIFTED] > 0 and vertical[MISSED] == 0


def test_thin_parts():
    """A pole of 3 px beside a square of 20 px: nothing of the one is thick, and little of the
    other thin, its corners."""
    label = square(20, 20, 40, 40, size=60)
    label[5:55, 50:53] = 2
    counts = count_boundary_errors(label * 0, label, 3, tolerance=3)[0, :, MISSED]
    assert counts[2, 0] == 0 and counts[2, 1] > 100
    assert counts[1].tolist() == [52, 28]


def test_void_is_no_error():
    pred, label = segmentation((30, 30), classes=3, void_share=0.3)
    label = torch.as_tensor(label)
    expected = count_boundary_errors(pred, label, 3)
    other = torch.as_tensor(pred).clone()
    other[label == 255] = 2
    assert torch.equal(count_boundary_errors(other, label, 3), expected)


def test_a_ring_of_void_is_no_contour_and_makes_nothing_thin():
    """As VOC's, which both maps have: what it surrounds is missed."""
    label = square(20, 20, 40, 40, size=60)
    label[:, 40:] = label[:, 17:20] = label[17:20] = label[40:43] = 255
    corners = count_boundary_errors(0 * label, square(20, 20, 40, 40, size=60), 2, 3)[0, 1, :, 1]
    counts = count_boundary_errors(0 * label, label, 2, 3)[0, 1]
    assert counts[MISSED, 0] == counts[:, 0].sum() > 60 and counts[:, 1].sum() == 0 < corners.sum()


def test_more_classes_than_one_map_of_sets_holds():
    pred, label = segmentation((40, 50), classes=4)
    high = MAX_SETS + 2
    moved = [torch.as_tensor(each).clone() for each in (pred, label)]
    for each in moved:
        each[each == 3] = high
    few, many = (
        count_boundary_errors(*maps, classes)
        for maps, classes in (((pred, label), 4), (moved, high + 1))
    )
    assert torch.equal(few, many[:, [0, 1, 2, high]]) and many.sum() == few.sum()


@pytest.mark.parametrize('tolerance, reach', [(-1, None), (3, 2), (math.nan, None), (3, math.inf)])
def test_distances_that_cannot_be(tolerance, reach):
    label = square()
    with pytest.raises(ValueError, match='give 0 or more pixels, and a reach that'):
        count_boundary_errors(label, label, 2, tolerance, reach)

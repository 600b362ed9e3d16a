"""Boundary IoU: another way to it, and its width as a share of the diagonal."""

import pytest
import torch
from scipy.ndimage import binary_erosion

from mmseg_boundary.metrics import count_boundary_iou, iou
from mmseg_boundary.metrics.boundary_iou import width_at_ratio
from tests.support.engines import ENGINES
from tests.support.scenes import large_segmentation, square


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('width', [1, 3, 46])
def test_boundary_iou_by_erosion(width, engine):
    """As in the authors' code: a mask minus its erosion, with zeros around the image."""
    pred, label = large_segmentation()
    valid = label != 255
    for k in range(3):
        bands = []
        for mask in ((label == k) & valid, (pred == k) & valid):
            kept = binary_erosion(mask, torch.ones(3, 3), iterations=width, border_value=0)
            bands.append(mask & ~torch.from_numpy(kept))
        true, predicted = bands
        with ENGINES[engine]():
            counts = count_boundary_iou(pred, label, 3, (width,))[k, 0].tolist()
        assert counts == [(true & predicted).sum(), (true | predicted).sum()]


@pytest.mark.parametrize(
    'size, at_2_percent, at_half_percent',
    [((256, 256), 7, 2), ((375, 500), 12, 3), ((512, 1024), 23, 6), ((1024, 2048), 46, 11)],
)
def test_widths_at_a_ratio(size, at_2_percent, at_half_percent):
    assert width_at_ratio(*size) == at_2_percent
    assert width_at_ratio(*size, 0.005) == at_half_percent
    assert width_at_ratio(8, 8, 0.005) == 1


def test_boundary_iou_falls_faster_than_iou():
    label = square(10, 10, 40, 40, size=50)
    for shift in range(1, 6):
        pred = label.roll(shift, 1)
        whole = ((pred & label).sum() / (pred | label).sum()).item()
        boundary = iou(count_boundary_iou(pred, label, 2, (3,)))[1].item()
        assert boundary < whole
    assert boundary < 0.5 < whole

"""The boundary F: another way to it, its averages over images, and Csurka's tolerance."""

import pytest
import torch
from scipy.ndimage import binary_dilation

from mmseg_boundary.geometry.boundary import class_boundaries
from mmseg_boundary.metrics import boundary_f, count_boundary_iou, iou, score_boundary_f
from mmseg_boundary.metrics.boundary_f import csurka_tolerance
from tests.support import naive
from tests.support.scenes import large_segmentation, segmentation, square


def test_boundaries_that_hardly_meet():
    """Two squares that share a corner: a few pixels in 72 lie near the other's boundary."""
    pred, label = square(2, 2, 20, 20, size=40), square(19, 19, 37, 37, size=40)
    f = boundary_f(pred, label, 2, (1,))
    expected = torch.tensor(naive.boundary_f(pred, label, 2, (1,)), dtype=f.dtype)
    torch.testing.assert_close(f, expected, rtol=0, atol=1e-12)
    assert (0 < f).all() and (f < 0.2).all()


@pytest.mark.parametrize('radius', [1, 3, 9])
def test_f_by_dilation(radius):
    """As in DAVIS's code: boundaries widened by a disk."""
    pred, label = large_segmentation()
    valid = label != 255
    offsets = torch.arange(-radius, radius + 1)
    disk = offsets[:, None] ** 2 + offsets**2 <= radius**2
    for k in range(3):
        maps = []
        for mask in ((label == k) & valid, (pred == k) & valid):
            boundary = class_boundaries(mask.int(), [1]).bool()
            maps.append((boundary, torch.from_numpy(binary_dilation(boundary, disk))))
        (true, near_true), (predicted, near_predicted) = maps
        precision = (predicted & near_true).sum() / predicted.sum()
        recall = (true & near_predicted).sum() / true.sum()
        f = 2 * precision * recall / (precision + recall)
        assert boundary_f(pred, label, 3, (radius,))[k].item() == pytest.approx(f.item())


@pytest.mark.parametrize('mode', ['present', 'csurka'])
def test_f_of_more_classes_than_fit_into_one_map(mode):
    """Every other class is in neither map; the last has number 79."""
    pred, label = segmentation((30, 40), classes=40, void_share=0.02, wrong=0.6, seed=8)
    pred, label = 2 * pred + 1, torch.where(label == 255, label, 2 * label + 1)
    ours = boundary_f(pred, label, 80, (1, 4.5), mode=mode)
    theirs = naive.boundary_f(pred, label, 80, (1, 4.5), 255, mode=mode)
    assert ours[1::2].isfinite().sum() > 2 * 31
    torch.testing.assert_close(ours, torch.as_tensor(theirs).double(), equal_nan=True)


def test_csurkas_tolerance_is_not_reached():
    """0.75 % of the diagonal of 400 x 400 is the distance of (3, 3): such a pair does not match."""
    assert csurka_tolerance(375, 500) == pytest.approx(4.6875)
    assert csurka_tolerance(1024, 2048) == pytest.approx(17.17, abs=0.01)
    assert csurka_tolerance(400, 400) < 18**0.5


def test_a_boundary_along_void_matches_itself():
    """Void beside the object: both maps end there, and nothing is wrong."""
    label = square()
    label[:, 5:] = 255
    pred = torch.ones_like(label).where(label == 255, label)
    assert boundary_f(pred, label, 2, (1,))[1].item() == 1
    assert iou(count_boundary_iou(pred, label, 2, (1,)))[1].item() == 1


def test_averages_over_images():
    """Three images of three classes; class 2 is nowhere.

    present: (1 + 0.5)/2 and (0 + 0.4 + 0.2)/3, of which the mean.
    gscnn: the images without either boundary count as 1.
    csurka: (1 + 0)/2, (0.5 + 0.4)/2 and 0.2 alone, of which the mean.
    """
    nan = float('nan')
    values = torch.tensor([[1, 0, nan], [0.5, 0.4, nan], [nan, 0.2, nan]]).double()[..., None]
    expected = {
        'present': ([0.75, 0.2, nan], (0.75 + 0.2) / 2),
        'gscnn': ([2.5 / 3, 0.2, 1.0], (2.5 / 3 + 0.2 + 1) / 3),
        'csurka': ([0.75, 0.2, nan], (0.5 + 0.45 + 0.2) / 3),
    }
    for mode, (per_class, mean) in expected.items():
        scores = score_boundary_f(values, mode)
        assert scores[0][:, 0].tolist() == pytest.approx(per_class, nan_ok=True, abs=1e-7)
        assert scores[1].item() == pytest.approx(mean, abs=1e-7)


def test_nothing_seen_is_nan():
    values = torch.full((2, 3, 1), torch.nan, dtype=torch.float64)
    assert score_boundary_f(values)[1].isnan().all()
    assert score_boundary_f(values, 'csurka')[1].isnan().all()
    assert score_boundary_f(values, 'gscnn')[1].eq(1).all()


def test_sums_do_not_depend_on_order_or_split():
    """Floating-point sums of these values do."""
    values = torch.rand(200, 3, 2, generator=torch.Generator().manual_seed(0)).double() ** 9
    values[values < 1e-4] = torch.nan
    shuffled = values[torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    for mode in ('present', 'gscnn', 'csurka'):
        for ours, theirs in zip(score_boundary_f(values, mode), score_boundary_f(shuffled, mode)):
            assert ours.equal(theirs)


def test_modes_are_named():
    with pytest.raises(ValueError, match="mode is 'davis'; choose one of 'present', 'gscnn'"):
        boundary_f(*segmentation(), 3, (1,), mode='davis')

"""The three metrics against their definitions, worked values and properties."""

import sys
from contextlib import contextmanager, nullcontext
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, binary_erosion

from mmseg_boundary import metrics
from mmseg_boundary.geometry.boundary import contours, count_members, shared_within
from mmseg_boundary.metrics import (
    boundary_f,
    count_boundary_iou,
    count_trimap_iou,
    iou,
    score_boundary_f,
)
from mmseg_boundary.metrics.boundary_f import csurka_tolerance
from mmseg_boundary.metrics.boundary_iou import width_at_ratio
from tests.support import naive
from tests.support.metrics import METRICS, counted, measured
from tests.support.scenes import segmentation, segmentations, square

WIDTHS = (1, 2, 3, 5)


@contextmanager
def without_opencv():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'cv2', None)
        yield


ENGINES = {'OpenCV': nullcontext, 'scipy': without_opencv}


@pytest.fixture(params=METRICS)
def metric(request):
    return counted(request.param)


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12, equal_nan=True)


# --- Definitions ----------------------------------------------------------------------------------


def test_every_metric_is_listed():
    named = [getattr(metrics, name) for name in metrics.__all__]
    classes = [
        each for each in named if isinstance(each, type) and issubclass(each, metrics.Metric)
    ]
    names = {metric.name for metric in classes if metric is not metrics.Metric}
    assert len(names) >= 3 and names == {name.split(',')[0] for name in METRICS}
    known = {title for row in METRICS.values() for title in row.does_not_hold}
    assert known <= set(PROPERTIES)


@pytest.mark.parametrize('name', [name for name in METRICS if METRICS[name].count])
def test_an_object_measures_what_the_function_does(name):
    pred, label = segmentation((14, 15), seed=6)
    same(measured(name)(pred, label, 3, WIDTHS), counted(name)(pred, label, 3, WIDTHS))


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('name', METRICS)
def test_agrees_with_the_definition(name, engine):
    row = METRICS[name]

    @given(segmentations(), st.sampled_from((255, 0, 7)))
    def agrees(pair, void):
        pred, label = pair
        label = label.where(label != 255, void)
        with ENGINES[engine]():
            ours = counted(name)(pred, label, 3, WIDTHS, void, unknown_labels='wrong')
        theirs = row.oracle(pred, label, 3, WIDTHS, void, **row.options)
        same(ours, torch.tensor(theirs, dtype=ours.dtype))

    agrees()


# The reference's worked examples on a 5x5 square: the prediction; pixels of both contours, P, R and
# F at 1 px; (intersection, union) of class 1's rims of 1 and 2 px; the same of the trimaps of 1, 2
# and 3 px for both classes.
WORKED = {
    'perfect': (
        lambda label: label,
        (20, 20, 1, 1, 1),
        [(16, 16), (24, 24)],
        [[(20, 20), (52, 52), (56, 56)], [(16, 16), (24, 24), (25, 25)]],
    ),
    'shifted by 1': (
        lambda label: label.roll(1, 1),
        (20, 20, 1, 1, 1),
        [(8, 24), (18, 30)],
        [[(15, 25), (47, 57), (51, 61)], [(11, 21), (19, 29), (20, 30)]],
    ),
    'shifted by 2': (
        lambda label: label.roll(2, 1),
        (16, 20, 0.75, 0.6, 2 / 3),
        [(6, 26), (13, 35)],
        [[(15, 27), (42, 62), (46, 66)], [(9, 21), (14, 34), (15, 35)]],
    ),
    'grown by 1': (
        lambda label: square(1, 1, 8, 8),
        (28, 20, 24 / 28, 1, 12 / 13),
        [(0, 40), (16, 48)],
        [[(0, 20), (28, 52), (32, 56)], [(16, 36), (24, 48), (25, 49)]],
    ),
}


@pytest.mark.parametrize('name', WORKED)
def test_worked_examples(name):
    change, (n_pred, n_true, precision, recall, f), rims, trimaps = WORKED[name]
    label = square()
    pred = change(label)
    predicted, true = contours(pred, [1]), contours(label, [1])
    assert (predicted.sum(), true.sum()) == (n_pred, n_true)
    hits, found = shared_within(predicted, true, [1]), shared_within(true, predicted, [1])
    assert count_members(hits, 1).item() / n_pred == pytest.approx(precision)
    assert count_members(found, 1).item() / n_true == pytest.approx(recall)
    assert boundary_f(pred, label, 2, (1, 2))[1].tolist() == pytest.approx([f, 1])
    assert count_boundary_iou(pred, label, 2, (1, 2))[1].tolist() == [list(n) for n in rims]
    assert count_trimap_iou(pred, label, 2, (1, 2, 3)).tolist() == [
        [list(pair) for pair in row] for row in trimaps
    ]


def test_contours_that_hardly_meet():
    """Two squares that share a corner: a few pixels in 72 lie near the other's contour."""
    pred, label = square(2, 2, 20, 20, size=40), square(19, 19, 37, 37, size=40)
    f = boundary_f(pred, label, 2, (1,))
    same(f, torch.tensor(naive.boundary_f(pred, label, 2, (1,)), dtype=f.dtype))
    assert (0 < f).all() and (f < 0.2).all()


def test_the_image_border_is_a_boundary_for_boundary_iou_alone():
    full = torch.ones(9, 9, dtype=torch.long)
    assert count_boundary_iou(full, full, 2, (1,))[1].tolist() == [[32, 32]]
    assert boundary_f(full, full, 2, (1,)).isnan().all()
    assert count_trimap_iou(full, full, 2, (9,)).sum() == 0


# --- Others' ways to the same numbers, on larger maps ---------------------------------------------


def large_pair(void_share=0.02):
    """97 x 110, objects and void at the border."""
    pred, label = segmentation((97, 110), void_share=void_share, wrong=0.02, seed=5)
    label[:4] = 255
    return pred, label


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('width', [1, 3, 46])
def test_boundary_iou_by_erosion(width, engine):
    """As in the authors' code: a mask minus its erosion, in a frame of zeros."""
    pred, label = large_pair()
    valid = label != 255
    for k in range(3):
        bands = []
        for mask in ((label == k) & valid, (pred == k) & valid):
            kept = binary_erosion(mask, torch.ones(3, 3), iterations=width, border_value=0)
            bands.append(mask & ~torch.from_numpy(kept))
        truth, guess = bands
        with ENGINES[engine]():
            counts = count_boundary_iou(pred, label, 3, (width,))[k, 0].tolist()
        assert counts == [(truth & guess).sum(), (truth | guess).sum()]


@pytest.mark.parametrize('radius', [1, 3, 9])
def test_f_by_dilation(radius):
    """As in DAVIS's code: contours widened by a disk."""
    pred, label = large_pair()
    valid = label != 255
    offsets = torch.arange(-radius, radius + 1)
    disk = offsets[:, None] ** 2 + offsets**2 <= radius**2
    for k in range(3):
        maps = []
        for mask in ((label == k) & valid, (pred == k) & valid):
            drawn = contours(mask.int(), [1]).bool()
            maps.append((drawn, torch.from_numpy(binary_dilation(drawn, disk))))
        (true, near_true), (guess, near_guess) = maps
        precision = (guess & near_true).sum() / guess.sum()
        recall = (true & near_guess).sum() / true.sum()
        f = 2 * precision * recall / (precision + recall)
        assert boundary_f(pred, label, 3, (radius,))[k].item() == pytest.approx(f.item())


@pytest.mark.parametrize('mode', ['present', 'csurka'])
def test_f_of_more_classes_than_fit_into_a_picture(mode):
    """Every other class is in neither map; the last has number 79."""
    pred, label = segmentation((30, 40), classes=40, void_share=0.02, wrong=0.6, seed=8)
    pred, label = 2 * pred + 1, torch.where(label == 255, label, 2 * label + 1)
    ours = boundary_f(pred, label, 80, (1, 4.5), mode=mode)
    theirs = naive.boundary_f(pred, label, 80, (1, 4.5), 255, mode=mode)
    assert ours[1::2].isfinite().sum() > 2 * 31
    torch.testing.assert_close(ours, torch.as_tensor(theirs).double(), equal_nan=True)


@pytest.mark.parametrize(
    'size, at_2_percent, at_half_percent',
    [((256, 256), 7, 2), ((375, 500), 12, 3), ((512, 1024), 23, 6), ((1024, 2048), 46, 11)],
)
def test_widths_at_a_ratio(size, at_2_percent, at_half_percent):
    assert width_at_ratio(*size) == at_2_percent
    assert width_at_ratio(*size, 0.005) == at_half_percent
    assert width_at_ratio(8, 8, 0.005) == 1


def test_csurkas_tolerance_is_not_reached():
    """0.75 % of the diagonal of 400 x 400 is the distance of (3, 3): such a pair does not match."""
    assert csurka_tolerance(375, 500) == pytest.approx(4.6875)
    assert csurka_tolerance(1024, 2048) == pytest.approx(17.17, abs=0.01)
    assert csurka_tolerance(400, 400) < 18**0.5


# --- Empty cases ----------------------------------------------------------------------------------


def test_absent_is_nan_and_missed_is_zero():
    """Class 1 is missed, class 2 is made up, class 3 is in neither map."""
    label, pred = square(), 2 * square()
    for counts in (
        count_boundary_iou(pred, label, 4, (2,)),
        count_trimap_iou(pred, label, 4, (2,)),
    ):
        scores = iou(counts)[:, 0]
        assert scores[0] > 0 and scores[1:3].tolist() == [0, 0] and scores[3].isnan()
    f = boundary_f(pred, label, 4, (2,))[:, 0]
    assert f[:3].tolist() == [1, 0, 0] and f[3].isnan()


def test_averages_over_images():
    """Three images of three classes; class 2 is nowhere.

    present: (1 + 0.5)/2 and (0 + 0.4 + 0.2)/3, of which the mean.
    gscnn: the images without either contour count as 1.
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


# --- Properties -----------------------------------------------------------------------------------


def test_void_has_no_say(metric):
    @given(segmentations())
    def holds(pair):
        pred, label = pair
        noise = pred.where(label != 255, (pred + 1) % 3)
        first, second = (
            metric(each, label, 3, WIDTHS, unknown_labels='wrong') for each in (pred, noise)
        )
        same(first, second)

    holds()


def test_a_contour_along_void_matches_itself():
    """Void beside the object: both maps end there, and nothing is wrong."""
    label = square()
    label[:, 5:] = 255
    pred = torch.ones_like(label).where(label == 255, label)
    assert boundary_f(pred, label, 2, (1,))[1].item() == 1
    assert iou(count_boundary_iou(pred, label, 2, (1,)))[1].item() == 1


def test_only_void_bounds_in_voc():
    """An object in a ring of void: no two classes touch, and void is all the boundary there is."""
    label = square(1, 1, 8, 8) * 255
    label[3:6, 3:6] = 1
    assert count_trimap_iou(label, label, 2, (1,)).sum() == 0
    assert count_trimap_iou(label, label, 2, (1,), void_is_boundary=True).tolist() == [
        [[28, 28]],
        [[8, 8]],
    ]


# Each: by how much pairs of maps without void break it.


def pred_and_label_may_be_swapped(metric, pred, label):
    return apart(metric(pred, label, 3, WIDTHS), metric(label, pred, 3, WIDTHS))


def flips_and_transposes_commute(metric, pred, label):
    expected = metric(pred, label, 3, WIDTHS)
    turns = (lambda x: x.flip(0), lambda x: x.flip(1), lambda x: x.T)
    return max(apart(metric(turn(pred), turn(label), 3, WIDTHS), expected) for turn in turns)


def padding_with_void_changes_nothing(metric, pred, label):
    """Void around the image is a border like any other for Boundary IoU, and no boundary of the
    trimap's; a contour, and a trimap that void bounds, is drawn along it."""
    padded = [
        torch.nn.functional.pad(each, (2, 2, 2, 2), value=value)
        for each, value in ((pred, 0), (label, 255))
    ]
    return apart(metric(*padded, 3, WIDTHS), metric(pred, label, 3, WIDTHS))


PROPERTIES = {
    'pred and label may be swapped': pred_and_label_may_be_swapped,
    'flips and transposes commute': flips_and_transposes_commute,
    'padding with void changes nothing': padding_with_void_changes_nothing,
}


def apart(ours, theirs):
    """The largest difference; NaN is no number, and the same on both sides."""
    assert ours.isnan().equal(theirs.isnan())
    return (ours.double() - theirs.double()).nan_to_num(0).abs().max().item()


@pytest.mark.parametrize('title', PROPERTIES)
@pytest.mark.parametrize('name', METRICS)
def test_property(name, title):
    violation, metric = PROPERTIES[title], counted(name)
    pairs = [segmentation((12, 14), void_share=0.0, seed=seed) for seed in range(5)]
    worst = max(violation(metric, *pair) for pair in pairs)
    assert worst > 1e-3 if title in METRICS[name].does_not_hold else worst < 1e-12


def test_perfect_is_one(metric):
    @given(segmentations())
    def holds(pair):
        _, label = pair
        measured = metric(label, label, 4, WIDTHS)
        scores = measured if measured.is_floating_point() else iou(measured)
        assert scores[~scores.isnan()].eq(1).all()

    holds()


def test_boundary_iou_falls_faster_than_iou():
    label = square(10, 10, 40, 40, size=50)
    for shift in range(1, 6):
        pred = label.roll(shift, 1)
        whole = ((pred & label).sum() / (pred | label).sum()).item()
        rim = iou(count_boundary_iou(pred, label, 2, (3,)))[1].item()
        assert rim < whole
    assert rim < 0.5 < whole


def test_widths_nest_and_keep_their_order(metric):
    pred, label = segmentation((16, 16), seed=1)
    one_by_one = torch.cat([metric(pred, label, 3, (width,)) for width in (5, 1, 3)], 1)
    same(metric(pred, label, 3, (5, 1, 3)), one_by_one)


def test_every_input_type_agrees(metric):
    pred, label = segmentation(seed=2)
    expected = metric(pred, label, 3, WIDTHS)
    for dtype in (torch.uint8, torch.int32):
        same(metric(pred.to(dtype), label.to(dtype), 3, WIDTHS), expected)
    same(metric(pred.T.contiguous().T, label, 3, WIDTHS), expected)


def test_labels_of_no_class_belong_to_none(metric):
    """With 'wrong', as in MMSegmentation's IoU: what is predicted there is wrong, and nothing
    stops."""
    pred, label = segmentation(void_share=0.0, seed=4)
    stranger = label.where(label != 2, 9)
    fewer = metric(pred, stranger, 2, WIDTHS, unknown_labels='wrong')
    same(fewer, metric(pred, label, 3, WIDTHS)[:2])


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


@pytest.mark.parametrize('stranger', [3, 254, 2**40, -1])
def test_labels_of_no_class_are_refused(metric, stranger):
    """One pixel is enough, and void that was not told is one too."""
    pred, label = segmentation(seed=4)
    label[5, 5] = stranger
    with pytest.raises(ValueError) as caught:
        metric(pred, label, 3, WIDTHS)
    said = str(caught.value)
    assert f'label holds [{stranger}], but the metric knows 3 classes (0 to 2)' in said
    assert f'ignore_index={stranger}' in said and "unknown_labels='wrong'" in said
    told = label.where(label != 255, stranger)
    expected = metric(pred, label.where(label != stranger, 255), 3, WIDTHS)
    same(metric(pred, told, 3, WIDTHS, stranger), expected)


@pytest.mark.parametrize('void', [0, 2])
def test_void_that_is_the_index_of_a_class_is_known(metric, void):
    pred, label = segmentation(void_share=0.0, seed=4)
    same(
        metric(pred, label, 3, WIDTHS, void),
        metric(pred, label.where(label != void, 9), 3, WIDTHS, 9),
    )


def test_predictions_of_no_class_are_wrong_pixels(metric):
    """Nothing is refused for what the net says."""
    pred, label = segmentation(seed=4)
    for stranger in (3, 9, 255, -1):
        odd = pred.where(pred != 2, stranger)
        measured = metric(odd, label, 3, WIDTHS)
        same(measured, metric(odd, label, 3, WIDTHS, unknown_labels='wrong'))
        assert not measured.equal(metric(pred, label, 3, WIDTHS))


@pytest.mark.parametrize(
    'dtype', [torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32]
)
def test_void_does_not_wrap_around_in_narrow_types(metric, dtype):
    """-100 is 156 in uint8, -1 is 255, and 256 is 0: classes there."""
    pred, label = segmentation(void_share=0.0, seed=4)
    expected = metric(pred, label, 3, WIDTHS)
    for void in (-100, 256, -256, 2**16, 2**32, -(2**32)):
        same(metric(pred.to(dtype), label.to(dtype), 3, WIDTHS, void), expected)
    if dtype == torch.uint8:
        pred, label = (each.where(each != 2, 156) for each in (pred, label))
        measured = metric(pred.to(dtype), label.to(dtype), 157, WIDTHS, -100)
        same(measured[156], expected[2])


def test_other_words_for_unknown_labels(metric):
    with pytest.raises(
        ValueError, match="unknown_labels is 'ignore'; choose one of 'refuse', 'wro"
    ):
        metric(*segmentation(), 3, WIDTHS, unknown_labels='ignore')


# --- Order ----------------------------------------------------------------------------------------


def test_sums_do_not_depend_on_order_or_split():
    """Floating-point sums of these values do."""
    values = torch.rand(200, 3, 2, generator=torch.Generator().manual_seed(0)).double() ** 9
    values[values < 1e-4] = torch.nan
    shuffled = values[torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    for mode in ('present', 'gscnn', 'csurka'):
        for ours, theirs in zip(score_boundary_f(values, mode), score_boundary_f(shuffled, mode)):
            assert ours.equal(theirs)


# --- Errors ---------------------------------------------------------------------------------------


def test_wrong_inputs_are_named(metric):
    pred, label = segmentation()
    with pytest.raises(ValueError, match=r'pred is \(9, 10\) and label \(8, 10\); resize'):
        metric(pred, label[:-1], 3, WIDTHS)
    with pytest.raises(ValueError, match=r'pred is \(1, 9, 10\).*of one image, \(H, W\)'):
        metric(pred[None], label, 3, WIDTHS)
    with pytest.raises(ValueError, match='label is .* torch.float32'):
        metric(pred, label.float(), 3, WIDTHS)


@pytest.mark.parametrize('metric', [count_boundary_iou, count_trimap_iou])
@pytest.mark.parametrize('width', [0, 1.5])
def test_widths_are_whole_pixels(metric, width):
    with pytest.raises(ValueError, match='give whole numbers of pixels, 1 or more'):
        metric(*segmentation(), 3, (1, width))


def test_modes_are_named():
    with pytest.raises(ValueError, match="mode is 'davis'; choose one of 'present', 'gscnn'"):
        boundary_f(*segmentation(), 3, (1,), mode='davis')

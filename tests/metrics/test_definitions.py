"""The three metrics against their definitions, worked values and properties."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_boundary import metrics
from mmseg_boundary.geometry.boundary import class_boundaries, count_members, shared_within
from mmseg_boundary.metrics import (
    boundary_f,
    count_boundary_iou,
    count_trimap_iou,
    iou,
)
from tests.support.engines import ENGINES
from tests.support.metrics import METRICS, counted, measured
from tests.support.scenes import segmentation, segmentations, square

WIDTHS = (1, 2, 3, 5)


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


# Worked examples on a 5x5 square: the prediction; pixels of both boundaries, P, R and
# F at 1 px; (intersection, union) of class 1's inner bands of 1 and 2 px; the same of the trimaps
# of 1, 2 and 3 px for both classes.
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
    change, (n_pred, n_true, precision, recall, f), bands, trimaps = WORKED[name]
    label = square()
    pred = change(label)
    predicted, true = class_boundaries(pred, [1]), class_boundaries(label, [1])
    assert (predicted.sum(), true.sum()) == (n_pred, n_true)
    hits, found = shared_within(predicted, true, [1]), shared_within(true, predicted, [1])
    assert count_members(hits, 1).item() / n_pred == pytest.approx(precision)
    assert count_members(found, 1).item() / n_true == pytest.approx(recall)
    assert boundary_f(pred, label, 2, (1, 2))[1].tolist() == pytest.approx([f, 1])
    assert count_boundary_iou(pred, label, 2, (1, 2))[1].tolist() == [list(n) for n in bands]
    assert count_trimap_iou(pred, label, 2, (1, 2, 3)).tolist() == [
        [list(pair) for pair in row] for row in trimaps
    ]


def test_the_image_border_is_a_boundary_for_boundary_iou_alone():
    full = torch.ones(9, 9, dtype=torch.long)
    assert count_boundary_iou(full, full, 2, (1,))[1].tolist() == [[32, 32]]
    assert boundary_f(full, full, 2, (1,)).isnan().all()
    assert count_trimap_iou(full, full, 2, (9,)).sum() == 0


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


# Each: by how much pairs of maps without void break it.


def pred_and_label_may_be_swapped(metric, pred, label):
    return apart(metric(pred, label, 3, WIDTHS), metric(label, pred, 3, WIDTHS))


def flips_and_transposes_commute(metric, pred, label):
    expected = metric(pred, label, 3, WIDTHS)
    turns = (lambda x: x.flip(0), lambda x: x.flip(1), lambda x: x.T)
    return max(apart(metric(turn(pred), turn(label), 3, WIDTHS), expected) for turn in turns)


def padding_with_void_changes_nothing(metric, pred, label):
    """Void around the image is a border like any other for Boundary IoU, and no boundary of the
    trimap's; a boundary, and a trimap that void bounds, is drawn along it."""
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
    """The largest difference; inf where only one side is NaN."""
    if not ours.isnan().equal(theirs.isnan()):
        return math.inf
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
    unknown = label.where(label != 2, 9)
    fewer = metric(pred, unknown, 2, WIDTHS, unknown_labels='wrong')
    same(fewer, metric(pred, label, 3, WIDTHS)[:2])


@pytest.mark.parametrize('unknown', [3, 254, 2**40, -1])
def test_labels_of_no_class_are_refused(metric, unknown):
    """One pixel is enough, and void that was not told is one too."""
    pred, label = segmentation(seed=4)
    label[5, 5] = unknown
    with pytest.raises(ValueError) as caught:
        metric(pred, label, 3, WIDTHS)
    said = str(caught.value)
    assert f'label holds [{unknown}], but the metric knows 3 classes (0 to 2)' in said
    assert f'ignore_index={unknown}' in said and "unknown_labels='wrong'" in said
    told = label.where(label != 255, unknown)
    expected = metric(pred, label.where(label != unknown, 255), 3, WIDTHS)
    same(metric(pred, told, 3, WIDTHS, unknown), expected)


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
    for unknown in (3, 9, 255, -1):
        odd = pred.where(pred != 2, unknown)
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

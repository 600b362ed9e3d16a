"""One call per metric, and the accumulator, beside the pure functions beneath them."""

import math

import numpy as np
import pytest
import torch

from mmseg_boundary.labels import encode_pair
from mmseg_boundary.metrics import (
    Accumulator,
    BoundaryF,
    BoundaryIoU,
    Share,
    TrimapIoU,
    boundary_f,
    boundary_f_score,
    boundary_iou,
    count_boundary_iou,
    count_contour_errors,
    iou,
    score_boundary_f,
    share_near_contour,
    trimap_iou,
)
from mmseg_boundary.metrics.boundary_f import csurka_tolerance
from mmseg_boundary.metrics.boundary_iou import width_at_ratio
from tests.support.metrics import METRICS, class_of, counted
from tests.support.scenes import segmentation

SIZE = (24, 31)
PAIRS = [segmentation(SIZE, seed=seed, wrong=0.1) for seed in range(4)]
STACK = [torch.stack(maps) for maps in zip(*PAIRS, strict=True)]
WIDTHS = (1, 3, 5)
VOID = 7


def same(scores, per_class, mean=None):
    mean = per_class.nanmean(0) if mean is None else mean
    for ours, theirs in zip(scores, (per_class, mean), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-15, equal_nan=True)


# One row of each metric: its defaults.
NAMES = [name for name in METRICS if ',' not in name]


def scored(name, pairs, *options, **more):
    """(K, C) of images, by the pure functions beneath where there are some."""
    records = [counted(name)(*pair, 4, WIDTHS, *options, **more) for pair in pairs]
    if METRICS[name].count is None:
        return class_of(name)(WIDTHS).per_class(records)
    if records[0].is_floating_point():
        return score_boundary_f(torch.stack(records))[0]
    return iou(sum(records))


def fs_of(pairs):
    return score_boundary_f(torch.stack([boundary_f(*pair, 4, WIDTHS) for pair in pairs]))[0]


each_metric = pytest.mark.parametrize('name', NAMES)


# --- One call -------------------------------------------------------------------------------------


@each_metric
def test_one_image_and_a_stack(name):
    """Class 3 is in no image."""
    call = METRICS[name].call
    same(call(*PAIRS[0], 4, WIDTHS), scored(name, PAIRS[:1]))
    scores = call(*STACK, 4, WIDTHS)
    same(scores, scored(name, PAIRS))
    assert scores.per_class.shape == (4, 3) and scores.per_class[3].isnan().all()
    assert scores.mean.isfinite().all() and (scores.per_class[:3] < 1).any()


@each_metric
def test_ignore_index_and_unknown_labels(name):
    call = METRICS[name].call
    odd = [(pred, label.where(label != 2, 9).where(label != 255, VOID)) for pred, label in PAIRS]
    stack = [torch.stack(maps) for maps in zip(*odd, strict=True)]
    with pytest.raises(ValueError, match=r'label holds \[9\], but the metric knows 4 classes'):
        call(*stack, 4, WIDTHS, VOID)
    told = dict(ignore_index=VOID, unknown_labels='wrong')
    same(call(*stack, 4, WIDTHS, **told), scored(name, odd, **told))
    with pytest.raises(ValueError, match="unknown_labels is 'ignore'; choose one of"):
        call(*stack, 4, WIDTHS, unknown_labels='ignore')


def read_only(array):
    array.flags.writeable = False
    return array


@each_metric
@pytest.mark.parametrize(
    'given',
    [
        lambda maps: maps.numpy(),
        lambda maps: read_only(maps.numpy().astype(np.uint8)),
        lambda maps: maps.numpy()[:, ::-1].copy()[:, ::-1],
        lambda maps: np.asfortranarray(maps.numpy().astype(np.uint16)),
        lambda maps: maps.int().transpose(1, 2).contiguous().transpose(1, 2),
        lambda maps: maps.numpy().tolist(),
    ],
    ids=['int64', 'read-only uint8', 'reversed', 'uint16 by columns', 'a strided tensor', 'lists'],
)
def test_numpy_arrays_are_taken(name, given):
    call = METRICS[name].call
    before = [maps.clone() for maps in STACK]
    same(call(*map(given, STACK), 4, WIDTHS), scored(name, PAIRS))
    same(call(given(STACK[0])[0], STACK[1][0].numpy(), 4, WIDTHS), scored(name, PAIRS[:1]))
    assert all(maps.equal(old) for maps, old in zip(STACK, before, strict=True))


@pytest.mark.parametrize('kind', [torch.Tensor.numpy, torch.Tensor.tolist], ids=['NumPy', 'lists'])
def test_the_functions_beneath_take_arrays_too(kind):
    maps = [maps[0] for maps in STACK]
    given = [kind(each) for each in maps]
    names = [name for name in NAMES if METRICS[name].count]
    assert {'BoundaryIoU', 'BoundaryF', 'TrimapIoU'} <= {*names}
    for name in names:
        expected, found = (counted(name)(*each, 4, WIDTHS) for each in (maps, given))
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
        scores = score_boundary_f if found.is_floating_point() else iou
        of_tensor, of_array = (scores(each[None]) for each in (found, found.numpy()))
        torch.testing.assert_close(of_array, of_tensor, rtol=0, atol=0, equal_nan=True)
    errors = count_contour_errors(*maps)
    assert errors.equal(count_contour_errors(*given)) and errors[1] > 0
    assert share_near_contour(errors.numpy()) == share_near_contour(errors)


@each_metric
@pytest.mark.parametrize(
    'given',
    [3, np.int64(3), np.array(3), np.array([3]), [np.int64(3)], torch.tensor([3]), torch.tensor(3)],
    ids=repr,
)
def test_a_single_width_and_an_array_of_widths(name, given):
    call, metric = METRICS[name].call, class_of(name)
    expected = call(*STACK, 4, (3,))
    for scores, theirs in zip(call(*STACK, 4, given), expected, strict=True):
        torch.testing.assert_close(scores, theirs, rtol=0, atol=0, equal_nan=True)
    assert metric(given).columns == ['3px'] and type(metric(given).widths[0]) is int
    if METRICS[name].count:
        records = [counted(name)(*PAIRS[0], 4, widths) for widths in (given, (3,))]
        torch.testing.assert_close(*records, rtol=0, atol=0, equal_nan=True)


@each_metric
@pytest.mark.parametrize('given', ['3', '', [[1, 2]], np.array([[1, 2]]), None, [None]], ids=repr)
def test_what_is_no_width(name, given):
    with pytest.raises(ValueError, match=r'(widths is|tolerances are) \('):
        class_of(name)(given)


def test_a_width_relative_to_the_diagonal_comes_first():
    own = [count_boundary_iou(*pair, 4, (width_at_ratio(*SIZE, 0.06), *WIDTHS)) for pair in PAIRS]
    assert width_at_ratio(*SIZE, 0.06) == 2
    same(boundary_iou(*STACK, 4, WIDTHS, dilation_ratio=0.06), iou(sum(own)))
    tolerances = (csurka_tolerance(*SIZE, 0.06), *WIDTHS)
    assert 2 < tolerances[0] < 3
    values = torch.stack([boundary_f(*pair, 4, tolerances) for pair in PAIRS])
    same(boundary_f_score(*STACK, 4, WIDTHS, tolerance_ratio=0.06), score_boundary_f(values)[0])


SIZES = ((24, 31), (300, 400), (16, 40))


@pytest.mark.parametrize('share', [0.008, 0.00375, 0.02, 0.07])
@pytest.mark.parametrize('name', NAMES)
def test_a_share_is_a_width_of_each_image(name, share):
    """As the sources: DAVIS and GSCNN round up, as NumPy does it; Boundary IoU's code rounds."""
    metric = class_of(name)((7, Share(share)))
    for size in SIZES:
        pair = segmentation(size, seed=3, wrong=0.1)
        rounded = max(1, round(share * math.sqrt(size[0] ** 2 + size[1] ** 2)))
        up = int(np.ceil(share * np.linalg.norm(size)))
        width = up if name == 'BoundaryF' else rounded
        measured = metric.measure(encode_pair(*pair, 4))
        same([measured, measured], *[class_of(name)((7, width)).measure(encode_pair(*pair, 4))] * 2)


def test_floats_are_shares_where_pixels_are_whole():
    for call in (boundary_iou, trimap_iou):
        scores = call(*STACK, 4, (0.06, 1))
        same(scores, *call(*STACK, 4, (2, 1)))
    one, two = (boundary_f_score(*STACK, 4, tolerances=(each,)) for each in (0.5, Share(0.05)))
    same(one, *boundary_f_score(*STACK, 4, tolerances=(0,)))
    same(two, *boundary_f_score(*STACK, 4, tolerances=(2,)))


def test_csurkas_share_is_not_reached():
    """As `tolerance_ratio`: a distance of just that share of the diagonal is outside."""
    label = torch.zeros(30, 40, dtype=torch.long)
    label[:, :20] = 1
    pred = label.roll(1, 1)  # one column off
    pred[:, 0] = 1
    share = Share(1 / 50)  # of a diagonal of 50 px
    for mode, scored in (('present', 1), ('csurka', 0)):
        assert boundary_f_score(pred, label, 2, (share,), mode=mode).mean.item() == scored
    ours = boundary_f_score(*STACK, 4, (Share(0.06),), mode='csurka')
    theirs = boundary_f_score(*STACK, 4, (1,), mode='csurka', tolerance_ratio=0.06)
    same([each[..., 0] for each in ours], *(each[..., 0] for each in theirs))
    for mode in ('present', 'csurka'):
        values = boundary_f(*PAIRS[0], 4, (Share(0.06), 2), mode=mode)
        expected = BoundaryF((Share(0.06), 2), mode).measure(encode_pair(*PAIRS[0], 4))
        same([values, values], expected, expected)


@pytest.mark.parametrize('mode', ['present', 'gscnn', 'csurka'])
def test_modes_of_the_boundary_f(mode):
    values = torch.stack([boundary_f(*pair, 4, (1, 1.5), mode=mode) for pair in PAIRS])
    same(boundary_f_score(*STACK, 4, (1, 1.5), mode=mode), *score_boundary_f(values, mode))


def test_void_is_boundary():
    scores = trimap_iou(*STACK, 4, WIDTHS, void_is_boundary=True)
    same(scores, scored('TrimapIoU', PAIRS, void_is_boundary=True))
    assert not scores.per_class.equal(trimap_iou(*STACK, 4, WIDTHS).per_class)


@each_metric
def test_widths_that_are_given_by_nobody_are_boundary_metrics_own(name):
    call, metric = METRICS[name].call, class_of(name)
    widths = (1, 2, 3, 5, 9, 15)
    same(call(*STACK, 4), *call(*STACK, 4, widths))
    assert metric().columns == [f'{width}px' for width in widths]
    same(call(*STACK, 4, 3), *call(*STACK, 4, (3,)))


# --- The accumulator ------------------------------------------------------------------------------


def accumulator(**options):
    return Accumulator([class_of(name)(WIDTHS) for name in NAMES], 4, **options)


def test_order_and_split_do_not_show():
    """To the last bit, and images may differ in size."""
    pairs = [*PAIRS, segmentation((12, 40), seed=9)]
    one_by_one, stacked = accumulator(), accumulator()
    for pair in pairs[::-1]:
        one_by_one.update(*pair)
    stacked.update(*STACK)
    stacked.update(*pairs[-1])
    for name in NAMES:
        scores = one_by_one.compute()[name]
        same(scores, scored(name, pairs))
        for ours, theirs in zip(scores, stacked.compute()[name], strict=True):
            assert ours.nan_to_num(-1).equal(theirs.nan_to_num(-1))


def test_compute_goes_on_and_reset_starts_afresh():
    scores = accumulator()
    for count, pair in enumerate(PAIRS, 1):
        scores.update(*pair)
        same(scores.compute()['BoundaryF'], fs_of(PAIRS[:count]))
    scores.reset()
    with pytest.raises(ValueError, match='No image has been measured; give one or more'):
        scores.compute()
    scores.update(*PAIRS[2])
    same(scores.compute()['TrimapIoU'], scored('TrimapIoU', PAIRS[2:3]))


def test_records_of_several_processes_make_one_list():
    parts = [accumulator() for _ in range(2)]
    parts[0].update(*(maps[:3] for maps in STACK))
    parts[1].update(*(maps[3:] for maps in STACK))
    for name, records in parts[1].records.items():
        parts[0].records[name] += records
    same(parts[0].compute()['BoundaryIoU'], scored('BoundaryIoU', PAIRS))


def test_a_stack_that_is_refused_adds_nothing():
    scores = accumulator()
    scores.update(*STACK)
    before = scores.compute()
    odd = STACK[1].clone()
    odd[-1, 0, 0] = 99
    with pytest.raises(ValueError, match=r'label holds \[99\]'):
        scores.update(STACK[0], odd)
    for name, (per_class, mean) in scores.compute().items():
        same(before[name], per_class, mean)
    assert len(scores.records['BoundaryF']) == 4


def test_an_empty_stack_is_no_image():
    scores = accumulator()
    scores.update(*(maps[:0] for maps in STACK))
    assert scores.records == {name: [] for name in NAMES}


def test_an_image_is_decoded_once(monkeypatch):
    seen = []

    def counted(*given):
        seen.append(given)
        return encode_pair(*given)

    monkeypatch.setitem(Accumulator.update.__globals__, 'encode_pair', counted)
    accumulator().update(*STACK)
    assert len(seen) == len(PAIRS)


# --- Columns and captions -------------------------------------------------------------------------


def test_columns():
    assert BoundaryIoU((1, 4)).columns == ['1px', '4px']
    assert BoundaryIoU((1, 4), 0.02).columns == ['', '1px', '4px']
    assert BoundaryIoU((1, 4), 0.02).headings == ['0.02 of the diagonal', '1 px', '4 px']
    assert BoundaryF((1.5,), 'csurka', 0.0075).headings == ['0.0075 of the diagonal', '1.5 px']
    assert TrimapIoU((2, 1, 2)).headings == ['2 px', '1 px']
    mixed = BoundaryIoU((0.02, 3, 0.02), 0.02)
    assert mixed.columns == ['', '0.02d', '3px']
    assert mixed.headings == ['0.02 of the diagonal', '0.02 d', '3 px']


@each_metric
def test_captions_say_the_widths(name):
    assert ' in percent, n = 1, 4 px (' in class_of(name)((1, 4)).caption
    caption = class_of(name)((1, Share(0.5), 4)).caption
    assert " in percent, n = 1, 4 px and 0.5 d, the image's diagonal (" in caption
    caption = class_of(name)((Share(0.25), Share(0.5))).caption
    assert " in percent, n = 0.25, 0.5 d, the image's diagonal (" in caption


# --- Errors ---------------------------------------------------------------------------------------


@each_metric
def test_shapes_are_named(name):
    call = METRICS[name].call
    pred, label = STACK
    for given, words in (
        ((pred, label[:2]), r'pred is \(4, 24, 31\) and label \(2, 24, 31\); give class indices'),
        ((pred[0], label), r'pred is \(24, 31\) and label \(4, 24, 31\)'),
        ((pred[0, 0], label[0, 0]), r'both \(H, W\) or both a stack \(N, H, W\)'),
        ((pred[None], label[None]), 'Of logits take the argmax'),
        ((pred.float(), label), 'pred is .* torch.float32; give the class indices'),
        ((pred, label == 1), 'label is .* torch.bool; give the class indices'),
    ):
        with pytest.raises(ValueError, match=words):
            call(*given, 4, WIDTHS)


@pytest.mark.parametrize(
    'make, words',
    [
        (lambda: BoundaryIoU((0,)), r'widths is \(0,\); give one or more whole numbers'),
        (lambda: TrimapIoU(()), r'widths is \(\); give one or more whole numbers'),
        (lambda: BoundaryIoU((1.0,)), r'widths is \(1.0,\); .* floats between 0 and 1'),
        (lambda: BoundaryIoU((1, True)), r'widths is \(1, True\); .* floats between 0 and 1'),
        (lambda: TrimapIoU(0.0), r'widths is \(0.0,\); .* floats between 0 and 1'),
        (lambda: TrimapIoU((1.5,)), r'widths is \(1.5,\); .* floats between 0 and 1'),
        (lambda: TrimapIoU((float('nan'),)), r'widths is \(nan,\); .* floats between 0 and 1'),
        (lambda: TrimapIoU('3'), r"widths is \('3',\); .* floats between 0 and 1"),
        (lambda: BoundaryIoU((1,), 2), 'dilation_ratio is 2; give a share of the diagonal'),
        (lambda: BoundaryF((1,), 'csurka', 0), 'tolerance_ratio is 0; give a share of the diag'),
        (lambda: BoundaryF(()), r'tolerances are \(\); give one or more numbers of pixels'),
        (lambda: BoundaryF((-1, 2)), r'tolerances are \(-1, 2\); give one or more'),
        (lambda: BoundaryF((float('nan'),)), r'tolerances are \(nan,\); give one or more'),
        (lambda: BoundaryF((1,), 'davis'), "mode is 'davis'; choose one of 'present'"),
        (lambda: accumulator(unknown_labels='ignore'), "unknown_labels is 'ignore'; choose one"),
        (
            lambda: Accumulator([BoundaryF(), TrimapIoU(), BoundaryF((1,))], 4),
            'The metrics are BoundaryF, TrimapIoU, BoundaryF; give each once',
        ),
    ],
)
def test_wrong_options_are_named_at_once(make, words):
    with pytest.raises(ValueError, match=words):
        make()

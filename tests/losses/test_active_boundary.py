"""The active boundary loss against numbers worked by hand, and what the table cannot say of it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_boundary.geometry import distance
from mmseg_boundary.geometry.distance import distance_to_boundary
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import ActiveBoundaryLoss, active_boundary_loss
from mmseg_boundary.losses.active_boundary import (
    boundary_threshold,
    log_probabilities,
    predicted_boundary,
    prediction_change,
)
from tests.support import naive
from tests.support.scenes import scene, scenes
from tests.support.worked_example import BINARY_LABELS, BINARY_LOGITS, LABELS, LOGITS

VOID = 255
CASES = {'three logits': (LOGITS, LABELS), 'one logit': (BINARY_LOGITS, BINARY_LABELS)}


def change_of(logits, labels):
    target = encode(labels, logits.shape[1])
    log_probs = log_probabilities(logits, logits.shape[1] == 1)
    return prediction_change(log_probs, target.valid.squeeze(1))


def loss_of(logits, labels, **options):
    one_vs_rest = logits.shape[1] == 1
    target = encode(labels, logits.shape[1])
    return active_boundary_loss(logits, target, **options, one_vs_rest=one_vs_rest)


def gradient_of(logits, labels, **options):
    leaf = logits.clone().requires_grad_()
    loss_of(leaf, labels, **options).backward()
    return leaf.grad


@pytest.mark.parametrize(
    'case, m, core, near, expected',
    [
        ('three logits', 66, [(1, 1), (1, 2), (1, 4), (2, 1), (2, 4)], 23, 0.0941889),
        ('one logit', 65, [(0, 1), (2, 3), (2, 4), (3, 3)], 16, 0.0873099),
    ],
)
def test_the_worked_example(case, m, core, near, expected):
    logits, labels = CASES[case]
    change, valid = change_of(logits, labels), labels != VOID
    threshold = boundary_threshold(change, 0.25)
    assert threshold.tolist() == pytest.approx([1e-5 * 1.2**m])
    above = change > threshold.view(-1, 1, 1)
    assert above.nonzero()[:, 1:].tolist() == [list(pixel) for pixel in core]
    assert (predicted_boundary(change, 0.25) & valid).sum() == near
    value = loss_of(logits, labels, max_share=0.25).item()
    assert value == pytest.approx(expected, abs=5e-8)
    by_loops = naive.active_boundary_loss(logits, labels, max_share=0.25)
    assert value == pytest.approx(by_loops, rel=1e-12)
    assert ActiveBoundaryLoss(max_share=0.25)(logits, labels).item() == pytest.approx(value)


def test_the_terms_of_the_worked_example():
    """(row, column): t, M, ce, of the oracle's terms: of three neighbors at 0 the first is t."""
    log_probs = log_probabilities(LOGITS, False)[0].permute(1, 2, 0).tolist()
    distances = distance_to_boundary(encode(LABELS, 3).regions)[0]
    for (row, col), direction, apart, expected in [
        ((0, 0), 3, 2, 1.958253),
        ((1, 1), 0, 1, 3.358629),
        ((0, 2), 0, 0, 2.519006),
        ((2, 4), 2, 1, 3.188603),
    ]:
        assert distances[row, col] == apart
        scores = {}
        for j, (down, right) in enumerate(naive.AROUND):
            v, u = min(max(row + down, 0), 3), min(max(col + right, 0), 5)
            if LABELS[0, v, u] != VOID:
                scores[j] = naive.divergence([log_probs[v][u]], [log_probs[row][col]])
        assert len(scores) == (7 if (row, col) == (2, 4) else 8)
        log_sum = math.log(sum(map(math.exp, scores.values())))
        rest = sum(log_sum - s for j, s in scores.items() if j != direction)
        cost = 0.8 * (log_sum - scores[direction]) + 0.2 / (len(scores) - 1) * rest
        assert cost == pytest.approx(expected, abs=1e-6)


def test_the_published_distances_give_another_value(monkeypatch):
    """The authors' code takes M - 1, so that pixels beside the boundary weigh nothing."""
    ours = naive.distance_to
    monkeypatch.setattr(naive, 'distance_to', lambda *given: max(ours(*given) - 1, 0))
    published = naive.active_boundary_loss(LOGITS, LABELS, max_share=0.25)
    assert published == pytest.approx(0.0206356, abs=5e-8)


@pytest.mark.parametrize('case', CASES)
def test_the_weight_is_1_from_the_largest_distance_on(case):
    logits, labels = CASES[case]
    values = [loss_of(logits, labels, max_share=0.25, max_distance=d).item() for d in (1, 1.5, 20)]
    assert values[0] > values[1] > values[2]
    for value, d in zip(values, (1, 1.5, 20)):
        by_loops = naive.active_boundary_loss(logits, labels, max_share=0.25, max_distance=d)
        assert value == pytest.approx(by_loops, rel=1e-12)


def test_no_threshold_of_the_grid_may_leave_a_pixel():
    """Several pixels change by nearly as much: with the next lower threshold they are too many."""
    change = change_of(LOGITS, LABELS)
    threshold = boundary_threshold(change, 0.1)
    assert threshold.tolist() == pytest.approx([1e-5 * 1.2**71])
    assert not predicted_boundary(change, 0.1).any()
    logits = LOGITS.clone().requires_grad_()
    value = loss_of(logits, LABELS, max_share=0.1)
    value.backward()
    assert value.item() == 0 and logits.grad.eq(0).all()


@given(st.integers(1, 40), st.sampled_from([0.01, 0.1, 0.25, 0.5, 1]), st.integers(0, 1000))
def test_the_threshold_is_the_lowest_that_few_enough_exceed(width, share, seed):
    generator = torch.Generator().manual_seed(seed)
    change = 10 ** (6 * torch.rand(2, 3, width, generator=generator, dtype=torch.float64) - 4)
    change[:, -1, -1] = 0  # without neighbors
    for image, threshold in zip(change, boundary_threshold(change, share)):
        m = 0
        while (image > 1e-5 * 1.2**m).sum() > share * image.numel():
            m += 1
        assert threshold.item() == pytest.approx(1e-5 * 1.2**m)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_change_on_the_threshold_does_not_exceed_it(dtype):
    thresholds = 1e-5 * 1.2 ** torch.arange(40, dtype=torch.float64)
    change = torch.zeros(1, 5, 8, dtype=dtype)
    change[0, 0, 0] = thresholds[20].to(dtype)
    change[0, 0, 1] = 1e30
    assert boundary_threshold(change, 1 / 40).item() == pytest.approx(thresholds[20].item())
    change[0, 0, 0] *= 1.001
    assert boundary_threshold(change, 1 / 40).item() == pytest.approx(thresholds[21].item())


def test_the_budget_is_of_an_image():
    """An image has the same boundary whatever is beside it in the batch; the mean is over all."""
    flat = torch.zeros_like(LOGITS)
    logits, labels = torch.cat([LOGITS, flat]), LABELS.expand(2, -1, -1)
    both = boundary_threshold(change_of(logits, labels), 0.25)
    assert both[0] == boundary_threshold(change_of(LOGITS, LABELS), 0.25)
    assert both[1].item() == pytest.approx(1e-5)
    alone = loss_of(LOGITS, LABELS, max_share=0.25)
    assert loss_of(logits, labels, max_share=0.25).item() == pytest.approx(alone.item())


def test_the_first_of_several_nearest_neighbors_counts():
    """Below, above, left, right, then the diagonals: of the pixels at the same distance."""
    labels = torch.zeros(1, 7, 7, dtype=torch.long)
    labels[:, :, :2] = 1  # the boundary is column 1, three pixels of it beside column 2
    distances = distance_to_boundary(encode(labels, 2).regions)
    assert distances[0, 3].tolist() == [1, 0, 1, 2, 3, 4, 5]
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 7, 7, generator=generator, dtype=torch.float64)
    value = loss_of(logits, labels, max_share=1, label_smoothing=0)
    by_loops = naive.active_boundary_loss(logits, labels, max_share=1, label_smoothing=0)
    assert value.item() == pytest.approx(by_loops, rel=1e-12)


@pytest.mark.parametrize('error', [1e-3, -1e-3])
def test_equally_far_pixels_tie_whatever_the_engine(error, monkeypatch):
    """Engines differ by up to 1e-3 px, here by turns."""
    one = scene(3, (1, 12, 14), void_share=0.1, seed=2)
    value = loss_of(one.logits, one.labels, max_share=1)
    exact = distance.distance_to

    def inexact(mask):
        found = exact(mask)
        signs = torch.arange(found.numel()).view(found.shape) % 2 * 2 - 1
        return (found + error * signs).clamp(min=0)

    monkeypatch.setattr(distance, 'distance_to', inexact)
    assert loss_of(one.logits, one.labels, max_share=1).equal(value)


def test_images_without_a_true_boundary_add_nothing():
    logits = torch.cat([LOGITS, LOGITS.flip(-1)]).requires_grad_()
    labels = torch.cat([LABELS, torch.where(LABELS == VOID, VOID, 1)])
    value = loss_of(logits, labels, max_share=0.25)
    value.backward()
    assert value.item() == pytest.approx(0.0941889, abs=5e-8)
    assert logits.grad[1].eq(0).all() and logits.grad[0].ne(0).any()


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('detach', [True, False])
def test_the_gradient_enters_where_it_says(case, detach):
    """Central differences of the loops, in which the neighbors and the pixels that are kept are
    held or, without `detach`, move too."""
    logits, labels = CASES[case]
    grad = gradient_of(logits, labels, max_share=0.25, detach=detach)
    step = 1e-5
    for index in torch.ones_like(logits).nonzero().tolist()[::5]:
        values = []
        for sign in (1, -1):
            moved = logits.clone()
            moved[tuple(index)] += sign * step
            held = logits if detach else None
            values.append(naive.active_boundary_loss(moved, labels, max_share=0.25, held=held))
        expected = (values[0] - values[1]) / (2 * step)
        assert grad[tuple(index)].item() == pytest.approx(expected, abs=1e-8)


@given(scenes(num_logits=(2, 3)))
def test_several_sigmoids_agree_with_the_definition(scene):
    loss = ActiveBoundaryLoss(max_share=0.5, use_sigmoid=True)
    by_loops = naive.active_boundary_loss(
        scene.logits, scene.labels, scene.void, max_share=0.5, use_sigmoid=True
    )
    assert loss(scene.logits, scene.labels).item() == pytest.approx(by_loops, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize('use_sigmoid', [False, True])
@pytest.mark.parametrize('detach', [False, True])
def test_nan_at_void_stays_there(use_sigmoid, detach):
    one = scene(3, (2, 9, 11), void_share=0.3, seed=1)
    one.labels[:, -1, -1] = VOID  # the place of slots that are not filled
    loss = ActiveBoundaryLoss(max_share=1, detach=detach, use_sigmoid=use_sigmoid)
    found = []
    for at_void in (0.0, math.nan, math.inf):
        void = (one.labels == VOID).unsqueeze(1)
        logits = one.logits.masked_fill(void, at_void).requires_grad_()
        value = loss(logits, one.labels)
        value.backward()
        found.append((value, logits.grad))
    for value, grad in found[1:]:
        assert value.equal(found[0][0]) and grad.equal(found[0][1]) and value > 0


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_nan_of_a_pixel_without_neighbors_gives_nan(use_sigmoid):
    labels = torch.full((1, 6, 6), VOID)
    labels[0, 3, 3] = 1
    logits = torch.zeros(1, 3, 6, 6)
    logits[0, 2, 3, 3] = math.nan
    loss = ActiveBoundaryLoss(max_share=1, use_sigmoid=use_sigmoid)
    assert loss(logits, labels).isnan()
    # more than may exceed the threshold, which is then the last
    loss = ActiveBoundaryLoss(max_share=0.1, use_sigmoid=use_sigmoid)
    assert loss(logits.fill_(math.nan), labels.fill_(1)).isnan()


def test_one_neighbor_is_no_choice():
    """Of two valid pixels each has the other alone, which takes all of the softmax."""
    labels = torch.full((1, 5, 5), VOID)
    labels[0, 2, 2], labels[0, 2, 3] = 0, 1
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 5, 5, generator=generator, dtype=torch.float64)
    assert loss_of(logits, labels, max_share=1).item() == 0
    assert gradient_of(logits, labels, max_share=1).eq(0).all()


def test_transposing_commutes_where_nothing_ties():
    """One row of pixels: below and right of x never compete."""
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 2]).view(1, 1, 10)
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 3, 1, 10, generator=generator, dtype=torch.float64)
    value = loss_of(logits, labels, max_share=0.5, label_smoothing=0.875)
    other = loss_of(
        logits.mT.contiguous(), labels.mT.contiguous(), max_share=0.5, label_smoothing=0.875
    )
    assert value > 0 and other.item() == pytest.approx(value.item(), rel=1e-12)


def test_shapes_do_not_depend_on_the_values(monkeypatch):
    """As many places for any prediction, so that nothing has to be read back to size them."""
    seen = []
    gather = torch.Tensor.gather

    def watched(values, *arguments):
        seen.append(tuple(arguments[1].shape))
        return gather(values, *arguments)

    monkeypatch.setattr(torch.Tensor, 'gather', watched)
    shapes = []
    for kind in ('random', 'uniform', 'saturated', 'labels'):
        one = scene(3, (2, 12, 14), kind, seed=1)
        seen.clear()
        gradient_of(one.logits, one.labels, max_share=0.02)
        shapes.append(list(seen))
    assert shapes[0] and all(each == shapes[0] for each in shapes)
    assert max(shape[-1] for shape in shapes[0]) == 9 * 9 * math.floor(0.02 * 12 * 14)


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(max_share=0), 'max_share is 0; give a share of the pixels, above 0 and at most 1'),
        (dict(max_share=1.5), 'max_share is 1.5; give a share'),
        (dict(max_share=math.nan), 'max_share is nan; give a share'),
        (dict(max_distance=0), 'max_distance is 0; give more than 0 pixels'),
        (dict(label_smoothing=1), 'label_smoothing is 1; give 0 or more, and less than 1'),
        (dict(label_smoothing=-0.1), 'label_smoothing is -0.1; give 0 or more'),
    ],
)
def test_arguments_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        ActiveBoundaryLoss(**options)
    with pytest.raises(ValueError, match=words):
        loss_of(LOGITS, LABELS, **options)

"""The penalized logits against the numbers worked by hand, the double loop, and cross-entropies of
the logits as they are."""

import itertools
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import neighbour_penalised
from tests.support import naive
from tests.support.scenes import Scene, laid_out, scene, scenes, wild_scenes
from tests.support.skips import needs_gpu

LABEL = torch.tensor(
    [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 2, 2, 1, 1],
        [0, 0, 2, 2, 1, 255],
    ]
)
ARGMAX = torch.tensor(
    [
        [0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 2, 2, 2, 1],
        [0, 0, 2, 2, 1, 1],
    ]
)
WINDOWS = st.sampled_from((3, 5, 9))


def worked_logits():
    row, col = torch.meshgrid(torch.arange(4), torch.arange(6), indexing='ij')
    maps = [((7 * k + 3 * row + 5 * col) % 11) / 4 + 2.1 * (ARGMAX == k) for k in range(3)]
    return torch.stack(maps).double()[None]


def of(one, window=3):
    return neighbour_penalised(one.logits, one.target, window)


@st.composite
def tied_scenes(draw, number_of=scenes):
    """Scenes whose logits take few values, so that most windows have several that are worst."""
    one = draw(number_of())
    levels = draw(st.sampled_from((0.5, 1, 4, 1000)))
    return Scene((one.logits * levels).round() / levels, one.labels, one.kind, one.void)


# --- Values and gradients -------------------------------------------------------------------------


def test_values_by_hand():
    logits, labels = worked_logits(), LABEL[None]
    assert logits.argmax(1)[0].equal(ARGMAX)
    penalised = neighbour_penalised(logits, encode(labels, 3))
    expected = [
        [2.5, 4.35, 4.35, 2.1, 2.1, 2.6],
        [2.5, 4.35, 4.35, 0, 0, 0],
        [2.5, 4.35, 4.35, 4.35, 0, 0],
        [2.5, 2.5, 2.5, 2.25, 0, 4.1],
    ]
    assert penalised[0, 1].flatten().tolist() == pytest.approx(sum(expected, []))
    costs = [F.cross_entropy(each, labels, ignore_index=255) for each in (logits, penalised)]
    assert torch.stack(costs).tolist() == pytest.approx([0.793266, 2.694360], abs=1e-6)


@given(tied_scenes(), WINDOWS)
def test_agrees_with_the_definition(one, window):
    expected = naive.neighbour_penalised(one.logits, one.labels, one.void, window)
    assert of(one, window).tolist() == expected


@given(tied_scenes(), WINDOWS)
def test_the_gradient_goes_to_the_chosen_pixel_of_several_the_first(one, window):
    leaf = one.logits.clone().requires_grad_()
    grad_output = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(0)).double()
    neighbour_penalised(leaf, one.target, window).backward(grad_output)
    expected = torch.zeros_like(leaf)
    maps, labels = one.logits.tolist(), one.labels.tolist()
    for n, k in itertools.product(range(len(maps)), range(leaf.shape[1])):
        for row, col in naive.pixels_of(labels[n]):
            given_to = naive.worst_neighbour(maps[n], labels[n], one.void, window, k, row, col)
            expected[n, k][given_to] += grad_output[n, k, row, col]
    torch.testing.assert_close(leaf.grad, expected, rtol=1e-12, atol=1e-12)


def test_gradcheck():
    """Away from ties: all logits differ by more than the step."""
    one = scene(3, (1, 5, 6), seed=4)
    order = torch.randperm(one.logits.numel(), generator=torch.Generator().manual_seed(1))
    leaf = (order.double() / 10).view_as(one.logits).requires_grad_()
    for window in (3, 5):
        given = (lambda x, window=window: neighbour_penalised(x, one.target, window)), leaf
        assert torch.autograd.gradcheck(*given) and torch.autograd.gradgradcheck(*given)


# --- What holds for all logits --------------------------------------------------------------------


def costs_of(logits, one):
    """The cross-entropy of every valid pixel (and, of sigmoids, logit)."""
    target = one.target
    sigmoids = F.binary_cross_entropy_with_logits(logits, target.masks.to(logits), reduction='none')
    costs = [sigmoids.masked_select(target.valid)]
    if logits.shape[1] > 1:
        labels = one.labels.masked_fill(one.labels == one.void, -100)
        costs.append(F.cross_entropy(logits, labels, reduction='none')[target.valid[:, 0]])
    return torch.cat(costs)


def costs_no_less(one, window):
    one = Scene(one.logits.double(), one.labels, one.kind, one.void)
    before, after = costs_of(one.logits, one), costs_of(of(one, window), one)
    assert (after >= before - 1e-12 * before.abs()).all()


@given(wild_scenes(), WINDOWS)
def test_no_cross_entropy_falls_at_any_pixel(one, window):
    costs_no_less(one, window)


@pytest.mark.slow
def test_no_cross_entropy_falls_in_ten_thousand_random_cases():
    tried = []

    @settings.get_profile('thorough')
    @given(wild_scenes(), WINDOWS)
    def holds(one, window):
        costs_no_less(one, window)
        tried.append(window)

    holds()
    assert len(tried) >= 10_000


@given(wild_scenes(), WINDOWS)
def test_void_neither_sends_nor_receives(one, window):
    void = one.labels.unsqueeze(1) == one.void
    for other in (torch.nan, torch.inf, -torch.inf, 1e4):
        noisy = Scene(one.logits.masked_fill(void, other), one.labels, one.kind, one.void)
        found = of(noisy, window)
        assert found.masked_select(~void).equal(of(one, window).masked_select(~void))
        assert (
            found.masked_fill(~void, 0)
            .nan_to_num(7)
            .equal(noisy.logits.masked_fill(~void, 0).nan_to_num(7))
        )


@given(wild_scenes(), WINDOWS)
def test_a_value_is_one_of_the_logits_whatever_their_type_and_layout(one, window):
    found = of(one, window)
    assert found.dtype == one.logits.dtype and found.shape == one.logits.shape
    exact = of(Scene(one.logits.double(), one.labels, one.kind, one.void), window)
    assert found.double().equal(exact)
    for layout in ('contiguous', 'channels last', 'transposed'):
        again = Scene(laid_out(one.logits, layout), one.labels, one.kind, one.void)
        assert of(again, window).equal(found)


@given(tied_scenes(), WINDOWS)
def test_symmetries(one, window):
    """Flips, transposes, renamed classes, each image alone, and a border of void."""
    found = of(one, window)

    def same(logits, labels, expected, back=lambda x: x):
        target = encode(labels, logits.shape[1], one.void)
        assert back(neighbour_penalised(logits, target, window)).equal(expected)

    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
        same(turn(one.logits), turn(one.labels), turn(found))
    for n in range(len(found)):
        same(one.logits[n : n + 1], one.labels[n : n + 1], found[n : n + 1])
    width = (5, 5, 5, 5)
    padded = F.pad(one.labels, width, value=one.void)
    same(F.pad(one.logits, width, value=9.0), padded, found, lambda x: x[..., 5:-5, 5:-5])
    classes = one.logits.shape[1]
    if classes > 1:
        order = torch.arange(classes).roll(1)
        renamed = (one.labels + 1) % classes
        renamed = renamed.where(one.labels != one.void, one.void)
        same(one.logits[:, order], renamed, found[:, order])


@given(scenes(num_logits=(1,)), WINDOWS)
def test_one_logit_is_the_second_of_two(one, window):
    both = torch.cat([torch.randn_like(one.logits), one.logits], 1)
    target = encode(one.labels, 2, one.void)
    assert of(one, window).equal(neighbour_penalised(both, target, window)[:, 1:])


def test_a_window_may_be_larger_than_the_image():
    """Then it is the image: the worst logit of each class, and of the others."""
    one = scene(3, (2, 5, 7), seed=3)
    found = of(one, 31)
    for n in range(2):
        for k in range(3):
            mask, valid = one.target.masks[n, k], one.target.valid[n, 0]
            logits = one.logits[n, k]
            assert (found[n, k][mask] == logits[mask].min()).all()
            assert (found[n, k][valid & ~mask] == logits[valid & ~mask].max()).all()


def test_a_thin_part_costs_the_worst_of_its_pixels():
    """One gap in a line a pixel wide: with the window of 3 its neighbors pay too."""
    labels = torch.zeros(1, 5, 9, dtype=torch.long)
    labels[:, 2] = 1
    logits = torch.where(labels == 1, 3.0, -3.0)[:, None]
    logits[0, 0, 2, 4] = -2
    found = neighbour_penalised(logits, encode(labels, 1))
    assert found[0, 0, 2].tolist() == [3, 3, 3, -2, -2, -2, 3, 3, 3]
    assert found[0, 0, 1].eq(-3).all()


@pytest.mark.parametrize('size', [2e4, 1e30])
def test_logits_beyond_the_published_constant(size):
    """Of 9999: theirs picks an excluded pixel there."""
    one = scene(3, (1, 6, 7), seed=5)
    large = Scene(one.logits * size, one.labels, one.kind)
    assert of(large).tolist() == naive.neighbour_penalised(large.logits, large.labels)


def test_nan_spreads_over_its_window_alone():
    logits = torch.zeros(1, 2, 7, 7)
    logits[0, 1, 3, 3] = torch.nan
    found = neighbour_penalised(logits, encode(torch.zeros(1, 7, 7, dtype=torch.long), 2))
    expected = torch.zeros(2, 7, 7, dtype=torch.bool)
    expected[1, 2:5, 2:5] = True
    assert found[0].isnan().equal(expected)


def test_nothing_valid_and_an_empty_batch():
    one = scene(3, void_share=1.0)
    leaf = one.logits.requires_grad_()
    neighbour_penalised(leaf, one.target).sum().backward()
    assert of(one).equal(leaf) and leaf.grad.eq(1).all()
    empty = torch.zeros(0, 3, 4, 5, requires_grad=True)
    found = neighbour_penalised(empty, encode(torch.zeros(0, 4, 5, dtype=torch.long), 3))
    found.sum().backward()
    assert found.shape == empty.grad.shape == empty.shape


def test_inputs_are_untouched():
    one = scene(3, seed=1)
    before = one.logits.clone(), one.labels.clone()
    of(one)
    assert one.logits.equal(before[0]) and one.labels.equal(before[1])


@needs_gpu
@given(tied_scenes(), WINDOWS)
def test_cuda_agrees_with_the_cpu_and_waits_for_nothing(one, window):
    target = encode(one.labels.cuda(), one.logits.shape[1], one.void)
    leaf, on_cpu = one.logits.cuda().requires_grad_(), one.logits.clone().requires_grad_()
    torch.cuda.set_sync_debug_mode('error')
    try:
        found = neighbour_penalised(leaf, target, window)
        found.backward(torch.ones_like(found))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    expected = neighbour_penalised(on_cpu, one.target, window)
    expected.backward(torch.ones_like(expected))
    assert found.cpu().equal(expected) and leaf.grad.cpu().equal(on_cpu.grad)


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize('window', [1, 0, -3, 4, 3.0, '3', True, None])
def test_another_window_is_refused(window):
    words = f'window is {window!r}; give an odd number of pixels, 3 or more.'
    with pytest.raises(ValueError, match=re.escape(words)):
        neighbour_penalised(torch.zeros(1, 2, 3, 3), scene(2, (1, 3, 3)).target, window)


@pytest.mark.parametrize('shape', [(2, 1, 6, 5), (2, 4, 6, 5), (1, 3, 6, 5), (2, 3, 6, 1)])
def test_another_shape_than_the_labels_is_refused(shape):
    target = encode(torch.arange(60).view(2, 6, 5) % 3, 3)
    words = f'logits are {shape} and the target is (2, 3, 6, 5); give one logit for each'
    with pytest.raises(ValueError, match=re.escape(words)):
        neighbour_penalised(torch.zeros(shape), target)

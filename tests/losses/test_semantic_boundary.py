"""The edges of classes and their loss against numbers worked by hand, and the double loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_boundary.geometry.distance import distances_between
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import semantic_boundary_loss
from mmseg_boundary.losses.semantic_boundary import class_edges, pooled
from tests.support import naive
from tests.support.scenes import scene, scenes, wild_scenes
from tests.support.skips import needs_gpu

LABELS = torch.tensor(
    [[[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 2, 2, 1, 1], [0, 0, 2, 2, 1, 255]]]
)
GUESS = torch.tensor(
    [[0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [0, 0, 2, 2, 2, 1], [0, 0, 2, 2, 1, 1]]
)


def logits():
    """z_k(i, j) = ((7k + 3i + 5j) mod 11)/4 + 2.1 [GUESS(i, j) = k]"""
    k, i, j = torch.meshgrid(torch.arange(3), torch.arange(4), torch.arange(6), indexing='ij')
    return (((7 * k + 3 * i + 5 * j) % 11) / 4 + 2.1 * (GUESS == k)).double()[None]


def rows(drawing):
    return [[int(digit) for digit in row] for row in drawing.split()]


def test_edges_by_hand():
    drawn = [
        '001100 001100 011000 011000',
        '001100 001100 000110 000110',
        '000000 001100 011110 011110',
    ]
    edges = class_edges(encode(LABELS, 3), 1)
    assert edges[0].int().tolist() == [rows(each) for each in drawn]
    assert class_edges(encode(LABELS, 3), 2)[0].any(0).sum() == 19


@pytest.mark.parametrize('radius, expected', [(1, 1.340370), (2, 0.757761)])
def test_values_by_hand(radius, expected):
    loss = semantic_boundary_loss(logits(), encode(LABELS, 3), radius)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_weight_of_edges_by_hand():
    """Of 10 pixels two are edges, which weigh 4: with logits of 0, log 2 (2 x 4 + 8)/10 for each
    class; void does not count, and an image without edges has the mean log 2."""
    labels = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 255], [0] * 10 + [255]]).view(2, 1, 11)
    zeros = torch.zeros(2, 2, 1, 11, dtype=torch.float64)
    both = [semantic_boundary_loss(zeros[:1], encode(each[None], 2), 1).item() for each in labels]
    log_2 = torch.tensor(2.0, dtype=torch.float64).log().item()
    assert both == pytest.approx([1.6 * log_2, log_2])
    pair = semantic_boundary_loss(zeros, encode(labels, 2), 1).item()
    assert pair == pytest.approx(1.3 * log_2)


def test_cells_with_an_edge():
    """Of 3 x 5 pixels; a cell of one valid pixel is valid."""
    labels = torch.tensor([[[0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 255, 255, 1]]])
    target = encode(labels, 2)
    assert pooled(class_edges(target, 1), 2)[0].int().tolist() == [
        [[0, 1, 1], [0, 0, 0]],
        [[0, 1, 1], [0, 0, 0]],
    ]
    assert pooled(target.valid, 2)[0, 0].int().tolist() == [[1, 1, 1], [1, 0, 1]]
    assert pooled(target.valid, 4).shape == (1, 1, 1, 2)


@given(wild_scenes(), st.sampled_from([1, 1.5, 2, 3]))
def test_edges_are_near_in_distance(one, radius):
    """|distance to the other side| <= radius, by the exact transform."""
    target = one.target
    outside, inside = distances_between(target.regions)
    to_other_side = torch.where(target.masks, inside, outside[:, -target.masks.shape[1] :])
    expected = (to_other_side <= radius + 1e-3) & target.valid
    assert class_edges(target, radius).equal(expected)


@given(scenes(), st.sampled_from([1, 2, 2.5]), st.sampled_from([1, 2, 4]))
def test_agrees_with_the_definition(one, radius, stride):
    given_logits = one.logits[..., ::stride, ::stride]
    ours = semantic_boundary_loss(given_logits, one.target, radius, stride).item()
    theirs = naive.semantic_boundary_loss(given_logits, one.labels, one.void, radius, stride)
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)


def bears(one, radius, stride):
    """Finite, the same again, and nothing from void."""
    dtype = torch.promote_types(one.logits.dtype, torch.float32)
    leaf = one.logits[..., ::stride, ::stride].to(dtype).clone().requires_grad_()
    value = semantic_boundary_loss(leaf, one.target, radius, stride)
    (gradient,) = torch.autograd.grad(value, leaf)
    assert value.isfinite() and value >= 0 and value.dtype == dtype
    assert gradient.isfinite().all()
    void = ~pooled(one.target.valid, stride)
    assert gradient.masked_select(void).eq(0).all()
    changed = leaf.detach().masked_fill(void, 1e4)
    assert semantic_boundary_loss(changed, one.target, radius, stride).equal(value.detach())


CASES = st.tuples(wild_scenes(), st.sampled_from([1, 2, 5.5]), st.sampled_from([1, 2, 4]))


@given(CASES)
def test_bears_random_cases(case):
    bears(*case)


@pytest.mark.slow
def test_bears_ten_thousand_random_cases():
    from hypothesis import settings

    tried = []

    @settings.get_profile('thorough')
    @given(CASES)
    def holds(case):
        bears(*case)
        tried.append(1)

    holds()
    assert len(tried) >= 10_000


@given(scenes(num_logits=(2, 3, 5)))
def test_classes_flips_and_void_rows_change_nothing(one):
    def value(given_logits, labels):
        target = encode(labels, given_logits.shape[1])
        return semantic_boundary_loss(given_logits, target).item()

    num_logits = one.logits.shape[1]
    expected = pytest.approx(value(one.logits, one.labels), rel=1e-12)
    order = torch.arange(num_logits).roll(1)
    renamed = (one.labels + 1) % num_logits
    renamed[one.labels == 255] = 255
    assert value(one.logits[:, order], renamed) == expected
    assert value(one.logits.flip(2, 3), one.labels.flip(1, 2)) == expected
    assert value(one.logits.mT, one.labels.mT) == expected
    wider = torch.cat([one.logits, one.logits], 3)
    void = torch.full_like(one.labels, 255)
    assert value(wider, torch.cat([one.labels, void], 2)) == expected
    # an image of void alone is left out of the mean
    assert value(torch.cat([one.logits] * 2), torch.cat([one.labels, void])) == expected


def test_nothing_valid_is_0_with_a_graph():
    leaf = torch.randn(2, 3, 5, 6, requires_grad=True)
    value = semantic_boundary_loss(leaf, encode(torch.full((2, 5, 6), 255), 3))
    value.backward()
    assert value.item() == 0 and leaf.grad.eq(0).all()


@pytest.mark.parametrize('num_logits', [1, 3])
def test_gradcheck(num_logits):
    one = scene(num_logits, seed=3)
    leaf = one.logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: semantic_boundary_loss(z, one.target), leaf)


def test_one_logit_is_class_1_of_two():
    """Its edges are those of class 1, which are those of class 0."""
    one = scene(1, seed=4)
    both = encode(one.labels, 2)
    edges = class_edges(one.target, 2)
    assert edges.any() and edges.equal(class_edges(both, 2)[:, 1:])
    doubled = semantic_boundary_loss(one.logits.expand(-1, 2, -1, -1), both)
    assert semantic_boundary_loss(one.logits, one.target).item() == pytest.approx(doubled.item())


def test_the_forward_reads_nothing_back(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError('read back')

    one = scene(3, seed=6)
    target, leaf = one.target, one.logits.requires_grad_()
    for method in ('item', 'tolist', '__bool__', 'cpu', 'numpy'):
        monkeypatch.setattr(torch.Tensor, method, forbidden)
    semantic_boundary_loss(leaf, target, output_stride=1)


@needs_gpu
def test_nothing_waits_for_the_gpu():
    one = scene(3, (2, 24, 30), seed=5)
    on_gpu, labels = one.logits.cuda(), one.labels.cuda()
    torch.cuda.set_sync_debug_mode('error')
    try:
        value = semantic_boundary_loss(on_gpu, encode(labels, 3))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert value.item() == pytest.approx(semantic_boundary_loss(one.logits, one.target).item())


def test_edges_are_found_once_for_both_outputs(monkeypatch):
    from mmseg_boundary.losses import semantic_boundary

    calls, found = [], semantic_boundary.within
    monkeypatch.setattr(
        semantic_boundary, 'within', lambda *given: calls.append(given) or found(*given)
    )
    target = encode(LABELS, 3)
    values = [semantic_boundary_loss(each * logits(), target).item() for each in (1, 2)]
    assert len(calls) == 1 and values[0] != values[1]


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(radius=0.5), 'radius is 0.5; give 1 or more pixels.'),
        (dict(radius=float('nan')), 'radius is nan; give 1 or more pixels.'),
        (dict(output_stride=3), 'output_stride is 3; choose one of 1, 2, 4.'),
        (
            dict(output_stride=2),
            r'logits are \(1, 3, 4, 6\) and the target is \(1, 3, 2, 3\); give',
        ),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        semantic_boundary_loss(logits(), encode(LABELS, 3), **options)

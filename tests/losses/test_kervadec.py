"""Kervadec's boundary loss against the numbers worked by hand, and against the double loops."""

import pytest
import torch
from hypothesis import given

from mmseg_boundary.geometry.distance import distances_between, signed_distances
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import kervadec_boundary_loss
from tests.support import naive
from tests.support.scenes import scenes

# The scene of the EPL tests: class 1 in rows 1-5 and columns 2-4 and at (3, 5), class 0 elsewhere.
REGION = torch.zeros(7, 7, dtype=torch.long)
REGION[1:6, 2:5] = 1
REGION[3, 5] = 1
TARGET = encode(REGION[None], 2)
MASKS = TARGET.masks.double()
BACKGROUND = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 7, 7)

D_1 = """
     2.236 1.414 1     1     1     1.414 2.236
     2     1     0     0     0     1     2
     2     1     0    -1     0     1     1.414
     2     1     0    -1    -0.414 0     1
     2     1     0    -1     0     1     1.414
     2     1     0     0     0     1     2
     2.236 1.414 1     1     1     1.414 2.236"""
D_0 = """
    -1.236 -0.414 0    0     0    -0.414 -1.236
    -1     0     1     1     1     0    -1
    -1     0     1     2     1     0    -0.414
    -1     0     1     2     1.414 1     0
    -1     0     1     2     1     0    -0.414
    -1     0     1     1     1     0    -1
    -1.236 -0.414 0    0     0    -0.414 -1.236"""


def signed(target):
    return signed_distances(target.masks, *target.cached(distances_between, 'euclidean'))


@pytest.mark.parametrize(
    'k, drawing, total, inside',
    [
        (1, D_1, 44.015340, -3.414214),
        (0, D_0, 4.984660, -14.429553),
    ],
)
def test_signed_distances_by_hand(k, drawing, total, inside):
    found = signed(TARGET)[0, k]
    assert found.flatten().tolist() == pytest.approx(list(map(float, drawing.split())), abs=1e-3)
    assert found.sum().item() == pytest.approx(total, abs=1e-4)
    assert found[REGION == k].sum().item() == pytest.approx(inside, abs=1e-4)


@pytest.mark.parametrize(
    'prediction, both, foreground',
    [
        (MASKS, -0.182079, -0.069678),
        (MASKS.roll(1, 3), -0.080038, 0.032363),
        (0.1 + 0.8 * MASKS.roll(1, 3), -0.014031, 0.115718),
        (BACKGROUND, 0.050864, 0),
        (1 - BACKGROUND, 0.449136, 0.898272),
        (torch.full_like(MASKS, 0.5), 0.25, 0.449136),
    ],
    ids=['perfect', 'shift', 'soft shift', 'all background', 'all foreground', 'uniform'],
)
def test_values_by_hand(prediction, both, foreground):
    assert kervadec_boundary_loss(prediction, TARGET).item() == pytest.approx(both, abs=1e-6)
    loss = kervadec_boundary_loss(prediction, TARGET, classes=[1])
    assert loss.item() == pytest.approx(foreground, abs=1e-6)


def test_an_absent_class_is_counted_and_has_no_distances():
    loss = kervadec_boundary_loss(torch.full((1, 3, 7, 7), 1 / 3), encode(REGION[None], 3))
    assert loss.item() == pytest.approx(0.111111, abs=1e-6)


def test_chosen_classes_keep_their_weights():
    labels = REGION.clone()
    labels[:2] = 2
    target, probs = encode(labels[None], 3), torch.rand(1, 3, 7, 7, dtype=torch.float64)
    chosen = kervadec_boundary_loss(probs, target, classes=[0, 2], class_weight=[1.0, 5.0, 3.0])
    others = kervadec_boundary_loss(probs, target, class_weight=[1.0, 0.0, 3.0])
    assert chosen.item() == pytest.approx(others.item())
    none = kervadec_boundary_loss(probs, target, classes=[1], class_weight=[1.0, 0.0, 3.0])
    assert none.item() == 0


def test_the_first_pixels_inside_of_a_square_are_at_0():
    labels = torch.zeros(1, 12, 12, dtype=torch.long)
    labels[:, 3:9, 3:9] = 1
    inside = signed(encode(labels, 2))[0, 1, 3:9, 3:9]
    assert (inside.abs() < 1e-3).sum() == 4 * (6 - 1)
    assert inside.min().item() == pytest.approx(-2, abs=1e-3)


@pytest.mark.parametrize('label', [0, 1, 255])
def test_an_image_of_one_class_costs_nothing(label):
    probs = torch.rand(1, 2, 5, 6, requires_grad=True)
    loss = kervadec_boundary_loss(probs, encode(torch.full((1, 5, 6), label), 2))
    loss.backward()
    assert loss.item() == 0 and probs.grad.eq(0).all()


def test_the_analytic_gradient():
    """dL/dz_k = p_k (D_k - sum_j p_j D_j) / (n_valid K), with a third class that is absent."""
    labels = REGION[None].clone()
    labels[0, :2, 3] = 255
    target = encode(labels, 3)
    logits = torch.randn(1, 3, 7, 7, dtype=torch.float64, requires_grad=True)
    probs = logits.softmax(1)
    kervadec_boundary_loss(probs, target).backward()
    distances = target.masked(signed(target)).double()
    excess = distances - (probs * distances).sum(1, keepdim=True)
    expected = target.masked(probs * excess) / (target.valid.sum() * 3)
    assert logits.grad.allclose(expected.detach(), rtol=0, atol=1e-9)


def test_units():
    """'diag': the distances of a 3 x 4 image in fifths; 'max': in units of the farthest pixel."""
    labels = torch.zeros(1, 3, 4, dtype=torch.long)
    labels[..., 0] = 1
    probs = torch.ones(1, 1, 3, 4, dtype=torch.float64)  # D_1 = 0 1 2 3 in each row
    target = encode(labels, 1)
    for normalize, expected in ((None, 18), ('diag', 18 / 5), ('max', 18 / 3)):
        loss = kervadec_boundary_loss(probs, target, normalize=normalize)
        assert loss.item() == pytest.approx(expected / 12, abs=1e-6)


@given(scenes(num_logits=(1, 2, 3)))
def test_agrees_with_the_definition(scene):
    weight = torch.rand(scene.labels.shape, dtype=torch.float64)
    num_logits = scene.probs.shape[1]
    options = [
        dict(normalize='diag', weight=weight),
        dict(normalize='max', classes=[1]),
        dict(class_weight=[0.5, 2.0, 0.0][:num_logits]),
    ]
    for option in options:
        theirs = naive.kervadec_boundary_loss(scene.probs, scene.labels, scene.void, **option)
        option['pixel_weight'] = option.pop('weight', None)
        ours = kervadec_boundary_loss(scene.probs, scene.target, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-5, abs=1e-6)


def test_void_is_not_the_largest_distance():
    """Of 'max': the farthest valid pixel is 2 px away, and void is up to 8 px away."""
    labels = torch.tensor([[[1, 0, 0] + [255] * 6]])
    probs = torch.full((1, 2, 1, 9), 0.5, dtype=torch.float64)
    ours = kervadec_boundary_loss(probs, encode(labels, 2), normalize='max')
    theirs = naive.kervadec_boundary_loss(probs, labels, normalize='max')
    assert ours.item() == pytest.approx(theirs)

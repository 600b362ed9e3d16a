"""Dice, Jaccard, focal and boundary-weighted cross-entropy: values by hand, torch's own
cross-entropy, the double loops, and the trap of the literal Dice."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import (
    boundary_weighted_ce_loss,
    jaccard_loss,
    soft_dice_loss,
    softmax_focal_loss,
)
from mmseg_boundary.losses.boundary_weighted_ce import contour_band
from tests.support import naive
from tests.support.scenes import scene, scenes

# --- Overlaps -------------------------------------------------------------------------------------

ROW = encode(torch.tensor([[[0, 0, 0, 1]]]), 2)
PROBS = torch.tensor([[[[1, 1, 0.5, 0.5]], [[0, 0, 0.5, 0.5]]]])


@pytest.mark.parametrize(
    'loss, smooth, of_0, of_1',
    [
        # |y p| = 2.5 and .5, |y| = 3 and 1, |p| = 3 and 1
        (soft_dice_loss, 0, 1 - 5 / 6, 1 - 1 / 2),
        (soft_dice_loss, 1, 1 - 6 / 7, 1 - 2 / 3),
        (jaccard_loss, 0, 1 - 2.5 / 3.5, 1 - 0.5 / 1.5),
        (jaccard_loss, 1, 1 - 3.5 / 4.5, 1 - 1.5 / 2.5),
    ],
)
def test_overlaps_by_hand(loss, smooth, of_0, of_1):
    assert loss(PROBS, ROW, smooth).item() == pytest.approx((of_0 + of_1) / 2)
    weighted = loss(PROBS, ROW, smooth, class_weight=[1, 3])
    assert weighted.item() == pytest.approx((of_0 + 3 * of_1) / 4)


@given(scenes(fields=(2, 3, 5)))
def test_the_literal_dice_measures_accuracy(scene):
    """Eq. (2.2) sums the classes in one ratio: with a softmax, 1 - the mean true probability."""
    target = scene.target
    pixels = target.valid.sum().item()
    true = scene.probs[target.planes].sum().item()
    loss = soft_dice_loss(scene.probs, target, per_class=False, per_image=False)
    expected = 1 - (1 + 2 * true) / (1 + 2 * pixels) if pixels else 0
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_a_lost_small_class_is_seen_per_class_alone():
    """One pixel in a hundred: the literal Dice, and IoU, of a prediction without it are nearly
    perfect; per class the loss is half of the worst."""
    labels = torch.zeros(1, 10, 10, dtype=torch.long)
    labels[0, 5, 5] = 1
    target = encode(labels, 2)
    lost = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 10, 10)
    for loss in (soft_dice_loss, jaccard_loss):
        assert loss(lost, target, smooth=0, per_class=False).item() < 0.02
        assert loss(lost, target, smooth=0).item() > 0.5


def test_the_literal_dice_pays_a_pixel_alike_in_every_class():
    """At p = 1/2, |y p| = .5 of |y| + |p| = 51 for the rare class and 49.5 of 149 for the frequent
    one; the derivative of 2 |y p| / (|y| + |p|) is 2 (|y| + |p| - |y p|) / (|y| + |p|)^2."""
    labels = torch.zeros(1, 10, 10, dtype=torch.long)
    labels[0, 5, 5] = 1
    target = encode(labels, 2)
    gradients = {}
    for per_class in (False, True):
        probs = torch.full((1, 2, 10, 10), 0.5, requires_grad=True)
        soft_dice_loss(probs, target, smooth=0, per_class=per_class).backward()
        rare, frequent = probs.grad[0, 1, 5, 5], probs.grad[0, 0, 0, 0]
        gradients[per_class] = (rare / frequent).item()
    assert gradients[False] == pytest.approx(1)
    assert gradients[True] == pytest.approx((101 / 51**2) / (199 / 149**2))


@pytest.mark.parametrize('name', ['soft_dice_loss', 'jaccard_loss'])
@given(scene=scenes(fields=(1, 2, 3)))
def test_overlaps_agree_with_the_definition(name, scene):
    loss = dict(soft_dice_loss=soft_dice_loss, jaccard_loss=jaccard_loss)[name]
    options = [
        dict(smooth=0.5, per_image=False),
        dict(per_class=False),
        dict(per_class=False, per_image=False),
        dict(class_weight=[0.5, 2.0, 0.0][: scene.probs.shape[1]]),
    ]
    for option in options:
        ours = loss(scene.probs, scene.target, **option)
        theirs = getattr(naive, name)(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-9, abs=1e-12)


# --- Cross-entropies ------------------------------------------------------------------------------


def test_the_focal_loss_by_hand():
    """A true class of probability 1/2 and 3/4: -(1/4 log 1/2 + 1/16 log 3/4) / 2."""
    logits = torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]])
    loss = softmax_focal_loss(logits, encode(torch.tensor([[[0, 0]]]), 2))
    expected = -(math.log(0.5) / 4 + math.log(0.75) / 16) / 2
    assert loss.item() == pytest.approx(expected)


@given(scenes(fields=(2, 3), kinds=('random', 'saturated')))
def test_without_their_factor_they_are_torchs_cross_entropy(scene):
    """Also weighted by class: over the sum of the weights."""
    if not scene.target.valid.any():
        return
    for weight in (None, [0.5, 2.0, 1.0][: scene.logits.shape[1]]):
        as_tensor = None if weight is None else torch.tensor(weight, dtype=torch.float64)
        expected = F.cross_entropy(scene.logits, scene.labels, as_tensor, ignore_index=255)
        focal = softmax_focal_loss(scene.logits, scene.target, gamma=0, class_weight=weight)
        plain = boundary_weighted_ce_loss(
            scene.logits, scene.target, boundary_weight=0, class_weight=weight
        )
        assert focal.item() == pytest.approx(expected.item())
        assert plain.item() == pytest.approx(expected.item())


@pytest.mark.parametrize('fields', [1, 3])
def test_one_vs_rest_is_torchs_binary_cross_entropy(fields):
    one = scene(fields, void_share=0)
    expected = F.binary_cross_entropy_with_logits(one.logits, one.target.planes.double())
    focal = softmax_focal_loss(one.logits, one.target, gamma=0, one_vs_rest=True)
    assert focal.item() == pytest.approx(expected.item())


def test_the_band_by_hand():
    """Radius 1: the pixels at the label change. 3: two more on either side. Void is no change."""
    labels = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1, 255, 255, 0, 0]]])
    target = encode(labels, 2)
    for radius, expected in ((1, [3, 4]), (3, [1, 2, 3, 4, 5, 6])):
        band = contour_band(target, radius) & target.valid
        assert band.flatten().nonzero().flatten().tolist() == expected


def test_the_band_counts_twice_over():
    """CE 2 on the two pixels of the band and 1 on the ten others: 14 / 12 + 2 x 2."""
    labels = torch.tensor([[[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]]])
    costs = torch.ones(12)
    costs[5:7] = 2
    other = (costs.exp() - 1).log()  # CE = log(1 + exp(other)) beside a logit of 0
    logits = torch.where(labels == 0, torch.stack([0 * other, other])[:, None], 0)
    logits = torch.where(labels == 1, torch.stack([other, 0 * other])[:, None], logits)[None]
    loss = boundary_weighted_ce_loss(logits, encode(labels, 2), radius=1, boundary_weight=2.0)
    assert loss.item() == pytest.approx(14 / 12 + 2 * 2, rel=1e-6)


@pytest.mark.parametrize('gamma', [0, 0.5, 1, 2])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_saturated_logits_have_finite_and_useful_gradients(gamma, dtype):
    """Surely right pixels have none, surely wrong ones the full one, in softmax and sigmoid."""
    labels = torch.tensor([[[0, 1, 0, 1]]])
    logits = torch.tensor([[[[500, 500, -500, -500]], [[-500, -500, 500, 500]]]], dtype=dtype)
    wrong = torch.tensor([False, True, True, False])
    for one_vs_rest in (False, True):
        for loss in (
            lambda x, target, **how: softmax_focal_loss(x, target, gamma, **how),
            boundary_weighted_ce_loss,
        ):
            leaf = logits.clone().requires_grad_()
            loss(leaf, encode(labels, 2), one_vs_rest=one_vs_rest).backward()
            sizes = leaf.grad.abs().amax((0, 1, 2))
            assert leaf.grad.isfinite().all()
            assert (sizes[wrong] > 0.1).all() and (sizes[~wrong] < 1e-6).all()


@given(scenes(fields=(1, 2, 3)))
def test_cross_entropies_agree_with_the_definition(scene):
    fields = scene.logits.shape[1]
    weight = torch.rand(scene.labels.shape, dtype=torch.float64)
    class_weight = [0.5, 2.0, 0.0][:fields]
    for loss, theirs, option in (
        (softmax_focal_loss, naive.softmax_focal_loss, dict(gamma=0.5)),
        (boundary_weighted_ce_loss, naive.boundary_weighted_ce_loss, dict(radius=2.5)),
    ):
        ours = loss(
            scene.logits,
            scene.target,
            **option,
            one_vs_rest=fields == 1,
            class_weight=class_weight,
            pixel_weight=weight,
        )
        expected = theirs(
            scene.logits,
            scene.labels,
            scene.void,
            **option,
            class_weight=class_weight,
            weight=weight,
        )
        assert ours.item() == pytest.approx(expected, rel=1e-7, abs=1e-9)

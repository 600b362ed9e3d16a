"""Focal loss and boundary-weighted cross-entropy: values by hand, torch's own cross-entropy, and
the double loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import boundary_weighted_ce_loss, softmax_focal_loss
from mmseg_boundary.losses.boundary_weighted_ce import boundary_band
from tests.support import naive
from tests.support.scenes import scene, scenes


def test_the_focal_loss_by_hand():
    """A true class of probability 1/2 and 3/4: -(1/4 log 1/2 + 1/16 log 3/4) / 2."""
    logits = torch.tensor([[[[0.0, math.log(3)]], [[0.0, 0.0]]]])
    loss = softmax_focal_loss(logits, encode(torch.tensor([[[0, 0]]]), 2))
    expected = -(math.log(0.5) / 4 + math.log(0.75) / 16) / 2
    assert loss.item() == pytest.approx(expected)


@given(scenes(num_logits=(2, 3), kinds=('random', 'saturated')))
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


@pytest.mark.parametrize('num_logits', [1, 3])
def test_one_vs_rest_is_torchs_binary_cross_entropy(num_logits):
    one = scene(num_logits, void_share=0)
    expected = F.binary_cross_entropy_with_logits(one.logits, one.target.masks.double())
    focal = softmax_focal_loss(one.logits, one.target, gamma=0, one_vs_rest=True)
    assert focal.item() == pytest.approx(expected.item())


def test_the_band_by_hand():
    """Radius 1: the pixels at the label change. 3: two more on either side. Void is no change."""
    labels = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1, 255, 255, 0, 0]]])
    target = encode(labels, 2)
    for radius, expected in ((1, [3, 4]), (3, [1, 2, 3, 4, 5, 6])):
        band = boundary_band(target, radius) & target.valid
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


@given(scenes(num_logits=(1, 2, 3)))
def test_cross_entropies_agree_with_the_definition(scene):
    num_logits = scene.logits.shape[1]
    weight = torch.rand(scene.labels.shape, dtype=torch.float64)
    class_weight = [0.5, 2.0, 0.0][:num_logits]
    for loss, theirs, option in (
        (softmax_focal_loss, naive.softmax_focal_loss, dict(gamma=0.5)),
        (boundary_weighted_ce_loss, naive.boundary_weighted_ce_loss, dict(radius=2.5)),
    ):
        ours = loss(
            scene.logits,
            scene.target,
            **option,
            one_vs_rest=num_logits == 1,
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

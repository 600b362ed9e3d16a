"""Dice and Jaccard: values by hand, the double loops, and the trap of the literal Dice."""

import pytest
import torch
from hypothesis import given

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import jaccard_loss, soft_dice_loss
from tests.support import naive
from tests.support.scenes import scenes

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


@given(scenes(num_logits=(2, 3, 5)))
def test_the_literal_dice_measures_accuracy(scene):
    """Eq. (2.2) sums the classes in one ratio: with a softmax, 1 - the mean true probability."""
    target = scene.target
    pixels = target.valid.sum().item()
    true = scene.probs[target.masks].sum().item()
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
@given(scene=scenes(num_logits=(1, 2, 3)))
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

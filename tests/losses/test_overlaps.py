"""Dice and Jaccard: values by hand, the double loops, and the trap of the literal Dice."""

import pytest
import torch
from hypothesis import given

from mmseg_boundary import losses
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import JaccardLoss, SoftDiceLoss, jaccard_loss, soft_dice_loss
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
        dict(smooth=0),
        dict(absent='count'),
        dict(absent='count', smooth=0.5, per_image=False),
        dict(absent='count', class_weight=[0.5, 2.0, 0.0][: scene.probs.shape[1]]),
        dict(smooth=0.5, per_image=False),
        dict(per_class=False),
        dict(per_class=False, per_image=False),
        dict(class_weight=[0.5, 2.0, 0.0][: scene.probs.shape[1]]),
    ]
    for option in options:
        option = dict(absent='skip') | option
        ours = loss(scene.probs, scene.target, **option)
        theirs = getattr(naive, name)(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize('loss', [soft_dice_loss, jaccard_loss])
def test_false_positives_on_an_empty_mask_cost_where_absent_classes_count(loss):
    """One logit, 100 valid pixels without the class, p = 1/4 at each: smooth / (smooth + 25)."""
    labels = torch.zeros(1, 10, 12, dtype=torch.long)
    labels[..., 10:] = 255
    target = encode(labels, 1)
    probs = torch.full((1, 1, 10, 12), 0.25, requires_grad=True)
    value = loss(probs, target, absent='count')
    value.backward()
    assert value.item() == pytest.approx(25 / 26)
    expected = torch.full_like(probs, 1 / 26**2).masked_fill(labels[:, None] == 255, 0)
    torch.testing.assert_close(probs.grad, expected)
    assert loss(probs, target).item() == 0 == loss(probs, target, absent='skip').item()


@pytest.mark.parametrize('module', [SoftDiceLoss, JaccardLoss])
@pytest.mark.parametrize('num_logits, use_sigmoid', [(1, False), (3, True), (3, False)])
def test_absent_classes_count_where_no_softmax_ties_them(module, num_logits, use_sigmoid):
    """The second image is void but for a pixel of class 0, the third void."""
    labels = torch.full((3, 6, 7), 255)
    labels[0], labels[1, 2, 3] = torch.arange(42).view(6, 7) % max(num_logits, 2), 0
    logits = torch.randn(3, num_logits, 6, 7, generator=torch.manual_seed(1))
    counts = num_logits == 1 or use_sigmoid
    probs = logits.sigmoid() if counts else logits.softmax(1)
    pure = soft_dice_loss if module is SoftDiceLoss else jaccard_loss
    expected = pure(probs, encode(labels, num_logits), absent='count' if counts else 'skip')
    torch.testing.assert_close(module(use_sigmoid=use_sigmoid)(logits, labels), expected)
    assert module(use_sigmoid=use_sigmoid)(logits[2:], labels[2:]).item() == 0


@pytest.mark.parametrize('name', ['KervadecBoundaryLoss', 'BF1Loss', 'EPLLineLoss'])
def test_boundary_losses_see_nothing_on_an_empty_mask(name):
    """As docs/baselines.md says: of one logit, whatever is predicted."""
    logits = torch.randn(1, 1, 24, 24, generator=torch.manual_seed(0)).requires_grad_()
    value = getattr(losses, name)()(logits, torch.zeros(1, 24, 24, dtype=torch.long))
    value.backward()
    assert value.item() == 0 and logits.grad.eq(0).all()


def test_nothing_divides_by_zero():
    words = "smooth is 0 and absent 'count' .*; give more than 0 pixels"
    for module, pure in ((SoftDiceLoss, soft_dice_loss), (JaccardLoss, jaccard_loss)):
        with pytest.raises(ValueError, match=words):
            pure(PROBS, ROW, smooth=0, absent='count')
        with pytest.raises(ValueError, match=words):
            module(smooth=0, use_sigmoid=True)
        with pytest.raises(ValueError, match=words):
            module(smooth=0)(torch.randn(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long))
        with pytest.raises(ValueError, match="absent is 'all'; choose one of 'skip', 'count'"):
            pure(PROBS, ROW, absent='all')
        together = pure(PROBS, ROW, smooth=0, per_class=False, absent='count')
        assert together == pure(PROBS, ROW, smooth=0, per_class=False)

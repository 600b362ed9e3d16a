"""Generalized Dice against the numbers worked by hand, the double loops, and MONAI's value."""

import pytest
import torch
from hypothesis import given

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import GeneralizedDiceLoss, generalized_dice_loss, soft_dice_loss
from mmseg_boundary.losses.generalized_dice import relative_weights
from tests.support import naive
from tests.support.scenes import scene, scenes
from tests.support.worked_example import BINARY_LABELS, BINARY_LOGITS, LABELS, LOGITS

ROW = torch.tensor([[[0, 0, 0, 1]]])
PROBS = torch.tensor([[[[1, 1, 0.5, 0.5]], [[0, 0, 0.5, 0.5]]]], dtype=torch.float64)


def test_the_worked_example():
    assert encode(LABELS, 3).masks.sum((0, 2, 3)).tolist() == [10, 9, 4]
    loss = GeneralizedDiceLoss()
    assert loss(LOGITS, LABELS).item() == pytest.approx(0.453077, abs=1e-6)
    assert loss(BINARY_LOGITS, BINARY_LABELS).item() == pytest.approx(0.284913, abs=1e-6)


def test_a_row_by_hand():
    """Areas 3 and 1: w = 1 and 9; overlaps 2.5 and 0.5, sums of label and prediction 6 and 2."""
    target = encode(ROW, 2)
    expected = 1 - 2 * (2.5 + 9 * 0.5) / (6 + 9 * 2)
    assert generalized_dice_loss(PROBS, target).item() == pytest.approx(expected)
    expected = 1 - 2 * (2 * 2.5 + 3 * 9 * 0.5) / (2 * 6 + 3 * 9 * 2)
    weighted = generalized_dice_loss(PROBS, target, class_weight=[2, 3])
    assert weighted.item() == pytest.approx(expected)


def test_one_logit_has_a_weight_for_class_1():
    """The same row; class 0 keeps its own."""
    one, both = (encode(ROW, number) for number in (1, 2))
    loss = generalized_dice_loss(PROBS[:, 1:], one, class_weight=[3])
    expected = generalized_dice_loss(PROBS, both, class_weight=[1, 3])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


@given(scenes(num_logits=(1,)))
def test_one_logit_is_a_softmax_of_two(scene):
    both = torch.cat([torch.zeros_like(scene.logits), scene.logits], 1)
    loss = GeneralizedDiceLoss()
    expected = loss(both, scene.labels).item()
    assert loss(scene.logits, scene.labels).item() == pytest.approx(expected, abs=1e-12)


def test_without_an_object_one_logit_is_the_background_alone():
    """What is predicted as the object is missing in class 0, so that it costs; there is no best
    loss that a net gets for nothing."""
    labels = torch.zeros(1, 1, 4, dtype=torch.long)
    probs = torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]], requires_grad=True)
    loss = generalized_dice_loss(probs, encode(labels, 1))
    loss.backward()
    assert loss.item() == pytest.approx(1 - 2 * 2 / (4 + 2)) and (probs.grad > 0).all()


def test_an_absent_class():
    """Left out, or with the largest weight, 1 of the areas 3 and 1: 0.2 predicted of it in all."""
    target = encode(ROW, 3)
    probs = torch.cat([PROBS, torch.full((1, 1, 1, 4), 0.05)], 1)
    expected = 1 - 2 * (2.5 / 9 + 0.5) / (6 / 9 + 2)
    assert generalized_dice_loss(probs, target).item() == pytest.approx(expected)
    expected = 1 - 2 * (2.5 / 9 + 0.5) / (6 / 9 + 2 + 0.2)
    assert generalized_dice_loss(probs, target, absent='max').item() == pytest.approx(expected)


def test_an_image_whose_classes_weigh_nothing_is_no_part_of_the_mean():
    labels = torch.cat([ROW, torch.zeros_like(ROW)])
    target, probs = encode(labels, 2), PROBS.expand(2, 2, 1, 4)
    for absent in ('ignore', 'max'):
        options = dict(absent=absent, class_weight=[0, 1])
        loss = generalized_dice_loss(probs, target, **options)
        alone = generalized_dice_loss(PROBS, encode(ROW, 2), **options)
        assert loss.item() == pytest.approx(alone.item())


def test_an_image_of_void_is_no_part_of_the_mean():
    labels = torch.cat([ROW, torch.full_like(ROW, 255)])
    for absent in ('ignore', 'max'):
        loss = generalized_dice_loss(PROBS.expand(2, 2, 1, 4), encode(labels, 2), absent=absent)
        alone = generalized_dice_loss(PROBS, encode(ROW, 2), absent=absent)
        assert loss.item() == pytest.approx(alone.item())


def test_classes_of_one_area_have_the_dice_of_all():
    """Then the weights cancel."""
    labels = torch.tensor([[[0, 0, 1, 1, 2, 2]]])
    probs, target = torch.rand(1, 3, 1, 6), encode(labels, 3)
    literal = soft_dice_loss(probs, target, smooth=0, per_class=False)
    assert generalized_dice_loss(probs, target).item() == pytest.approx(literal.item())


def test_large_and_small_areas_fit_into_float32():
    """One pixel beside 10^8: 1 / area^2 would be 1e-16 of the other weight."""
    areas = torch.tensor([[1.0, 1e8, 0.0]])
    weights = relative_weights(areas, 'ignore')
    assert weights.tolist() == [pytest.approx([1, 1e-16, 0])]
    assert relative_weights(areas, 'max')[0, 2] == 1
    assert relative_weights(torch.zeros(1, 2), 'ignore').tolist() == [[0, 0]]


@given(scenes(num_logits=(1, 2, 3, 5)))
def test_agrees_with_the_definition(scene):
    options = [
        dict(class_weight=[0.5, 2.0, 0.0, 1.0, 1.0][: scene.probs.shape[1]]),
        dict(class_weight=[0.0, 2.0, 1.0, 1.0, 1.0][: scene.probs.shape[1]], absent='max'),
        dict(per_image=False, absent='max'),
    ]
    for option in options:
        ours = generalized_dice_loss(
            scene.probs, scene.target, **option | as_tensor(option.get('class_weight'))
        )
        theirs = naive.generalized_dice_loss(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-12, abs=1e-12)


def as_tensor(class_weight):
    """Zeros for the one logit are refused as a list."""
    return {} if class_weight is None else dict(class_weight=torch.tensor(class_weight))


@given(scenes(num_logits=(2, 3)))
def test_sigmoids_are_taken_as_they_are(scene):
    loss = GeneralizedDiceLoss(use_sigmoid=True)(scene.logits, scene.labels)
    theirs = naive.generalized_dice_loss(scene.logits.sigmoid(), scene.labels, scene.void)
    assert loss.item() == pytest.approx(theirs, rel=1e-12, abs=1e-12)
    assert 0 <= loss.item() <= 1


def test_the_analytic_gradient():
    """-2 (w y U - w I) / U^2 at each pixel, with I and U the sums of all classes."""
    one = scene(3, (1, 9, 8), seed=2)
    probs = one.probs.requires_grad_()
    target = one.target
    generalized_dice_loss(probs, target).backward()
    masks = target.masks.double()
    areas = masks.sum((2, 3), keepdim=True)
    weights = 1 / areas**2
    shared = (weights * masks * probs).sum()
    both = (weights * (masks + target.masked(probs))).sum()
    expected = target.masked(-2 * weights * (masks * both - shared) / both**2)
    assert probs.grad.allclose(expected.detach(), rtol=1e-9, atol=1e-12)


def test_monais_value():
    """Its `GeneralizedDiceLoss`, of version 1.6.1, has no void: of the example with class 1 there,
    and without smoothing, it gives 0.448182."""
    labels = LABELS.where(LABELS != 255, 1)
    for absent in ('ignore', 'max'):
        loss = GeneralizedDiceLoss(absent=absent)(LOGITS, labels)
        assert loss.item() == pytest.approx(0.448182, abs=1e-6)


def test_refusals():
    for build in (GeneralizedDiceLoss, lambda **given: generalized_dice_loss(*GIVEN, **given)):
        with pytest.raises(ValueError, match="absent is 'min'; choose one of 'ignore', 'max'"):
            build(absent='min')


GIVEN = PROBS, encode(ROW, 2)

"""Weighted means, by hand; and what the losses say of a wrong number of classes, which torch would
broadcast."""

import math
import re
from inspect import signature

import pytest
import torch

from mmseg_boundary import losses
from mmseg_boundary.labels import encode
from mmseg_boundary.losses.epl import reference
from mmseg_boundary.losses.reduction import (
    as_class_weight,
    mean_over,
    mean_over_pixels,
    pooled_over_images,
    require_class_weight,
    shares_of,
    weighted_mean,
)

VOID = 255
FUNCTIONS = {
    name: getattr(losses, name)
    for name in losses.__all__
    if not isinstance(getattr(losses, name), type) and name != 'neighbour_penalised'  # logits
}
FUNCTIONS |= {
    f'reference.{name}': getattr(reference, name) for name in ('epl_point_loss', 'epl_line_loss')
}
ARGUMENTS = {name: list(signature(function).parameters) for name, function in FUNCTIONS.items()}


@pytest.mark.parametrize('shape', [(2, 1, 6, 5), (2, 4, 6, 5), (1, 3, 6, 5), (2, 3, 6, 1)])
@pytest.mark.parametrize('name', FUNCTIONS)
def test_another_shape_than_the_labels_is_refused(name, shape):
    """One class, one image and one column would be broadcast."""
    target = encode(torch.arange(60).view(2, 6, 5) % 3, 3)
    what = ARGUMENTS[name][0].removeprefix('edge_')
    words = f'{what} are {shape} and the target is (2, 3, 6, 5); give one '
    words += 'logit for each' if what == 'logits' else 'probability for each'
    with pytest.raises(ValueError, match=re.escape(words)):
        FUNCTIONS[name](torch.full(shape, 0.25), target)


@pytest.mark.parametrize('name', FUNCTIONS)
def test_three_classes_for_the_one_logit_of_a_binary_target_are_refused(name):
    target = encode(torch.arange(30).view(1, 6, 5) % 2, 1)
    with pytest.raises(ValueError, match=r'\(1, 3, 6, 5\) and the target is \(1, 1, 6, 5\)'):
        FUNCTIONS[name](torch.full((1, 3, 6, 5), 0.25), target)


def test_mean_over_the_eligible_weighted_by_class():
    """(1 x 2 + 3 x 4) / (1 + 3); the third pair is not eligible, however large."""
    values = torch.tensor([[2.0, 4.0, 100.0]])
    eligible = torch.tensor([[True, True, False]])
    weights = torch.tensor([1.0, 3.0, 5.0])
    assert mean_over(eligible, values, weights).item() == pytest.approx(3.5)
    assert mean_over(eligible, values).item() == 3
    several = torch.stack([eligible, ~eligible]), torch.stack([values, 10 * values])
    assert mean_over(*several, weights).tolist() == pytest.approx([3.5, 1000])


def test_mean_over_nothing_is_a_zero_with_a_graph():
    values = torch.ones(1, 2, requires_grad=True)
    mean = mean_over(torch.zeros(1, 2, dtype=torch.bool), values)
    mean.backward()
    assert mean.item() == 0 and values.grad.eq(0).all()


def test_class_weights_have_one_entry_per_logit():
    like = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    assert as_class_weight([1, 2], like).dtype == torch.float64
    for weights in ([1, 2, 3], [1]):
        with pytest.raises(ValueError, match=f'{len(weights)} entries for 2 logits'):
            as_class_weight(weights, like)


@pytest.mark.parametrize('weight', [-1.0, math.inf, math.nan, None])
def test_class_weights_are_finite_and_not_negative(weight):
    with pytest.raises(ValueError, match='give a list of non-negative numbers'):
        require_class_weight([1.0, weight])


@pytest.mark.parametrize('weights', [[0.0, 0.0], [], 'ab', 2.0])
def test_class_weights_weigh_something(weights):
    with pytest.raises(ValueError, match='non-negative numbers, one per logit and not all 0'):
        require_class_weight(weights)


def test_the_mean_over_pixels_leaves_void_out_whatever_is_there():
    """(1 + 2 + 2 x 3 + 2 x 4) / 4: two costs of each of two valid pixels; the third is void."""
    target = encode(torch.tensor([[[0, 1, VOID]]]), 2)
    costs = torch.tensor([[[[1.0, 3.0, math.nan]], [[2.0, 4.0, math.inf]]]], requires_grad=True)
    pixel_weight = torch.tensor([[[1.0, 2.0, 9.0]]])
    assert mean_over_pixels(costs, target).item() == 10 / 4
    mean = mean_over_pixels(costs, target, pixel_weight)
    mean.backward()
    assert mean.item() == 17 / 4
    assert costs.grad[0, 0, 0].tolist() == costs.grad[0, 1, 0].tolist() == [1 / 4, 2 / 4, 0]
    void = encode(torch.full((1, 1, 3), VOID), 2)
    assert mean_over_pixels(costs, void, pixel_weight).item() == 0


def test_a_weighted_mean_divides_by_the_weights_alone():
    """(1 x 2 x 3 + 3 x 1 x 5) / (1 + 3)."""
    values, weights = torch.tensor([[[[3.0, 5.0]]]]), torch.tensor([[[[1.0, 3.0]]]])
    pixel_weight = torch.tensor([[[2.0, 1.0]]])
    assert weighted_mean(values, weights, pixel_weight).item() == 21 / 4
    assert weighted_mean(values, weights).item() == 18 / 4
    assert weighted_mean(values, 0 * weights, pixel_weight).item() == 0


def test_sums_are_pooled_over_the_images():
    eligible = torch.tensor([[True, False, False], [False, False, True]])
    sums = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    pooled = pooled_over_images(eligible, sums, 2 * sums)
    assert [each.tolist() for each in pooled] == [
        [[True, False, True]],
        [[11, 22, 33]],
        [[22, 44, 66]],
    ]


def test_class_weights_as_shares():
    assert shares_of(torch.tensor([1.0, 3.0])).tolist() == [[[0.25]], [[0.75]]]
    assert shares_of(torch.zeros(2)).flatten().tolist() == [0, 0]


@pytest.mark.parametrize('name', [n for n in FUNCTIONS if 'class_weight' in ARGUMENTS[n]])
def test_where_no_class_weighs_anything_a_mean_is_0(name):
    """Of a tensor, which is not read back: a list of zeros is refused."""
    target = encode(torch.arange(30).view(1, 6, 5) % 2, 2)
    given = torch.full((1, 2, 6, 5), 0.5, requires_grad=True)
    value = FUNCTIONS[name](given, target, class_weight=torch.zeros(2))
    value.backward()
    assert value.item() == 0 and given.grad.eq(0).all()

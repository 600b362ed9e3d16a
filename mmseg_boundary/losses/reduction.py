"""Weighted means over pixels, images and classes: from costs to a scalar.

Each is 0, still connected to the graph of the costs, where there is nothing to take the mean of.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..labels import Target


def weighted_mean(
    values: Tensor,
    weights: Tensor,
    pixel_weight: Tensor | None = None,
    dim: tuple[int, ...] | None = None,
) -> Tensor:
    """sum(weights x values) / sum(weights), a scalar, or of each place of the other dimensions.

    Args:
        values: float of any shape, finite also where they weigh nothing; (N, C, H, W) with
            `pixel_weight`.
        weights: non-negative, of a shape that fits.
        pixel_weight: (N, H, W) factors of the values; the denominator stays.
        dim: the dimensions that are summed over; None is all.
    """
    total = weights.sum(dim)
    if pixel_weight is not None:
        values = pixel_weight.unsqueeze(1) * values
    return (weights * values).sum(dim) / total.where(total > 0, 1)


def mean_over(eligible: Tensor, values: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """(...) means of `values` over the eligible (image, class) pairs, weighted by class.

    Args:
        eligible: (..., N, K) bool.
        values: (..., N, K) float, finite also where not eligible.
        class_weight: (K,) float, non-negative; None weighs all classes alike.
    """
    weights = eligible.to(values.dtype)
    if class_weight is not None:
        weights = weights * class_weight
    return weighted_mean(values, weights, dim=(-2, -1))


def mean_over_pixels(costs: Tensor, target: Target, pixel_weight: Tensor | None = None) -> Tensor:
    """The mean of the (N, C, H, W) costs over C and the valid pixels, a scalar; costs at void
    are left out.

    Args:
        pixel_weight: (N, H, W) factors of the pixels' costs; the denominator stays.
    """
    if pixel_weight is not None:
        costs = pixel_weight.unsqueeze(1) * costs
    return target.masked(costs).sum() / (costs.shape[1] * target.valid.sum().clamp(min=1))


def pooled_over_images(eligible: Tensor, *sums: Tensor) -> tuple[Tensor, ...]:
    """Of (N, K) the (1, K): whether a class is eligible in any image, and its sums over all."""
    return eligible.any(0, keepdim=True), *(each.sum(0, keepdim=True) for each in sums)


def as_class_weight(class_weight: Sequence[float] | Tensor | None, like: Tensor) -> Tensor:
    """`class_weight` as a tensor of the type and on the device of `like`, (N, K, H, W);
    ones for None.

    Raises:
        ValueError: there is not one weight per logit, or (unless they are a tensor already, which
            is not read back) `require_class_weight` refuses them.
    """
    if class_weight is None:
        return like.new_ones(like.shape[1])
    if not isinstance(class_weight, Tensor):
        require_class_weight(class_weight)
    if len(class_weight) != like.shape[1]:
        raise ValueError(
            f'class_weight has {len(class_weight)} entries for {like.shape[1]} logits; give one '
            'non-negative weight per logit.'
        )
    return torch.as_tensor(class_weight, dtype=like.dtype, device=like.device)


def shares_of(class_weight: Tensor) -> Tensor:
    """(K, 1, 1): the (K,) weights as shares of their sum; all 0 if they are."""
    total = class_weight.sum()
    return (class_weight / total.where(total > 0, 1)).view(-1, 1, 1)


def require_class_weight(class_weight: Sequence[float] | None) -> None:
    """Raises a ValueError unless these are finite numbers, none negative and not all 0."""
    if class_weight is None:
        return
    numbers = isinstance(class_weight, Sequence) and all(
        isinstance(weight, (int, float)) and 0 <= weight < math.inf for weight in class_weight
    )
    if not numbers or sum(class_weight) == 0:
        raise ValueError(
            f'class_weight is {class_weight!r}; give a list of non-negative numbers, one per '
            'logit and not all 0.'
        )

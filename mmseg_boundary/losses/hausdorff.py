"""Hausdorff loss by distance transforms (Karimi & Salcudean, "Reducing the Hausdorff distance in
medical image segmentation with convolutional neural networks", IEEE TMI 39(2), 2020).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..choices import require_choice
from ..compiled import compiled, is_compiled
from ..devices import is_queued
from ..geometry.distance import distances_between
from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .reduction import as_class_weight, mean_over

SPACINGS = ('pixel', 'diagonal')
# Of the exponent: 10,000 px to this power, summed over an image, fit into float32.
LARGEST_ALPHA = 6


def hausdorff_dt_loss(
    probs: Tensor,
    target: Target,
    alpha: float = 2.0,
    absent: bool = False,
    one_sided: bool = False,
    spacing: str = 'pixel',
    one_vs_rest: bool = False,
    class_weight: Sequence[float] | Tensor | None = None,
    pixel_weight: Tensor | None = None,
) -> Tensor:
    """Squared errors, weighted by how far they lie from the boundaries of label and prediction.

        L = mean over n, k of  mean over valid p of  (probs - y)^2 (f_y^alpha + f_q^alpha)

    y are the one-hot labels. f_y(p) is the distance of a pixel to the nearest one of the other side
    of the class, 1 on both sides of a boundary. f_q is that of the prediction q: the class with the
    largest probability (the first of equal ones), or what is above 0.5 if `one_vs_rest`. q and the
    distances have no gradient. The mean is over the classes that an image has.

    Args:
        probs: (N, K, H, W) float, in [0, 1].
        target: the labels, from `labels.encode`.
        alpha: in (0, 6], the exponent of the distances.
        absent: whether a class that an image lacks enters the mean where it is predicted.
        one_sided: drops f_q, and with it the distances that are computed anew in every step.
        spacing: 'pixel' leaves distances in pixels: a weight fit for one crop is too large for a
            larger one. 'diagonal' divides them by the diagonal of the image.
        one_vs_rest: every probability is a sigmoid of its own, as that of a single logit is.
        class_weight: (K,) non-negative weights of the mean; None weighs all alike.
        pixel_weight: (N, H, W) factors of the pixels' terms; the denominator stays.

    Returns:
        A scalar, 0 or more; 0 with a graph if no class is present.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.

    Deviations:
        The paper has one class and no void. A class that is absent or has nothing beside it has no
        boundary, and distances of 0; so has a prediction of that kind. Void is on neither side, and
        the image border is no boundary.
    """
    require_hausdorff_options(alpha, absent, one_sided, spacing)
    target.require_shape(probs)
    eligible = target.present
    outside, inside = target.cached(distances_between, 'euclidean')
    sides = [(target.masks, outside[:, -probs.shape[1] :], inside)]
    if not one_sided:
        one_vs_rest = one_vs_rest or probs.shape[1] == 1
        predicted = predicted_masks(probs.detach(), target.valid, one_vs_rest)
        sides.append((predicted, *_distances_of(predicted, target.valid, one_vs_rest)))
        if absent:
            eligible = eligible | predicted.any(3).any(2)

    constants = alpha, spacing, probs.dtype
    weights = _kernel_for(_powers_of, probs, *constants)(tuple(sides), *constants)
    sides.clear()  # frees a map
    squares = _WeightedSquares.apply if is_queued(probs) else _weighted_squares
    costs = squares(probs, target.masks, target.valid, weights)
    if pixel_weight is not None:
        costs = pixel_weight.unsqueeze(1) * costs
    means = costs.sum((2, 3)) / target.valid.sum((2, 3)).clamp(min=1)
    return mean_over(eligible, means, as_class_weight(class_weight, probs))


def predicted_masks(probs: Tensor, valid: Tensor, one_vs_rest: bool) -> Tensor:
    """(N, K, H, W) bool, the pixels that are predicted as each class; False at void.

    Args:
        probs: (N, K, H, W) float.
        valid: (N, 1, H, W) bool.
        one_vs_rest: every probability above 0.5 counts, instead of the largest alone.
    """
    if one_vs_rest:
        return (probs > 0.5) & valid
    classes = torch.arange(probs.shape[1], device=probs.device)
    return (probs.argmax(1, keepdim=True) == classes.view(-1, 1, 1)) & valid


def _distances_of(masks: Tensor, valid: Tensor, one_vs_rest: bool) -> tuple[Tensor, Tensor]:
    """`distances_between`, of masks that overlap if `one_vs_rest`: then of each and its rest."""
    if not one_vs_rest:
        return distances_between(masks)
    sides = torch.stack([valid & ~masks, masks], 2).flatten(0, 1)
    outside, inside = distances_between(sides)
    return outside[:, 1].view_as(masks), inside.view_as(masks)


def _kernel_for(kernel: Callable, probs: Tensor, *constants: object) -> Callable:
    """`kernel`, on a device compiled. None sums over pixels, whose order would be the compiler's:
    the bits of a result do not depend on the sizes that they were compiled for."""
    if not (is_queued(probs) and is_compiled(probs)):
        return kernel
    several = len(probs) > 1, probs.shape[1] > 1  # torch compiles for a size of 1 anew
    return compiled(kernel, (*constants, *several, probs.dtype, probs.device))


def _powers_of(
    sides: tuple[tuple[Tensor, Tensor, Tensor], ...], alpha: float, spacing: str, dtype: torch.dtype
) -> Tensor:
    """The distances of `squared_distances(*side)` to the power alpha, summed over the sides."""
    height, width = sides[0][0].shape[2:]
    unit = height**2 + width**2 if spacing == 'diagonal' else 1
    total, *others = [(squared_distances(*each).to(dtype) / unit) ** (alpha / 2) for each in sides]
    for each in others:
        total += each
    return total


def squared_distances(masks: Tensor, outside: Tensor, inside: Tensor) -> Tensor:
    """(N, K, H, W) float32: the squared distance to the other side; 0 where a side is missing.

    Args:
        masks: (N, K, H, W) bool.
        outside, inside: from `distances_between`, of these masks and perhaps others.
    """
    distances = torch.where(masks, inside, outside)
    distances.masked_fill_(distances.isinf(), 0)
    # Squares of distances are whole numbers: rounding leaves nothing of the engines' noise.
    return distances.mul_(distances).round_()


class _WeightedSquares(torch.autograd.Function):
    """`_weighted_squares` by compiled kernels, which keep no map beside their inputs."""

    @staticmethod
    def forward(ctx: Any, probs: Tensor, *maps: Tensor) -> Tensor:
        ctx.save_for_backward(probs, *maps)
        return _kernel_for(_weighted_squares, probs)(probs, *maps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        # Under `create_graph=True` the gradient has one of its own.
        compiles = not torch.is_grad_enabled()
        kernel = _kernel_for(_their_gradient, given[0]) if compiles else _their_gradient
        return kernel(grad, *given), None, None, None


def _weighted_squares(probs: Tensor, masks: Tensor, valid: Tensor, weights: Tensor) -> Tensor:
    """(N, K, H, W) weights x (probs - masks)^2; 0 at void."""
    return _errors(probs, masks, valid).square() * weights


def _their_gradient(
    grad: Tensor, probs: Tensor, masks: Tensor, valid: Tensor, weights: Tensor
) -> Tensor:
    return grad * weights * (2 * _errors(probs, masks, valid))


def _errors(probs: Tensor, masks: Tensor, valid: Tensor) -> Tensor:
    return probs.masked_fill(~valid, 0) - masks.to(probs.dtype)


def require_hausdorff_options(alpha: float, absent: bool, one_sided: bool, spacing: str) -> None:
    """Raises the ValueErrors of `hausdorff_dt_loss`, before there is a batch."""
    if not 0 < alpha <= LARGEST_ALPHA:
        raise ValueError(
            f'alpha is {alpha!r}; give a positive number, at most {LARGEST_ALPHA}, since distances '
            'to that power have to fit into float32.'
        )
    if absent and one_sided:
        raise ValueError(
            'absent=True has no meaning with one_sided=True, for which a class that an image lacks '
            'has no distances; drop one of them.'
        )
    require_choice('spacing', spacing, SPACINGS)


class HausdorffDTLoss(DecodeHeadLoss):
    """`hausdorff_dt_loss` as a module, beside a cross-entropy.

    MMSegmentation's `HuasdorffDisstanceLoss` is another one: it has one mask of all classes but 0,
    compares probabilities with class numbers, and takes void for class 0.
    """

    takes_pixel_weight = True
    measures_geometry = True

    def __init__(
        self,
        alpha: float = 2.0,
        absent: bool = False,
        one_sided: bool = False,
        spacing: str = 'pixel',
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_hausdorff',
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name, ignore_index)
        self.options = dict(alpha=alpha, absent=absent, one_sided=one_sided, spacing=spacing)
        require_hausdorff_options(**self.options)

    def term(self, probs: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return hausdorff_dt_loss(
            probs,
            target,
            **self.options,
            one_vs_rest=self.one_vs_rest(probs),
            class_weight=self.class_weight,
            pixel_weight=weight,
        )

"""BF1 loss (Bokhovkin & Burnaev, "Boundary Loss for Remote Sensing Imagery Semantic Segmentation",
ISNN 2019): a differentiable boundary F1 score.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..compiled import is_compiled, left_out_of_graphs
from ..devices import is_queued
from ..labels import Target
from .blocks import class_blocks, compile_kernels, kernels_for
from .decode_head_loss import DecodeHeadLoss
from .once_differentiable import once_differentiable
from .reduction import as_class_weight, mean_over

EPS = 1e-7
# Pixels of one step: on the CPU few, which stay in its cache; on devices many, worth a launch.
_CPU_STEP, _OTHER_STEP = 2**18, 2**23


def bf1_loss(
    probs: Tensor,
    target: Target,
    theta0: int = 3,
    theta: int = 5,
    per_image: bool = True,
    class_weight: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """One minus the F1 score of soft boundaries, with b and b̂ those of label and prediction.

        L = mean over n, k of  1 - 2 P R / (P + R)
        P = sum_p b̂ b^ext / sum_p b̂,    R = sum_p b b̂^ext / sum_p b

    ^ext widens a boundary by the tolerance, (theta - 1) / 2 px (chessboard). The image border is no
    boundary. A prediction without boundaries has hardly a gradient: use it beside a cross-entropy.
    A maximum sends its gradient to the first of its pixels, row by row. Second derivatives are
    refused.

    Args:
        probs: (N, K, H, W) float, in [0, 1].
        target: the labels, from `labels.encode`.
        theta0: odd window, in pixels, that makes a boundary (theta0 - 1) / 2 px thick.
        theta: odd window of the tolerance, at most the distance between neighboring segments.
        per_image: one score per image and class; False pools the sums of a class over the batch.
        class_weight: (K,) non-negative weights of the mean; None weighs all alike.

    Returns:
        A scalar in [0, 1]; 0 with a graph if no class has a boundary.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.

    Deviations:
        The paper is binary; here the mean over the classes that have a boundary in the image: the
        others have the constant value 1. Void belongs to no class in label and prediction, so that
        next to it the boundaries of both partly agree whatever is predicted.
    """
    require_bf1_options(theta0, theta)
    target.require_shape(probs)
    sums_of = _sums_on_device if is_queued(probs) else _sums
    sums = sums_of(probs, target, theta0, theta)
    if not per_image:
        sums = sums.sum(1, keepdim=True)
    predicted, predicted_near, true, true_near = sums
    precision = predicted_near / (predicted + EPS)
    recall = true_near / (true + EPS)
    f1 = 2 * precision * recall / (precision + recall + EPS)
    return mean_over(true > 0, 1 - f1, as_class_weight(class_weight, probs))


def inner_boundary(maps: Tensor, theta0: int) -> Tensor:
    """The pixels of each class within (theta0 - 1) / 2 px of its outside, eq. (2).

    >>> import torch
    >>> inner_boundary(torch.tensor([[[[0., 1, 1, 1, 0.5, 0]]]]), 3).tolist()
    [[[[0.0, 1.0, 0.0, 0.5, 0.5, 0.0]]]]

    Args:
        maps: (N, K, H, W) float, in [0, 1].
        theta0: odd window, in pixels.

    Returns:
        (N, K, H, W) float, in [0, 1].
    """
    return window_max(1 - maps, theta0) - (1 - maps)


def window_max(maps: Tensor, window: int) -> Tensor:
    """The largest value within (window - 1) / 2 px (chessboard), of pixels in the image alone.

    Args:
        maps: (..., H, W), float or bool.
        window: odd, in pixels.
    """
    return _window_maxima(maps, window)[-1]


def require_bf1_options(theta0: int, theta: int) -> None:
    """Raises the ValueErrors of `bf1_loss`, before there is a batch."""
    for name, given, least in (('theta0', theta0, 3), ('theta', theta, 1)):
        if not isinstance(given, int) or given < least or given % 2 == 0:
            raise ValueError(f'{name} is {given!r}; give an odd number of pixels, {least} or more.')


def _sums(probs: Tensor, target: Target, theta0: int, theta: int) -> Tensor:
    return _BoundarySums.apply(probs, target.masks, target.valid, theta0, theta)


class _BoundarySums(torch.autograd.Function):
    """The sums over the pixels of b̂, b̂ b^ext, b and b b̂^ext, (4, N, K).

    Only the inputs are kept for the gradient, which computes the maps again, a few classes at a
    time.
    """

    @staticmethod
    def forward(
        ctx: Any, probs: Tensor, masks: Tensor, valid: Tensor, theta0: int, theta: int
    ) -> Tensor:
        ctx.save_for_backward(probs, masks, valid)
        ctx.windows = theta0, theta
        if _by_kernels(probs):
            return _sums_by_kernels(probs, masks, valid, theta0, theta)
        sums = probs.new_empty(4, *probs.shape[:2])
        for image, classes in _steps(probs):
            outside = _outside(probs[image, classes], valid[image])
            predicted = (window_max(outside, theta0) - outside) * valid[image].to(probs.dtype)
            true, near_true = (
                each.to(probs.dtype) for each in _true_boundary(masks[image, classes], *ctx.windows)
            )
            near_predicted = window_max(predicted, theta)
            maps = predicted, predicted * near_true, true, true * near_predicted
            for total, each in zip(sums, maps, strict=True):
                total[image, classes] = each.sum((2, 3))
        return sums

    @staticmethod
    @once_differentiable('bf1_loss')
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        probs, masks, valid = ctx.saved_tensors
        theta0, theta = ctx.windows
        grad_probs = torch.empty_like(probs)
        if _by_kernels(probs):
            for n, some in class_blocks(probs):
                block = probs[n, some], masks[n, some], valid[n]
                grad_probs[n, some] = _gradient_by_kernels(
                    *block, grad_output[:, n, some].contiguous(), theta0, theta, kernels_for(probs)
                )
            return grad_probs, None, None, None, None
        for image, classes in _steps(probs):
            is_valid = valid[image].to(probs.dtype)
            outside = _outside(probs[image, classes], valid[image])
            maxima = _window_maxima(outside, theta0)
            predicted = (maxima[-1] - outside) * is_valid
            true, near_true = (
                each.to(probs.dtype) for each in _true_boundary(masks[image, classes], *ctx.windows)
            )

            by_predicted, by_near_true, _, by_near_predicted = grad_output[
                :, image, classes, None, None
            ]
            grad = _to_first(_window_maxima(predicted, theta), theta, true * by_near_predicted)
            grad += by_predicted
            grad += by_near_true * near_true
            grad *= is_valid
            # by the probabilities, of which `outside` is the complement
            grad -= _to_first(maxima, theta0, grad)
            torch.mul(grad, is_valid, out=grad_probs[image, classes])
        return grad_probs, None, None, None, None


def _steps(probs: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yields slices of one image and a few of its classes."""
    images, classes, height, width = probs.shape
    size = _CPU_STEP if probs.device.type == 'cpu' else _OTHER_STEP
    step = max(1, size // max(1, height * width))
    for image in range(images):
        for first in range(0, classes, step):
            yield slice(image, image + 1), slice(first, first + step)


def _outside(probs: Tensor, valid: Tensor) -> Tensor:
    """1 - p; ignored pixels get 1."""
    return 1 - probs.masked_fill(~valid, 0)


def _true_boundary(masks: Tensor, theta0: int, theta: int) -> tuple[Tensor, Tensor]:
    """The boundary b of the classes and b^ext, bool."""
    boundary = window_max(~masks, theta0) & masks
    return boundary, window_max(boundary, theta)


def _window_maxima(maps: Tensor, window: int) -> list[Tensor]:
    """The padded maps, then the maxima of ever larger windows, up to the whole one.

    Each is made of the one before: windows that overlap or touch, along the rows and then along the
    columns. The last has the size of the maps.
    """
    lowest = -torch.inf if maps.is_floating_point() else False
    maxima = [F.pad(maps, (window // 2,) * 4, value=lowest)]
    for dim, shift in _doublings(window):
        maxima.append(torch.maximum(*_apart(maxima[-1], dim, shift)))
    return maxima


def _to_first(maxima: list[Tensor], window: int, grad: Tensor) -> Tensor:
    """The gradient of the maps of `_window_maxima`, given that of the last maxima."""
    for smaller, (dim, shift) in zip(maxima[-2::-1], _doublings(window)[::-1], strict=True):
        first, second = _apart(smaller, dim, shift)
        # Ones and zeros: a product is many times as fast as `where`. A tie goes to the first, which
        # lies further left or, in the second half of the steps, in an earlier row.
        to_second = torch.gt(second, first, out=torch.empty_like(grad)).mul_(grad)
        spread = torch.zeros_like(smaller)
        to_either = _apart(spread, dim, shift)
        torch.sub(grad, to_second, out=to_either[0])
        to_either[1].add_(to_second)
        grad = spread
    margin = window // 2
    height, width = grad.shape[-2:]
    return grad[..., margin : height - margin, margin : width - margin]


def _doublings(window: int) -> list[tuple[int, int]]:
    """(dimension, shift) of the steps from single pixels to windows."""
    shifts, length = [], 1
    while length < window:
        shifts.append(min(length, window - length))
        length += shifts[-1]
    return [(dim, shift) for dim in (-1, -2) for shift in shifts]


def _apart(maps: Tensor, dim: int, shift: int) -> tuple[Tensor, Tensor]:
    """All pairs of values that lie `shift` apart."""
    pairs = maps.shape[dim] - shift
    return maps.narrow(dim, 0, pairs), maps.narrow(dim, shift, pairs)


# --- On a device ----------------------------------------------------------------------------------
#
# The doublings above are many passes over the maps. Here a window is two, along rows and columns,
# and what its gradient needs of it is where the first maximum lies: each function is one kernel.


@left_out_of_graphs
def _sums_on_device(probs: Tensor, target: Target, theta0: int, theta: int) -> Tensor:
    compile_kernels('BF1', _sums, probs, theta0, theta)
    return _sums(probs, target, theta0, theta)


def _by_kernels(probs: Tensor) -> bool:
    return is_queued(probs) and is_compiled(probs)


def _sums_by_kernels(
    probs: Tensor, masks: Tensor, valid: Tensor, theta0: int, theta: int
) -> Tensor:
    """(4, N, K), the sums of `_BoundarySums`."""
    kernels = kernels_for(probs)

    def sums_of(probs: Tensor, masks: Tensor, valid: Tensor) -> Tensor:
        true, near_true = kernels(_true_boundary, theta0, theta)(masks)
        (rows,) = kernels(_outside_in_rows, theta0, False)(probs, valid)
        (predicted,) = kernels(_predicted_boundary, theta0, False)(rows, probs, valid)
        (rows,) = kernels(_first_maxima, -1, theta, False)(predicted)
        return kernels(_sums_of_maps, theta)(rows, predicted, true, near_true)

    sums = [sums_of(probs[n, some], masks[n, some], valid[n]) for n, some in class_blocks(probs)]
    return torch.cat([probs.new_zeros(4, 0), *sums], -1).unflatten(-1, probs.shape[:2])


def _gradient_by_kernels(
    probs: Tensor,
    masks: Tensor,
    valid: Tensor,
    grad_output: Tensor,
    theta0: int,
    theta: int,
    kernels: Callable[..., Callable],
) -> Tensor:
    """(K, H, W): the gradient of the probabilities, given the (4, K) of the sums."""
    rows, in_row = kernels(_outside_in_rows, theta0, True)(probs, valid)
    predicted, in_column = kernels(_predicted_boundary, theta0, True)(rows, probs, valid)
    rows, in_wide_row = kernels(_first_maxima, -1, theta, True)(predicted)
    in_wide_column = kernels(_places_in_columns, theta)(rows)
    del rows, predicted
    true, near_true = kernels(_true_boundary, theta0, theta)(masks)
    met = kernels(_to_maxima, -2, theta)(true.to(probs.dtype), in_wide_column)
    grad = kernels(_gradient_of_boundary, theta)(met, in_wide_row, near_true, valid, grad_output)
    of_rows = kernels(_to_maxima, -2, theta0)(grad, in_column)
    return kernels(_gradient_of_probs, theta0)(of_rows, in_row, grad, valid)


def _outside_in_rows(probs: Tensor, valid: Tensor, theta0: int, places: bool) -> tuple[Tensor, ...]:
    return _first_maxima(_outside(probs, valid), -1, theta0, places)


def _predicted_boundary(
    rows: Tensor, probs: Tensor, valid: Tensor, theta0: int, places: bool
) -> tuple[Tensor, ...]:
    """b̂ from the maxima along the rows, and in which row of its window the first one lies."""
    maxima, *place = _first_maxima(rows, -2, theta0, places)
    return (maxima - _outside(probs, valid)) * valid.to(probs.dtype), *place


def _places_in_columns(rows: Tensor, theta: int) -> Tensor:
    return _first_maxima(rows, -2, theta, True)[1]


def _sums_of_maps(
    rows: Tensor, predicted: Tensor, true: Tensor, near_true: Tensor, theta: int
) -> Tensor:
    (near_predicted,) = _first_maxima(rows, -2, theta, False)
    maps = predicted, predicted.where(near_true, 0), true, near_predicted.where(true, 0)
    return torch.stack([each.sum((1, 2), dtype=predicted.dtype) for each in maps])


def _gradient_of_boundary(
    met: Tensor, place: Tensor, near_true: Tensor, valid: Tensor, grad_output: Tensor, theta: int
) -> Tensor:
    by_predicted, by_near_true, _, by_near_predicted = grad_output[..., None, None]
    grad = by_near_predicted * _to_maxima(met, place, -1, theta) + by_predicted
    return (grad + by_near_true * near_true) * valid.to(grad.dtype)


def _gradient_of_probs(
    of_rows: Tensor, place: Tensor, grad: Tensor, valid: Tensor, theta0: int
) -> Tensor:
    """By the probabilities, of which `_outside` is the complement."""
    return (grad - _to_maxima(of_rows, place, -1, theta0)) * valid.to(grad.dtype)


def _first_maxima(maps: Tensor, dim: int, window: int, places: bool) -> tuple[Tensor, ...]:
    """The maxima of windows along one dimension and, if asked for, int16 indices of the first of
    each in its window."""
    views = _shifts(maps, dim, window, -torch.inf)
    maxima = functools.reduce(torch.maximum, views)
    if not places:
        return (maxima,)
    place = torch.zeros_like(maps, dtype=torch.int16)
    for index in reversed(range(window)):
        place = place.masked_fill(views[index] == maxima, index)
    return maxima, place


def _to_maxima(grad: Tensor, place: Tensor, dim: int, window: int) -> Tensor:
    """The gradient of the maps, given that of `_first_maxima`."""
    views = zip(_shifts(grad, dim, window, 0), _shifts(place, dim, window, -1), strict=True)
    # A pixel is the last of the first window that it is in.
    taken = (each * (index == window - 1 - shift) for shift, (each, index) in enumerate(views))
    return functools.reduce(torch.add, taken)


def _shifts(maps: Tensor, dim: int, window: int, beyond: float) -> list[Tensor]:
    """For each pixel of a window, the maps at that pixel of the window around every pixel."""
    margins = (window // 2,) * 2
    padded = F.pad(maps, margins if dim == -1 else (0, 0, *margins), value=beyond)
    return [padded.narrow(dim, shift, maps.shape[dim]) for shift in range(window)]


class BF1Loss(DecodeHeadLoss):
    """`bf1_loss` as a module, beside a cross-entropy."""

    measures_geometry = True

    def __init__(
        self,
        theta0: int = 3,
        theta: int = 5,
        per_image: bool = True,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_bf1',
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(
            use_sigmoid, class_weight, loss_weight, loss_name, ignore_index, pixel_weight
        )
        self.options = dict(theta0=theta0, theta=theta, per_image=per_image)
        require_bf1_options(theta0, theta)

    def term(self, probs: Tensor, target: Target, weight: None) -> Tensor:
        return bf1_loss(probs, target, **self.options, class_weight=self.class_weight)

"""The point loss of EPL, eq. (3)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...choices import require_choice
from ...compiled import left_out_of_graphs
from ...devices import is_queued
from ...labels import Target
from ..blocks import (
    at_least_float32,
    class_blocks,
    compile_kernels,
    keep_valid,
    kernels_for,
    valid_bits,
)
from ..once_differentiable import once_differentiable
from ..reduction import as_class_weight, mean_over_pixels, shares_of
from .rays import (
    Rays,
    ray_sums_one_by_one,
    ray_sums_transpose,
    ray_sums_within,
    with_margins,
)

NORMS = ('l1', 'l2', 'pixel')


@left_out_of_graphs
def epl_point_loss(
    probs: Tensor,
    target: Target,
    kernel_size: int = 7,
    splitter: str = 'A',
    norm: str = 'l2',
    padding: str = 'replicate',
    sc_scale: str = 'match',
    class_weight: Sequence[float] | Tensor | None = None,
    pixel_weight: Tensor | None = None,
) -> Tensor:
    """Point loss of EPL, eq. (3): how far the potential fields lie apart.

        L = mean over s of  sum over valid p, k of  w_k |E_s(p) - Ê_s(p)|^2 / (n_valid sum_k w_k)

    The target of an absent class is the empty field: its probability is drawn to 0.

    Args:
        probs: (N, K, H, W) float, in [0, 1]; half types are taken to float32.
        target: the labels, from `labels.encode`.
        kernel_size: odd, in pixels.
        splitter: 'A', 'B', 'C' or the ablation 'SC' (see `rays.Rays`).
        norm: 'l2' the square above; 'l1' the absolute value; 'pixel' the Euclidean norm over the
            classes of each pixel, sqrt(K sum_k w_k (E - Ê)^2 / sum_k w_k), averaged over pixels.
        padding: what lies beyond the image, 'replicate' or 'constant' (0).
        sc_scale: for 'SC' alone, see `rays.Rays`.
        class_weight: (K,) non-negative weights w_k; None weighs all alike.
        pixel_weight: (N, H, W) factors of the pixels' terms; the denominator stays.

    Returns:
        A scalar in [0, (h+1)^2] ('l2'), [0, h+1] ('l1') or [0, sqrt(K) (h+1)] ('pixel'); 0 with a
        graph if no pixel is valid.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.

    Deviations:
        A mean over pixels and classes where eq. (3) sums, as in the authors' code: a sum grows with
        the crop and no weight survives it. Void pixels are empty in both fields and not counted.
    """
    rays = Rays(kernel_size, splitter, padding, sc_scale)
    require_choice('norm', norm, NORMS)
    target.require_shape(probs)
    probs = at_least_float32(probs)
    weights = shares_of(as_class_weight(class_weight, probs))
    power = 1 if norm == 'l1' else 2
    compile_kernels('EPL', _unweighted, probs, power, rays)
    # (N, D, H, W): summed over the classes
    cost = _FieldGaps.apply(probs, target.masks, target.valid, weights, power, rays)
    if norm == 'pixel':
        apart = cost > 0  # the root has no finite gradient at 0
        cost = (probs.shape[1] * cost).where(apart, 1).sqrt().where(apart, 0)
    return mean_over_pixels(cost, target, pixel_weight)


class _FieldGaps(torch.autograd.Function):
    """(N, D, H, W) float: per direction the sum over k of w_k |E - Ê|^power."""

    @staticmethod
    def forward(
        ctx,
        probs: Tensor,
        masks: Tensor,
        valid: Tensor,
        weights: Tensor,
        power: int,
        rays: Rays,
    ) -> Tensor:
        ctx.save_for_backward(probs, masks, valid, weights)
        ctx.power, ctx.rays = power, rays
        costs_of = _of_differences(_gap_costs, probs, masks, valid, power, rays)
        costs = probs.new_zeros(len(probs), rays.num_directions, *probs.shape[2:])
        for n, some in class_blocks(probs):
            costs[n] += costs_of(n, some, weights[some])
        return costs

    @staticmethod
    @once_differentiable('epl_point_loss')
    @left_out_of_graphs
    def backward(ctx, grad_output: Tensor) -> tuple:
        probs, masks, valid, weights = ctx.saved_tensors
        rays, kernels = ctx.rays, kernels_for(probs)
        gradients_of = _of_differences(_gap_gradients, probs, masks, valid, ctx.power, rays)
        gradient, grad_output = torch.empty_like(probs), grad_output.contiguous()
        for n, some in class_blocks(probs):
            gradient[n, some] = ray_sums_transpose(
                gradients_of(n, some, weights[some], grad_output[n]), rays, kernels
            )
        return keep_valid(gradient, valid_bits(valid, probs)), *[None] * 5


def _unweighted(probs: Tensor, target: Target, power: int, rays: Rays) -> Tensor:
    weights = probs.new_ones(probs.shape[1], 1, 1)
    return _FieldGaps.apply(probs, target.masks, target.valid, weights, power, rays)


def _of_differences(
    kernel: Callable, probs: Tensor, masks: Tensor, valid: Tensor, power: int, rays: Rays
) -> Callable[..., Tensor]:
    """Of a block of classes and more tensors: `kernel` of masks minus probs, padded, and of these.

    Ray sums are linear: the field of the difference is the difference of the fields.
    """
    kernels = kernels_for(probs)
    if is_queued(probs):
        in_one = kernels(_in_one, kernel, power, rays)
        return lambda n, some, *more: in_one(probs[n, some], masks[n, some], valid[n], *more)
    on_canvas, bits = kernels(kernel, power, rays), valid_bits(valid, probs)

    def run(n: int, some: slice, *more: Tensor) -> Tensor:
        difference = masks[n, some].to(probs.dtype).sub_(probs[n, some])
        return on_canvas(with_margins(keep_valid(difference, bits[n]), rays), *more)

    return run


def _in_one(probs: Tensor, masks: Tensor, valid: Tensor, *rest) -> Tensor:
    """A kernel that does not write the difference."""
    *more, kernel, power, rays = rest
    difference = (masks.to(probs.dtype) - probs).where(valid, 0)
    return kernel(with_margins(difference, rays), *more, power, rays)


def _gap_costs(canvas: Tensor, weights: Tensor, power: int, rays: Rays) -> Tensor:
    gaps = ray_sums_within(canvas, rays)
    return ((gaps.abs() if power == 1 else gaps.square()) * weights).sum(1)


def _gap_gradients(
    canvas: Tensor, weights: Tensor, grad_output: Tensor, power: int, rays: Rays
) -> Tensor:
    """The gradient of the predicted fields, given that of `_gap_costs`."""
    gaps = zip(ray_sums_one_by_one(canvas, rays), grad_output, strict=True)
    return torch.stack(
        [(gap.sign() if power == 1 else 2 * gap) * -weights * grad for gap, grad in gaps]
    )

"""EPL as the paper has it, to be read: whole maps, a stable sort, autograd.

The losses of the package give the same values, gradients and predicted regions; their docstrings
have the arguments, which are the same here. What the paper says (its numbers in brackets):

(2) Every pixel adds up the pixels of a class along a ray that ends in it: its energy, in as many
    directions as the splitter has (`rays.ray_sums`). The one-hot labels of a class thereby get a
    potential field E, its probabilities another one, Ê.
(3) The point loss compares the two fields at every pixel.
(4) The line loss compares them where they change. A pixel of the target with an energy of
    tau = 1..h lies on the equipotential line tau; the predicted region is as large, and lies at the
    same ranks of Ê (`line_regions`). How near a pixel is to the line tau is exp(-|energy - tau|^mu)
    (`closeness`), and the equipotential line coefficient (EDC), a Dice coefficient of these
    numbers, says how well the two lines agree (`line_terms`, Algorithm 1).

Where it is not followed to the letter: (3) sums over pixels and classes, here it is a mean;
Algorithm 1 as printed cancels its own intersection (`line_terms` has the factor as meant). Void,
of which the paper knows nothing, is 0 in all masks, in no region and not counted.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...labels import Target
from ..reduction import as_class_weight, mean_over, mean_over_pixels, shares_of
from .rays import Rays, ray_sums


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
    """Eq. (3): the mean over the directions and valid pixels of |E - Ê|^2, a weighted mean over the
    classes ('l2'; 'l1' takes |E - Ê|, 'pixel' the Euclidean norm over the classes)."""
    target.require_shape(probs)
    weights = shares_of(as_class_weight(class_weight, probs))
    # Ray sums are linear: the difference of the fields is the field of the difference.
    difference = target.masked(target.masks.to(probs.dtype) - probs)
    rays, total = Rays(kernel_size, splitter, padding, sc_scale), 0.0
    for gap in ray_sums(difference, rays):
        if norm == 'l2':
            cost = (weights * gap.square()).sum(1)
        elif norm == 'l1':
            cost = (weights * gap.abs()).sum(1)
        else:
            scale = (probs.shape[1] * weights).sqrt()
            # vector_norm, since the root of a sum has no finite gradient at 0
            cost = torch.linalg.vector_norm(scale * gap, dim=1)
        total = total + mean_over_pixels(cost.unsqueeze(1), target, pixel_weight)
    return total / rays.num_directions  # pyright: ignore[reportReturnType]


def epl_line_loss(
    probs: Tensor,
    target: Target,
    kernel_size: int = 7,
    splitter: str = 'A',
    mu: int = 10,
    edc: str = 'paper',
    variant: str = 'paper',
    padding: str = 'constant',
    sc_scale: str = 'match',
    class_weight: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """Eq. (4): the mean over the directions, and over the images and classes that have lines, of
    the sum over the levels of 1 - EDC."""
    target.require_shape(probs)
    rays, total = Rays(kernel_size, splitter, padding, sc_scale), 0.0
    h, weights = rays.half_width, as_class_weight(class_weight, probs)
    target_fields = ray_sums(target.masks.to(probs.dtype), rays)
    predictions = ray_sums(target.masked(probs), rays)
    for target_field, prediction in zip(target_fields, predictions, strict=True):
        region, chosen = line_regions(target_field, prediction, target.valid, h)
        if variant == 'authors':
            terms = authors_line_terms(
                target_field, prediction, region, chosen, target.valid, h, mu
            )
            total = total + terms
        else:
            terms = line_terms(target_field, prediction, region, chosen, h, mu, edc)
            total = total + mean_over(region.any(3).any(2), terms, weights)
    return total / rays.num_directions  # pyright: ignore[reportReturnType]


def line_regions(
    target_field: Tensor, prediction: Tensor, valid: Tensor, h: int
) -> tuple[Tensor, Tensor]:
    """The pixels of the true lines and, eq. (4), as many pixels of the prediction.

    The prediction's are those of the same ranks: where n0 valid pixels of the target lie outside
    (energy 0), the n0 lowest energies are passed over. Ties go by pixel index, row by row. Half
    levels part the levels, so that the fractional energies of the scaled 'SC' have regions too.

    Args:
        target_field, prediction: (N, K, H, W) energies.
        valid: (N, 1, H, W) bool.
        h: the number of levels.

    Returns:
        Two (N, K, H, W) bool masks, of equal size per image and class.
    """
    outside = valid & (target_field < 0.5)
    region = valid & (target_field >= 0.5) & (target_field < h + 0.5)
    first = outside.sum((2, 3))[..., None]
    size = region.sum((2, 3))[..., None]
    # Void pixels get the last ranks, which no region reaches.
    order = prediction.masked_fill(~valid, torch.inf).flatten(2).argsort(stable=True)
    ranks = torch.arange(order.shape[2], device=order.device).expand_as(order)
    chosen_in_order = (ranks >= first) & (ranks < first + size)
    chosen = torch.zeros_like(chosen_in_order).scatter(2, order, chosen_in_order)
    return region, chosen.view_as(region)


def closeness(energies: Tensor, tau: int, mu: int) -> Tensor:
    """exp(-|energy - tau|^mu), in [0, 1]: 1 on the level, exp(-1) one level away."""
    # Beyond this distance the result is below 2e-35. Unclamped, the power overflows in wide kernels
    # and the gradient is inf x 0.
    far = 80 ** (1 / mu)
    return (energies - tau).clamp(-far, far).pow(mu).neg().exp()


def line_terms(
    target_field: Tensor,
    prediction: Tensor,
    region: Tensor,
    chosen: Tensor,
    h: int,
    mu: int,
    edc: str,
) -> Tensor:
    """(N, K) float, the sum over the levels of 1 - EDC; 0 where the target has no line.

    With d and d̂ the closeness in the two regions,

        EDC = C 2 |d d̂| / (|d| + |d̂|),  C = |d| / |d d|        ('paper')
        EDC = 2 |d d̂| / (|d d| + |d̂ d̂|)                        ('squared')

    where Algorithm 1 prints |d d̂| in the place of |d d|, by which the intersection cancels.
    """

    def level(tau: int) -> Tensor:
        d = closeness(target_field, tau, mu).masked_fill(~region, 0)
        d_hat = closeness(prediction, tau, mu).masked_fill(~chosen, 0)
        has_line = (region & ((target_field - tau).abs() <= 0.5)).any(3).any(2)
        g, p = d.sum((2, 3)), d_hat.sum((2, 3))
        intersection, q = (d * d_hat).sum((2, 3)), d.square().sum((2, 3))
        if edc == 'paper':
            numerator, denominator = 2 * g * intersection, q * (g + p)
        else:
            numerator, denominator = 2 * intersection, q + d_hat.square().sum((2, 3))
        # The denominator is set before the division: `where` after it would pass NaN gradients.
        ratio = numerator / denominator.where(has_line, 1)
        return (1 - ratio).where(has_line, 0)

    return _sum_over_levels(level, h)


def authors_line_terms(
    target_field: Tensor,
    prediction: Tensor,
    region: Tensor,
    chosen: Tensor,
    valid: Tensor,
    h: int,
    mu: int,
) -> Tensor:
    """The published code's sum over the levels of 1 - EDC, a scalar.

    Its energies are 0 outside of the regions, and count; its sums are those of all images and
    classes, with 1 for smoothness. A level without a pixel adds 0, unlike in that code.
    """
    target_field = target_field.masked_fill(~region, 0)
    prediction = prediction.masked_fill(~chosen, 0)

    def level(tau: int) -> Tensor:
        d = closeness(target_field, tau, mu).masked_fill(~valid, 0)
        d_hat = closeness(prediction, tau, mu).masked_fill(~valid, 0)
        g, p, q = d.sum(), d_hat.sum(), d.square().sum()
        has_line = (region & ((target_field - tau).abs() <= 0.5)).any()
        numerator = 2 * ((d * d_hat).sum() + 1) * g
        ratio = numerator / ((g + p + 1) * q).where(has_line, 1)
        return (1 - ratio).where(has_line, 0)

    return _sum_over_levels(level, h)


def _sum_over_levels(level: Callable[[int], Tensor], h: int) -> Tensor:
    # What a level needs for its gradient is computed again in backward: kept for h levels in all
    # directions it is many times the memory of the network (14.5 GiB for 2 x 19 x 512 x 1024
    # and kernel 23).
    levels = [
        checkpoint(level, tau, use_reentrant=False, preserve_rng_state=False)
        for tau in range(1, h + 1)
    ]
    return torch.stack(levels).sum(0)  # pyright: ignore[reportArgumentType]

"""The equipotential line loss of EPL, eq. (4) and Algorithm 1."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...choices import require_choice
from ...compiled import left_out_of_graphs
from ...devices import is_queued
from ...labels import Target
from ..blocks import (
    as_it_stands,
    at_least_float32,
    class_blocks,
    compile_kernels,
    keep_valid,
    kernels_for,
    valid_bits,
)
from ..once_differentiable import once_differentiable
from ..reduction import as_class_weight, mean_over
from .ranks import RankWindow, empty_window, rank_window
from .rays import (
    Rays,
    ray_sum_within,
    ray_sums_transpose,
    ray_sums_within,
    with_margins,
)

EDCS = ('paper', 'squared')
VARIANTS = ('paper', 'authors')


@dataclass(frozen=True)
class LineForm:
    """What the lines are, and how they are compared: arguments of `epl_line_loss`.

    Raises:
        ValueError: an argument is out of its range, or has no meaning in `variant='authors'`.
    """

    rays: Rays
    mu: int = 10
    edc: str = 'paper'
    variant: str = 'paper'

    def __post_init__(self) -> None:
        require_choice('edc', self.edc, EDCS)
        require_choice('variant', self.variant, VARIANTS)
        if not isinstance(self.mu, int) or self.mu < 2 or self.mu % 2:
            raise ValueError(
                f'mu is {self.mu!r}; give an even number, 2 or more (the paper: 2 to 20).'
            )
        if self.authors and self.edc != 'paper':
            raise ValueError(
                f"edc is {self.edc!r}, but variant='authors' has a ratio of its own; leave "
                "edc='paper'."
            )

    @property
    def h(self) -> int:
        """The number of levels."""
        return self.rays.half_width

    @property
    def authors(self) -> bool:
        """As in the published code, pixels outside of the regions count with the energy 0."""
        return self.variant == 'authors'

    @property
    def num_sums(self) -> int:
        """Of the prediction, per level: P, I and, where EDC has it, the sum of d̂^2."""
        return 3 if self.edc == 'squared' else 2


@left_out_of_graphs
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
    """Equipotential line loss of EPL, eq. (4) and Algorithm 1: how far the lines lie apart.

    For image n, class k, direction s and each level tau = 1..h of which the target has a pixel:

        d  = exp(-|E - tau|^mu)  on the true line region, the pixels with energies 1..h
        d̂ = exp(-|Ê - tau|^mu)  on the predicted region, as many pixels, chosen by the rank of Ê
        EDC = 2 G I / (Q (G + P))    with G = sum d, P = sum d̂, I = sum d d̂, Q = sum d^2
        L = mean over s, over (n, k) with a line region, of  sum over tau of (1 - EDC)

    Args:
        probs: (N, K, H, W) float, in [0, 1]; half types are taken to float32.
        target: the labels, from `labels.encode`.
        kernel_size: odd, in pixels.
        splitter: 'A', 'B', 'C' or the ablation 'SC' (see `rays.Rays`).
        mu: even, 2 or more. 2 has a gradient at every energy, 10 and more only one level away.
        edc: 'paper' as above; 'squared' takes 2 I / (Q + sum d̂^2), which is 1 only for d̂ = d.
        variant: 'paper' as above; 'authors' replicates the published code (see Deviations).
        padding: what lies beyond the image, 'constant' (0) or 'replicate'.
        sc_scale: for 'SC' alone, see `rays.Rays`.
        class_weight: (K,) non-negative weights of the mean over (n, k); None weighs all alike.

    Returns:
        A scalar, about [0, h] ('paper' can fall a little below 0, since its EDC can exceed 1); 0
        with a graph if there is no line, as in a batch without a valid pixel.

    Raises:
        ValueError: an argument is out of its range, or has no meaning in `variant='authors'`, or
            `probs` and `target` differ in shape.

    Deviations:
        Algorithm 1 as printed cancels the intersection: its value falls as the prediction fades,
        wherever the lines are. The factor of line 11 has to be |d| / |d d|, from the target alone,
        as in the authors' code. That code multiplies the energies by the region masks, so that all
        pixels outside count as energy 0, which silences level 1; it pools the sums over all images
        and classes, and adds 1 for smoothness, which takes small lines past a perfect match.
        `variant='authors'` does all three, but a level of which the target has no pixel (an energy
        within half a level of it) adds 0: in the code its term is NaN or, with a low mu and few
        valid pixels, as low as -1e16. Void is in no region; the code knows no void.
    """
    rays = Rays(kernel_size, splitter, padding, sc_scale)
    form = LineForm(rays, mu, edc, variant)
    require_no_class_weight(form, class_weight)
    target.require_shape(probs)
    probs = at_least_float32(probs)
    compile_kernels('EPL', _sums_of_prediction, probs, form)
    predicted, true = _LineSums.apply(probs, target.masks, target.valid, form)
    if form.authors:
        return authors_line_terms(predicted.sum((3, 4)), true.sum((3, 4))).sum(0).mean()
    lines = line_terms(predicted, true, edc).sum(0)
    has_lines = (true[2] > 0).any(0)
    return mean_over(has_lines, lines, as_class_weight(class_weight, probs)).mean()


def require_no_class_weight(form: LineForm, class_weight: object) -> None:
    """Raises a ValueError for weights that the authors' variant has no use for."""
    if form.authors and class_weight is not None:
        raise ValueError(
            "class_weight has no meaning with variant='authors', which pools all classes; drop it "
            "or take variant='paper'."
        )


def line_terms(predicted: Tensor, true: Tensor, edc: str) -> Tensor:
    """1 - EDC of every level, from the sums of `line_sums`; 0 where the target has none."""
    (p, intersection, *p_squared), (g, q, pixels) = predicted, true
    if edc == 'paper':
        numerator, denominator = 2 * g * intersection, q * (g + p)
    else:
        numerator, denominator = 2 * intersection, q + p_squared[0]
    # The denominator is set before the division: `where` after it would pass NaN gradients.
    ratio = numerator / denominator.where(pixels > 0, 1)
    return (1 - ratio).where(pixels > 0, 0)


def authors_line_terms(predicted: Tensor, true: Tensor) -> Tensor:
    """The published code's 1 - EDC of every level, from sums over all images and classes."""
    (p, intersection), (g, q, pixels) = predicted, true
    has_line = pixels > 0
    ratio = (2 * (intersection + 1) * g) / ((g + p + 1) * q).where(has_line, 1)
    return (1 - ratio).where(has_line, 0)


class _LineSums(torch.autograd.Function):
    """`line_sums` of all images and classes, each (2 or 3, h, D, N, K) float; those of the target
    have no gradient."""

    @staticmethod
    def forward(
        ctx, probs: Tensor, masks: Tensor, valid: Tensor, form: LineForm
    ) -> tuple[Tensor, Tensor]:
        kernels, num_valid = kernels_for(probs), valid.sum((1, 2, 3))
        fields_of = _fields(probs, masks, valid, kernels, form.rays)
        directions = form.rays.num_directions

        def sums_of(n: int, some: slice) -> tuple[Tensor, Tensor, RankWindow]:
            if _without_lines(masks[n, some], form):
                nothing = no_sums.expand(*no_sums.shape[:-1], masks[n, some].shape[0])
                return nothing[3:], nothing[:3], empty_window(nothing.shape[2:], probs)
            return line_sums(*fields_of(n, some), num_valid[n], form, kernels, probs.shape[3])

        no_sums = probs.new_zeros(form.num_sums + 3, form.h, directions, 1)
        predicted, true, windows = [no_sums[3:, ..., :0]], [no_sums[:3, ..., :0]], []
        for n, some in class_blocks(probs):
            of_prediction, of_target, window = sums_of(n, some)
            predicted.append(of_prediction)
            true.append(of_target)
            windows += window
        ctx.save_for_backward(probs, masks, valid, *windows)
        ctx.form = form
        predicted, true = (
            torch.cat(sums, -1).unflatten(-1, probs.shape[:2]) for sums in (predicted, true)
        )
        ctx.mark_non_differentiable(true)
        return predicted, true

    @staticmethod
    @once_differentiable('epl_line_loss')
    @left_out_of_graphs
    def backward(ctx, grad_output: Tensor, _: None) -> tuple:
        probs, masks, valid, *bounds = ctx.saved_tensors
        form, kernels, gradient = ctx.form, kernels_for(probs), torch.empty_like(probs)
        fields_of = _fields(probs, masks, valid, kernels, form.rays)
        per_direction = grad_output.permute(3, 2, 0, 1, 4).contiguous()

        def gradient_of(n: int, some: slice, window: RankWindow) -> Tensor | int:
            if _without_lines(masks[n, some], form):
                return 0
            of_sums = per_direction[n, ..., some]
            if is_queued(probs):
                of_fields = tuple(
                    kernels(gradient_in_one, s, form)(
                        probs[n, some],
                        masks[n, some],
                        valid[n],
                        RankWindow(*bounds),
                        each.contiguous(),
                    )
                    for s, (each, *bounds) in enumerate(zip(of_sums, *window, strict=True))
                )
            else:
                of_sums = of_sums.permute(1, 2, 0, 3).contiguous()
                of_fields = kernels(line_gradients, form)(*fields_of(n, some), window, of_sums)
                of_fields = of_fields.unflatten(-1, probs.shape[2:])
            return ray_sums_transpose(of_fields, form.rays, kernels)

        windows = zip(*[iter(bounds)] * len(RankWindow._fields), strict=True)
        for (n, some), window in zip(class_blocks(probs), windows, strict=True):
            gradient[n, some] = gradient_of(n, some, RankWindow(*window))
        return keep_valid(gradient, valid_bits(valid, probs)), *[None] * 3


def _sums_of_prediction(probs: Tensor, target: Target, form: LineForm) -> Tensor:
    return _LineSums.apply(probs, target.masks, target.valid, form)[0]


def _without_lines(masks: Tensor, form: LineForm) -> bool:
    """Whether all the classes are absent; False on CUDA, where nothing is read back."""
    return not form.authors and not is_queued(masks) and not masks.any()


def _fields(
    probs: Tensor, masks: Tensor, valid: Tensor, kernels: Callable[..., Callable], rays: Rays
) -> Callable[[int, slice], tuple[Tensor, Tensor]]:
    """Of a block of classes, the energies of target and prediction, (D, K, H * W); inf at void,
    beyond every rank."""
    if is_queued(probs):
        in_one = kernels(fields_in_one, rays)
        return lambda n, some: in_one(probs[n, some], masks[n, some], valid[n])
    within, bits = kernels(_fields_within, rays), valid_bits(valid, probs)
    beyond = _beyond(valid, probs)

    def fields_of(n: int, some: slice) -> tuple[Tensor, Tensor]:
        both = torch.cat([masks[n, some].to(probs.dtype), probs[n, some]])
        keep_valid(both[len(both) // 2 :], bits[n])
        return within(with_margins(both, rays), beyond[n]).chunk(2, 1)

    return fields_of


def _beyond(valid: Tensor, like: Tensor) -> Tensor:
    """inf at void, 0 elsewhere, to be added to energies."""
    return like.new_zeros(valid.shape).masked_fill_(~valid, torch.inf)


def _fields_within(canvas: Tensor, beyond: Tensor, rays: Rays) -> Tensor:
    return (ray_sums_within(canvas, rays) + beyond).flatten(2)


def fields_in_one(probs: Tensor, masks: Tensor, valid: Tensor, rays: Rays) -> tuple[Tensor, Tensor]:
    """`_fields` as a kernel that writes these alone."""
    directions = range(rays.num_directions)
    target_field, energies = (
        torch.stack(each).flatten(2)
        for each in zip(
            *(_field_pair(probs, masks, valid, s, rays) for s in directions), strict=True
        )
    )
    return target_field, energies


def _field_pair(
    probs: Tensor, masks: Tensor, valid: Tensor, direction: int, rays: Rays
) -> tuple[Tensor, ...]:
    """The (K, H, W) fields of target and prediction for one direction."""
    maps = masks.to(probs.dtype), probs.where(valid, 0)
    return tuple(
        ray_sum_within(with_margins(each, rays), rays, direction, _beyond(valid, each))
        for each in maps
    )


# --- From fields to sums --------------------------------------------------------------------------


def line_sums(
    target_field: Tensor,
    energies: Tensor,
    num_valid: Tensor,
    form: LineForm,
    kernels: Callable[..., Callable] = as_it_stands,
    width: int | None = None,
) -> tuple[Tensor, Tensor, RankWindow]:
    """The sums that the loss is made of, from the fields of target and prediction.

    Args:
        target_field, energies: (D, K, M) float, inf at void.
        num_valid: integer, how many of the M pixels are not void.
        kernels: `blocks.kernels_for`, to have them compiled.
        width: of the image, for `rank_window`.

    Returns:
        predicted: (2 or 3, h, D, K), per level P = sum d̂, I = sum d d̂ and, for the 'squared' EDC,
            sum d̂^2.
        true: (3, h, D, K), G = sum d, Q = sum d^2 and the number of pixels on the level.
        window: (D, K), the predicted region, eq. (4): the pixels that have the ranks of the true
            one. The lowest energies of the prediction, as many as there are outside, are passed
            over. Ties go by index, row by row.
    """
    counts = kernels(level_counts, form.h)(target_field)
    compiling = None if kernels is as_it_stands else kernels
    window = rank_window(
        energies, counts[0], counts[1:].sum(0, dtype=torch.int32), compiling, width
    )
    predicted = kernels(sums_of_prediction, form)(target_field, energies, window)
    few = kernels if is_queued(energies) else as_it_stands  # a launch takes longer than they do
    true = few(sums_of_target, form)(target_field, counts, num_valid)
    return predicted, true, window


def level_counts(target_field: Tensor, h: int) -> Tensor:
    """(h + 1, D, K) int32: how many pixels have the energies 0 (outside) and 1..h, to the nearest
    level, so that the fractional energies of the scaled 'SC' have regions too."""
    levels = [(target_field >= tau - 0.5) & (target_field < tau + 0.5) for tau in range(h + 1)]
    return torch.stack([level.sum(-1, dtype=torch.int32) for level in levels])


def sums_of_target(
    target_field: Tensor, counts: Tensor, num_valid: Tensor, form: LineForm
) -> Tensor:
    """(3, h, D, K), as in `line_sums`, from the (D, K, M) energies and their `level_counts`."""
    levels = torch.arange(1, form.h + 1, dtype=target_field.dtype, device=target_field.device)
    pixels = counts[1:].to(target_field.dtype)
    if form.rays.is_box:
        region = _line_region(target_field, form.h)
        d = torch.stack([closeness(target_field, tau, form.mu) for tau in levels]).where(region, 0)
        g, q = d.sum(-1), d.square().sum(-1)
    else:
        # All pixels of a level have the same d. Not a product of matrices: autocast would round.
        d = closeness(levels, levels.unsqueeze(1), form.mu)
        g, q = ((table.view(*table.shape, 1, 1) * pixels).sum(1) for table in (d, d.square()))
    if form.authors:
        outside = num_valid - counts[1:].sum(0)
        d = closeness(levels, 0, form.mu).view(-1, 1, 1)
        g, q = g + outside * d, q + outside * d.square()
    return torch.stack([g, q, pixels])


def sums_of_prediction(
    target_field: Tensor, energies: Tensor, window: RankWindow, form: LineForm
) -> Tensor:
    """(2 or 3, h, D, K), as in `line_sums`. P is NaN where the fields are."""
    target_field, region, energies, chosen = _regions(target_field, energies, window, form)
    sums = []
    for tau in range(1, form.h + 1):
        d = _closeness_of_target(target_field, tau, form).where(region, 0)
        d_hat = closeness(energies, tau, form.mu).where(chosen, 0)
        p = d_hat.sum(-1).masked_fill(window.low.isnan(), torch.nan)
        sums += [p, (d * d_hat).sum(-1)]
        if form.edc == 'squared':
            sums.append(d_hat.square().sum(-1))
    return torch.stack(sums).unflatten(0, (form.h, form.num_sums)).transpose(0, 1)


def line_gradients(
    target_field: Tensor, energies: Tensor, window: RankWindow, grad_output: Tensor, form: LineForm
) -> Tensor:
    """The gradient of the energies, given that of `sums_of_prediction`.

    Args:
        target_field, energies: (D, K, M), or those of one direction, (K, H, W).
        grad_output: (2 or 3, h, D, K) or (2 or 3, h, K).
    """
    grad_output = grad_output.view(*grad_output.shape, *[1] * (energies.dim() - window.low.dim()))
    chosen = window.contains(energies)
    target_field, region, energies, _ = _regions(target_field, energies, window, form)
    total = torch.zeros_like(energies)
    for tau, (grad_p, grad_i, *grad_square) in enumerate(grad_output.unbind(1), 1):
        d = _closeness_of_target(target_field, tau, form).where(region, 0)
        d_hat = closeness(energies, tau, form.mu)
        grad = grad_p + grad_i * d
        if form.edc == 'squared':
            grad = grad + 2 * grad_square[0] * d_hat
        grad = grad * d_hat * -form.mu * _power(energies - tau, form.mu - 1)
        total = total + grad.where(d_hat > 0, 0)  # far away the power is inf, and inf x 0 is NaN
    return total.where(chosen, 0)


def gradient_in_one(
    probs: Tensor,
    masks: Tensor,
    valid: Tensor,
    window: RankWindow,
    grad_output: Tensor,
    direction: int,
    form: LineForm,
) -> Tensor:
    """(K, H, W): `line_gradients` for one direction, as a kernel that does not write the fields."""
    target_field, energies = _field_pair(probs, masks, valid, direction, form.rays)
    return line_gradients(target_field, energies, window, grad_output, form)


def _regions(
    target_field: Tensor, energies: Tensor, window: RankWindow, form: LineForm
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both fields, each followed by the mask of the pixels that count."""
    region, chosen = _line_region(target_field, form.h), window.contains(energies)
    if not form.authors:
        return target_field, region, energies, chosen
    valid = target_field.isfinite()
    return target_field.where(region, 0), valid, energies.where(chosen, 0), valid


def _line_region(target_field: Tensor, h: int) -> Tensor:
    return (target_field >= 0.5) & (target_field < h + 0.5)


# Beyond it, exp(-x) counts for nothing in a float32 sum with a pixel on the level, and products of
# two of them are subnormal numbers, which processors handle slowly.
NEGLIGIBLE = 43


def closeness(energies: Tensor, tau: int | Tensor, mu: int) -> Tensor:
    """exp(-|energy - tau|^mu), in [0, 1]: 1 on the level, exp(-1) one level away.

    0 where it would be below 2e-19.
    """
    exponent = _power(energies - tau, mu)
    return exponent.clamp(max=NEGLIGIBLE).neg().exp().where(exponent < NEGLIGIBLE, 0)


def _closeness_of_target(target_field: Tensor, tau: int, form: LineForm) -> Tensor:
    if form.rays.is_box or form.mu == 2:
        return closeness(target_field, tau, form.mu)
    # Integer energies are few levels away or negligible: a lookup is faster than the exponential.
    distance, d = (target_field - tau).abs(), torch.zeros_like(target_field)
    for steps in range(3):
        if steps**form.mu < NEGLIGIBLE:
            d = d.masked_fill(distance == steps, math.exp(-(steps**form.mu)))
    return d


def _power(base: Tensor, exponent: int) -> Tensor:
    """By products: torch's `pow` takes as long as several exponentials."""
    if exponent == 1:
        return base
    half = _power(base, exponent // 2)
    return half * half * base if exponent % 2 else half * half

"""Equipotential Learning (Yin et al., "Contour-Aware Equipotential Learning for Semantic
Segmentation", IEEE TMM 2022; code: github.com/XuYin94/Contour-aware-equipotential-learning, MIT).

Sums along rays (`geometry.rays`) turn the truth and the prediction of every class into potential
fields. The point loss compares the fields pixel by pixel, the line loss the course of their
equipotential lines. Symbols: E and Ê the energies of truth and prediction, s a direction, h the
half width of the kernel, so that the lines have the energies tau = 1..h.

On CUDA nothing is read back to the host. Both losses train: gradients flow to `probs`, once;
second derivatives are refused.
`torch.compile` of a model around them leaves them out: large batches compile kernels of their own.

How they are made: fields are many times the size of the probabilities (four or eight directions,
h levels), so none is kept. A few planes at a time, the fields are summed up as soon as they exist,
and made again for the gradient.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..geometry.ranks import RankWindow, empty_window, rank_window
from ..geometry.rays import (
    count_directions,
    ray_sums_transpose,
    ray_sums_transpose_within,
    ray_sums_within,
    require_rays,
    with_margins,
)
from ..labels import Target, as_class_weight, encode, mean_over
from .compiled import compiled, is_compiled, left_out_of_graphs
from .decode_head_loss import DecodeHeadLoss
from .once_differentiable import once_differentiable

NORMS = ('l1', 'l2', 'pixel')
EDCS = ('paper', 'squared')
VARIANTS = ('paper', 'authors')


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
        splitter: 'A', 'B', 'C' or the ablation 'SC' (see `geometry.rays.ray_sums`).
        norm: 'l2' the square above; 'l1' the absolute value; 'pixel' the Euclidean norm over the
            classes of each pixel, sqrt(K sum_k w_k (E - Ê)^2 / sum_k w_k), averaged over pixels.
        padding: what lies beyond the image, 'replicate' or 'constant' (0).
        sc_scale: for 'SC' alone, see `geometry.rays.ray_sums`.
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
    require_point_options(kernel_size, splitter, norm, padding, sc_scale)
    target.require_shape(probs)
    probs = _at_least_float32(probs)
    weights = as_class_weight(class_weight, probs)
    weights = (weights / weights.sum()).view(-1, 1, 1)  # of all classes together: 1

    power = 1 if norm == 'l1' else 2
    rays = (kernel_size, splitter, padding, sc_scale)
    _compile(_FieldGaps, probs, power, rays)
    # (N, D, H, W): summed over the classes
    cost = _FieldGaps.apply(probs, target.planes, target.valid, weights, power, rays)
    if norm == 'pixel':
        apart = cost > 0  # the root has no finite gradient at 0
        cost = (probs.shape[1] * cost).where(apart, 1).sqrt().where(apart, 0)
    if pixel_weight is not None:
        cost = pixel_weight.unsqueeze(1) * cost
    directions = cost.shape[1]
    return target.masked(cost).sum() / (directions * target.valid.sum().clamp(min=1))


class _FieldGaps(torch.autograd.Function):
    """(N, D, H, W) float: per direction the sum over k of w_k |E - Ê|^power."""

    @staticmethod
    def forward(
        ctx,
        probs: Tensor,
        planes: Tensor,
        valid: Tensor,
        weights: Tensor,
        power: int,
        rays: tuple,
    ) -> Tensor:
        ctx.save_for_backward(probs, planes, valid, weights)
        ctx.power, ctx.rays = power, rays
        kernel = _kernel(_gap_costs, probs, power, rays)
        bits = _bits(valid, probs)
        costs = probs.new_zeros(len(probs), count_directions(rays[1]), *probs.shape[2:])
        for n, some in _few_planes(probs):
            canvas = _difference(probs[n, some], planes[n, some], bits[n], rays)
            costs[n] += kernel(canvas, weights[some])
        return costs

    @staticmethod
    @once_differentiable('epl_point_loss')
    @left_out_of_graphs
    def backward(ctx, slopes: Tensor) -> tuple:
        probs, planes, valid, weights = ctx.saved_tensors
        kernel = _kernel(_gap_pulls, probs, ctx.power, ctx.rays)
        add_back = _kernel(ray_sums_transpose_within, probs, *ctx.rays)
        bits, slopes = _bits(valid, probs), slopes.contiguous()
        gradient = torch.empty_like(probs)
        for n, some in _few_planes(probs):
            canvas = _difference(probs[n, some], planes[n, some], bits[n], ctx.rays)
            pulls = kernel(canvas, slopes[n], weights[some])
            gradient[n, some] = ray_sums_transpose(pulls, *ctx.rays, within=add_back)
        return _keep_valid(gradient, bits), *[None] * 5


def _difference(probs: Tensor, planes: Tensor, bits: Tensor, rays: tuple) -> Tensor:
    """With its margins. Ray sums are linear: the difference of two fields is the field of this."""
    kernel_size, _, padding, _ = rays
    difference = planes.to(probs.dtype).sub_(probs)
    return with_margins(_keep_valid(difference, bits), kernel_size // 2, padding)


def _gap_costs(canvas: Tensor, weights: Tensor, power: int, rays: tuple) -> Tensor:
    gaps = ray_sums_within(canvas, *rays)
    return ((gaps.abs() if power == 1 else gaps.square()) * weights).sum(1)


def _gap_pulls(canvas: Tensor, slopes: Tensor, weights: Tensor, power: int, rays: tuple) -> Tensor:
    """The gradient of the predicted fields, given the `slopes`, that of `_gap_costs`."""
    gaps = ray_sums_within(canvas, *rays)
    return (gaps.sign() if power == 1 else 2 * gaps) * -weights * slopes.unsqueeze(1)


def _bits(valid: Tensor, probs: Tensor) -> Tensor:
    """(N, 1, H, W) integer: all bits of a number of `probs` where pixels are valid, else none."""
    return -valid.to(torch.int64 if probs.dtype == torch.float64 else torch.int32)


def _keep_valid(fields: Tensor, bits: Tensor) -> Tensor:
    """0 at void, in place, whatever there was: several times as fast as `where`."""
    fields.view(bits.dtype).bitwise_and_(bits)
    return fields


def _at_least_float32(probs: Tensor) -> Tensor:
    return probs.float() if probs.dtype in (torch.float16, torch.bfloat16) else probs


def _few_planes(probs: Tensor) -> Iterator[tuple[int, slice]]:
    """The image and classes of planes that are handled at once."""
    count = _planes_at_once(probs)
    for n in range(len(probs)):
        for k in range(0, probs.shape[1], count):
            yield n, slice(k, k + count)


def _planes_at_once(probs: Tensor) -> int:
    """On the CPU about what its caches hold; on CUDA enough to fill the device. Never a single one
    beside several, for which kernels are compiled anew."""
    classes, pixels = probs.shape[1], probs.shape[2] * probs.shape[3]
    budget = 2**26 if probs.is_cuda else 2**17
    divisors = [count for count in range(1, classes + 1) if classes % count == 0]
    return max(count for count in divisors if count == 1 or count * pixels <= budget)


def _kind(probs: Tensor) -> tuple[bool, bool]:
    """What torch compiles for anew, sizes left open or not: several planes or one, and pictures of
    which it sums the pixels in one go or in several."""
    return _planes_at_once(probs) > 1, probs.shape[2] * probs.shape[3] > 4096


def _kernel(kernel: Callable, probs: Tensor, *constants: object) -> Callable:
    """`kernel` with its last arguments, compiled or as it stands."""
    if is_compiled(probs):
        kernel = compiled(kernel, (constants, _kind(probs), probs.dtype, probs.device))
    return lambda *tensors: kernel(*tensors, *constants)


def _compile(term: type[torch.autograd.Function], probs: Tensor, *options: object) -> None:
    """Compiles the kernels that `term` needs for `probs`, if they are not yet."""
    if is_compiled(probs):
        _compile_once(term, options, _kind(probs), probs.dtype, probs.device)


@functools.cache
def _compile_once(
    term: type[torch.autograd.Function],
    options: tuple,
    kind: tuple[bool, bool],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """By a picture that is always the same: what torch makes of a kernel depends on the sizes it is
    shown, even where it leaves them open. They differ, lest it takes one for another."""
    several, long = kind
    size = ((61, 72) if several else (361, 362)) if long else (31, 42)
    labels = torch.arange(size[0] * size[1], device=device).view(1, *size) // 7 % 2
    target = encode(labels, 29 if several else 1)
    weights = torch.ones(len(target.planes[0]), 1, 1, dtype=dtype, device=device)
    with torch.inference_mode(False), torch.enable_grad():
        probs = (target.planes.to(dtype) / 2).requires_grad_()
        given = (weights,) if term is _FieldGaps else ()
        sums = term.apply(probs, target.planes, target.valid, *given, *options)
        torch.autograd.grad((sums[0] if isinstance(sums, tuple) else sums).sum(), probs)


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

    For image n, class k, direction s and each level tau = 1..h of which the truth has a pixel:

        d  = exp(-|E - tau|^mu)  on the true line region, the pixels with energies 1..h
        d̂ = exp(-|Ê - tau|^mu)  on the predicted region, as many pixels, chosen by the rank of Ê
        EDC = 2 G I / (Q (G + P))    with G = sum d, P = sum d̂, I = sum d d̂, Q = sum d^2
        L = mean over s, over (n, k) with a line region, of  sum over tau of (1 - EDC)

    Args:
        probs: (N, K, H, W) float, in [0, 1]; half types are taken to float32.
        target: the labels, from `labels.encode`.
        kernel_size: odd, in pixels.
        splitter: 'A', 'B', 'C' or the ablation 'SC' (see `geometry.rays.ray_sums`).
        mu: even, 2 or more. 2 has a gradient at every energy, 10 and more only one level away.
        edc: 'paper' as above; 'squared' takes 2 I / (Q + sum d̂^2), which is 1 only for d̂ = d.
        variant: 'paper' as above; 'authors' replicates the published code (see Deviations).
        padding: what lies beyond the image, 'constant' (0) or 'replicate'.
        sc_scale: for 'SC' alone, see `geometry.rays.ray_sums`.
        class_weight: (K,) non-negative weights of the mean over (n, k); None weighs all alike.

    Returns:
        A scalar, about [0, h] ('paper' can fall a little below 0, since its EDC can exceed 1); 0
        with a graph if there is no line, as in a batch without a valid pixel.

    Raises:
        ValueError: an argument is out of its range, or has no meaning in `variant='authors'`, or
            `probs` and `target` differ in shape.

    Deviations:
        Algorithm 1 as printed cancels the intersection: its value falls as the prediction fades,
        wherever the lines are. The factor of line 11 has to be |d| / |d d|, from the truth alone,
        as in the authors' code. That code multiplies the energies by the region masks, so that all
        pixels outside count as energy 0, which silences level 1; it pools the sums over all images
        and classes, and adds 1 for smoothness, which takes small lines past a perfect match.
        `variant='authors'` does all three, but a level of which the truth has no pixel (an energy
        within half a level of it) adds 0: in the code its term is no number or, with a low mu and
        few valid pixels, as low as -1e16. Void is in no region; the code knows no void.
    """
    require_line_options(kernel_size, splitter, mu, edc, variant, padding, sc_scale, class_weight)
    target.require_shape(probs)
    probs = _at_least_float32(probs)
    rays = (kernel_size, splitter, padding, sc_scale)
    form = LineForm(kernel_size // 2, mu, edc == 'squared', variant == 'authors', splitter == 'SC')
    _compile(_LineSums, probs, form, rays)
    predicted, true = _LineSums.apply(probs, target.planes, target.valid, form, rays)
    if variant == 'authors':
        return authors_line_terms(predicted.sum((3, 4)), true.sum((3, 4))).sum(0).mean()
    lines = line_terms(predicted, true, edc).sum(0)
    weights = as_class_weight(class_weight, probs)
    has_lines = (true[2] > 0).any(0)
    per_direction = [mean_over(*each, weights) for each in zip(has_lines, lines, strict=True)]
    return torch.stack(per_direction).mean()


def line_terms(predicted: Tensor, true: Tensor, edc: str) -> Tensor:
    """1 - EDC of every level, from the sums that `line_sums` makes; 0 where the truth has none."""
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


class LineForm(NamedTuple):
    """What the sums over a line region are made with."""

    h: int
    mu: int
    squares: bool = False  # with the third sum, of d̂^2
    # As the published code has it: pixels outside of the regions are not left out, but count with
    # the energy 0.
    code: bool = False
    fractional: bool = False  # the truth has energies between the levels ('SC')


class _LineSums(torch.autograd.Function):
    """The sums of d̂ (`line_sums`) and of d (G, Q and the pixels on the level) for all planes, each
    (2 or 3, h, D, N, K) float; those of d have no gradient."""

    @staticmethod
    def forward(
        ctx, probs: Tensor, planes: Tensor, valid: Tensor, form: LineForm, rays: tuple
    ) -> tuple[Tensor, Tensor]:
        add_rays = _kernel(_fields_within, probs, rays)
        count, sum_up = _kernel(level_counts, probs, form.h), _kernel(line_sums, probs, form)
        bits, beyond = _bits(valid, probs), _beyond(valid, probs)
        shape = count_directions(rays[1]), *probs.shape[:2]
        counts = probs.new_zeros(form.h + 1, *shape, dtype=torch.int32)
        true = probs.new_zeros(2, form.h, *shape)
        predicted = probs.new_zeros(3 if form.squares else 2, form.h, *shape)
        windows = empty_window(shape, probs)
        for n, some in _few_planes(probs):
            if _without_lines(planes[n, some], form):
                continue
            at = ..., n, some
            truth, energies = _fields(
                probs[n, some], planes[n, some], bits[n], beyond[n], add_rays, rays
            )
            counts[at] = count(truth)
            window = rank_window(energies, counts[at][0], counts[at][1:].sum(0))
            predicted[at] = sum_up(truth, energies, window)
            if form.fractional:
                true[at] = sums_of_truth(truth, form)
            for all_bounds, bounds in zip(windows, window, strict=True):
                all_bounds[at] = bounds
        if not form.fractional:
            true = sums_of_levels(counts.to(true.dtype), form.mu)
        if form.code:
            outside = valid.sum((1, 2, 3)).unsqueeze(1) - counts[1:].sum(0)
            levels = torch.arange(1, form.h + 1, device=probs.device).view(-1, 1, 1, 1)
            d = closeness(levels.to(true.dtype), 0, form.mu)
            true += outside * torch.stack([d, d * d])
        true = torch.cat([true, counts[1:].unsqueeze(0).to(true.dtype)])
        ctx.save_for_backward(probs, planes, valid, *windows)
        ctx.form, ctx.rays = form, rays
        ctx.mark_non_differentiable(true)
        return predicted, true

    @staticmethod
    @once_differentiable('epl_line_loss')
    @left_out_of_graphs
    def backward(ctx, slopes: Tensor, _: None) -> tuple:
        probs, planes, valid, *windows = ctx.saved_tensors
        add_rays, kernel = (
            _kernel(_fields_within, probs, ctx.rays),
            _kernel(line_slopes, probs, ctx.form),
        )
        add_back = _kernel(ray_sums_transpose_within, probs, *ctx.rays)
        bits, beyond = _bits(valid, probs), _beyond(valid, probs)
        gradient, size = torch.zeros_like(probs), probs.shape[2:]
        for n, some in _few_planes(probs):
            if _without_lines(planes[n, some], ctx.form):
                continue
            truth, energies = _fields(
                probs[n, some], planes[n, some], bits[n], beyond[n], add_rays, ctx.rays
            )
            window = RankWindow(*(bounds[:, n, some].contiguous() for bounds in windows))
            pulls = kernel(truth, energies, window, slopes[..., n, some].contiguous())
            pulls = pulls.unflatten(-1, size)
            gradient[n, some] = ray_sums_transpose(pulls, *ctx.rays, within=add_back)
        return _keep_valid(gradient, bits), *[None] * 4


def _without_lines(planes: Tensor, form: LineForm) -> bool:
    """Whether the classes are known to be absent, which is not asked on CUDA."""
    return not form.code and not planes.is_cuda and not planes.any()


def _beyond(valid: Tensor, probs: Tensor) -> Tensor:
    """(N, 1, H, W): what takes energies at void to infinity."""
    return probs.new_zeros(valid.shape).masked_fill_(~valid, torch.inf)


def _fields(
    probs: Tensor, planes: Tensor, bits: Tensor, beyond: Tensor, kernel: Callable, rays: tuple
) -> tuple[Tensor, Tensor]:
    """The energies of truth and prediction, (D, planes, H * W); inf at void, beyond every rank."""
    kernel_size, _, padding, _ = rays
    both = torch.cat([planes.to(probs.dtype), probs])
    _keep_valid(both[len(planes) :], bits)
    return kernel(with_margins(both, kernel_size // 2, padding), beyond).chunk(2, 1)


def _fields_within(canvas: Tensor, beyond: Tensor, rays: tuple) -> Tensor:
    return (ray_sums_within(canvas, *rays) + beyond).flatten(2)


def level_counts(truth: Tensor, h: int) -> Tensor:
    """(h + 1, D, K) int32: how many pixels have the energies 0 (outside) and 1..h, to the nearest
    level, so that the fractional energies of the scaled 'SC' have regions too.

    The predicted region, eq. (4), has the ranks of the true one: the lowest energies of the
    prediction, as many as there are outside, are passed over. Ties go by index, row by row.
    """
    levels = [(truth >= tau - 0.5) & (truth < tau + 0.5) for tau in range(h + 1)]
    return torch.stack([level.sum(-1, dtype=torch.int32) for level in levels])


def sums_of_levels(counts: Tensor, mu: int) -> Tensor:
    """(2, h, ...) float: of the truth G = sum d and Q = sum d^2, from its `level_counts` as floats:
    all pixels of a level have the same d."""
    h = len(counts) - 1
    levels = torch.arange(1, h + 1, dtype=counts.dtype, device=counts.device)
    d = torch.stack([closeness(levels, tau, mu) for tau in range(1, h + 1)])
    # Not as a product of matrices, which autocast would round.
    d = d.view(h, h, *[1] * (counts.dim() - 1))
    return torch.stack([(table * counts[1:]).sum(1) for table in (d, d * d)])


def sums_of_truth(truth: Tensor, form: LineForm) -> Tensor:
    """`sums_of_levels` of (D, K, M) energies, also such as lie between the levels."""
    region = _line_region(truth, form.h)
    d = torch.stack(
        [closeness(truth, tau, form.mu).where(region, 0) for tau in range(1, form.h + 1)]
    )
    return torch.stack([d.sum(-1), d.square().sum(-1)])


def line_sums(truth: Tensor, energies: Tensor, window: RankWindow, form: LineForm) -> Tensor:
    """(2 or 3, h, D, K) float: of the prediction P = sum d̂, I = sum d d̂ and, with
    `form.squares`, sum d̂^2. P is NaN where the fields are.

    Args:
        truth, energies: (D, K, M), inf at void.
        window: (D, K), the predicted region.
    """
    truth, region, energies, chosen = _regions(truth, energies, window, form)
    sums = []
    for tau in range(1, form.h + 1):
        d = _closeness_of_truth(truth, tau, form).where(region, 0)
        d_hat = closeness(energies, tau, form.mu).where(chosen, 0)
        p = d_hat.sum(-1).masked_fill(window.low.isnan(), torch.nan)
        level = [p, (d * d_hat).sum(-1)]
        if form.squares:
            level.append(d_hat.square().sum(-1))
        sums.append(torch.stack(level))
    return torch.stack(sums, 1)


def line_slopes(
    truth: Tensor, energies: Tensor, window: RankWindow, slopes: Tensor, form: LineForm
) -> Tensor:
    """(D, K, M): the gradient of the energies, given the `slopes`, that of `line_sums`."""
    chosen = window.contains(energies)
    truth, region, energies, _ = _regions(truth, energies, window, form)
    total = torch.zeros_like(energies)
    for tau, (slope_p, slope_i, *slope_square) in enumerate(slopes.unsqueeze(-1).unbind(1), 1):
        d = _closeness_of_truth(truth, tau, form).where(region, 0)
        d_hat = closeness(energies, tau, form.mu)
        slope = slope_p + slope_i * d
        if form.squares:
            slope = slope + 2 * slope_square[0] * d_hat
        pull = slope * d_hat * -form.mu * _power(energies - tau, form.mu - 1)
        total = total + pull.where(d_hat > 0, 0)  # far away the power is inf, and inf x 0 no number
    return total.where(chosen, 0)


def _regions(
    truth: Tensor, energies: Tensor, window: RankWindow, form: LineForm
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both fields with what counts of them."""
    region, chosen = _line_region(truth, form.h), window.contains(energies)
    if not form.code:
        return truth, region, energies, chosen
    valid = truth.isfinite()
    return truth.where(region, 0), valid, energies.where(chosen, 0), valid


def _line_region(truth: Tensor, h: int) -> Tensor:
    return (truth >= 0.5) & (truth < h + 0.5)


# Beyond it, exp(-x) counts for nothing in a float32 sum with a pixel on the level, and products of
# two of them are subnormal numbers, on which processors take ten times as long.
NEGLIGIBLE = 43


def closeness(energies: Tensor, tau: int, mu: int) -> Tensor:
    """exp(-|energy - tau|^mu), in [0, 1]: 1 on the level, exp(-1) one level away.

    0 where it would be below 2e-19.
    """
    exponent = _power(energies - tau, mu)
    return exponent.clamp(max=NEGLIGIBLE).neg().exp().where(exponent < NEGLIGIBLE, 0)


def _closeness_of_truth(truth: Tensor, tau: int, form: LineForm) -> Tensor:
    if form.fractional or form.mu == 2:
        return closeness(truth, tau, form.mu)
    # Whole energies are few levels away or negligible: to look them up is quicker than to compute.
    distance, d = (truth - tau).abs(), torch.zeros_like(truth)
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


def require_point_options(
    kernel_size: int, splitter: str, norm: str, padding: str, sc_scale: str
) -> None:
    """Raises the ValueErrors of `epl_point_loss`, before there is a batch."""
    require_rays(kernel_size, splitter, padding, sc_scale)
    _require_choice('norm', norm, NORMS)


def require_line_options(
    kernel_size: int,
    splitter: str,
    mu: int,
    edc: str,
    variant: str,
    padding: str,
    sc_scale: str,
    class_weight: object,
) -> None:
    """Raises the ValueErrors of `epl_line_loss`, before there is a batch."""
    require_rays(kernel_size, splitter, padding, sc_scale)
    _require_choice('edc', edc, EDCS)
    _require_choice('variant', variant, VARIANTS)
    if not isinstance(mu, int) or mu < 2 or mu % 2:
        raise ValueError(f'mu is {mu!r}; give an even number, 2 or more (the paper: 2 to 20).')
    if variant == 'authors' and edc != 'paper':
        raise ValueError(
            f"edc is {edc!r}, but variant='authors' has a ratio of its own; leave edc='paper'."
        )
    if variant == 'authors' and class_weight is not None:
        raise ValueError(
            "class_weight has no meaning with variant='authors', which pools all classes; drop it "
            "or take variant='paper'."
        )


def _require_choice(name: str, given: object, allowed: Sequence[str]) -> None:
    if given not in allowed:
        raise ValueError(f'{name} is {given!r}; choose one of {", ".join(map(repr, allowed))}.')


class EPLPointLoss(DecodeHeadLoss):
    """`epl_point_loss` as a module."""

    takes_pixel_weight = True

    def __init__(
        self,
        kernel_size: int = 7,
        splitter: str = 'A',
        norm: str = 'l2',
        padding: str = 'replicate',
        sc_scale: str = 'match',
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_epl_point',
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name, ignore_index)
        self.options = dict(
            kernel_size=kernel_size,
            splitter=splitter,
            norm=norm,
            padding=padding,
            sc_scale=sc_scale,
        )
        require_point_options(**self.options)

    def term(self, fields: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return epl_point_loss(
            fields, target, **self.options, class_weight=self.class_weight, pixel_weight=weight
        )


class EPLLineLoss(DecodeHeadLoss):
    """`epl_line_loss` as a module."""

    def __init__(
        self,
        kernel_size: int = 7,
        splitter: str = 'A',
        mu: int = 10,
        edc: str = 'paper',
        variant: str = 'paper',
        padding: str = 'constant',
        sc_scale: str = 'match',
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_epl_line',
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(
            use_sigmoid, class_weight, loss_weight, loss_name, ignore_index, pixel_weight
        )
        self.options = dict(
            kernel_size=kernel_size,
            splitter=splitter,
            mu=mu,
            edc=edc,
            variant=variant,
            padding=padding,
            sc_scale=sc_scale,
        )
        require_line_options(**self.options, class_weight=class_weight)

    def term(self, fields: Tensor, target: Target, weight: None) -> Tensor:
        return epl_line_loss(fields, target, **self.options, class_weight=self.class_weight)


class EPLLoss(DecodeHeadLoss):
    """EPL whole: `point_weight` x the point loss + `line_weight` x the line loss, in one entry.

    List `EPLPointLoss` and `EPLLineLoss` instead to see both in the log. The default weights are
    those of the published code; the paddings are the two losses' own.

    Args:
        kernel_size: one for both terms, or a (point, line) pair.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 7,
        splitter: str = 'A',
        mu: int = 10,
        norm: str = 'l2',
        edc: str = 'paper',
        variant: str = 'paper',
        point_weight: float = 0.02,
        line_weight: float = 0.2,
        sc_scale: str = 'match',
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_epl',
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(
            use_sigmoid, class_weight, loss_weight, loss_name, ignore_index, pixel_weight
        )
        sizes = kernel_size if isinstance(kernel_size, (list, tuple)) else (kernel_size,) * 2
        if len(sizes) != 2:
            raise ValueError(
                f'kernel_size is {kernel_size!r}; give one odd number or a (point, line) pair.'
            )
        shared: dict[str, Any] = dict(splitter=splitter, sc_scale=sc_scale, use_sigmoid=use_sigmoid)
        self.point = EPLPointLoss(
            sizes[0], norm=norm, class_weight=class_weight, loss_weight=point_weight, **shared
        )
        self.line = EPLLineLoss(
            sizes[1],
            mu=mu,
            edc=edc,
            variant=variant,
            class_weight=class_weight,
            loss_weight=line_weight,
            **shared,
        )

    def term(self, fields: Tensor, target: Target, weight: None) -> Tensor:
        point = self.point.loss_weight * self.point.term(fields, target, weight)
        return point + self.line.loss_weight * self.line.term(fields, target, weight)

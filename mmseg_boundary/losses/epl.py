"""Equipotential Learning (Yin et al., "Contour-Aware Equipotential Learning for Semantic
Segmentation", IEEE TMM 2022; code: github.com/XuYin94/Contour-aware-equipotential-learning, MIT).

Sums along rays (`geometry.rays`) turn the truth and the prediction of every class into potential
fields. The point loss compares the fields pixel by pixel, the line loss the course of their
equipotential lines. Symbols: E and Ê the energies of truth and prediction, s a direction, h the
half width of the kernel, so that the lines have the energies tau = 1..h.

On CUDA nothing is read back to the host. Both losses train: gradients flow to `probs`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..geometry.rays import ray_sums, require_rays
from ..labels import Target, as_class_weight, mean_over
from .decode_head_loss import DecodeHeadLoss

NORMS = ('l1', 'l2', 'pixel')
EDCS = ('paper', 'squared')
VARIANTS = ('paper', 'authors')


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
        probs: (N, K, H, W) float, in [0, 1].
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
        ValueError: an argument is out of its range.

    Deviations:
        A mean over pixels and classes where eq. (3) sums, as in the authors' code: a sum grows with
        the crop and no weight survives it. Void pixels are empty in both fields and not counted.
    """
    require_point_options(kernel_size, splitter, norm, padding, sc_scale)
    weights = as_class_weight(class_weight, probs)
    weights = (weights / weights.sum()).view(-1, 1, 1)  # of all classes together: 1

    # Ray sums are linear: the difference of the fields is the field of the difference.
    difference = target.masked(target.planes.to(probs.dtype) - probs)
    total, directions = 0.0, 0
    for gap in ray_sums(difference, kernel_size, splitter, padding, sc_scale):
        if norm == 'l2':
            cost = (weights * gap.square()).sum(1)
        elif norm == 'l1':
            cost = (weights * gap.abs()).sum(1)
        else:
            scale = (probs.shape[1] * weights).sqrt()
            # vector_norm, since the root of a sum has no finite gradient at 0
            cost = torch.linalg.vector_norm(scale * gap, dim=1)
        if pixel_weight is not None:
            cost = pixel_weight * cost
        total = total + target.masked(cost.unsqueeze(1)).sum()
        directions += 1
    return total / (directions * target.valid.sum().clamp(min=1))


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
        probs: (N, K, H, W) float, in [0, 1].
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
        ValueError: an argument is out of its range, or has no meaning in `variant='authors'`.

    Deviations:
        Algorithm 1 as printed cancels the intersection: its value falls as the prediction fades,
        wherever the lines are. The factor of line 11 has to be |d| / |d d|, from the truth alone,
        as in the authors' code. That code multiplies the energies by the region masks, so that all
        pixels outside count as energy 0, which silences level 1; it pools the sums over all images
        and classes, and adds 1 for smoothness, which takes small lines past a perfect match.
        `variant='authors'` does all three. Void is in no region; the code knows no void.
    """
    require_line_options(kernel_size, splitter, mu, edc, variant, padding, sc_scale, class_weight)
    h = kernel_size // 2
    weights = as_class_weight(class_weight, probs)
    truths = ray_sums(target.planes.to(probs.dtype), kernel_size, splitter, padding, sc_scale)
    predictions = ray_sums(target.masked(probs), kernel_size, splitter, padding, sc_scale)
    total, directions = 0.0, 0
    for truth, prediction in zip(truths, predictions, strict=True):
        region, chosen = line_regions(truth, prediction, target.valid, h)
        if variant == 'authors':
            total = total + authors_line_terms(
                truth, prediction, region, chosen, target.valid, h, mu
            )
        else:
            lines = line_terms(truth, prediction, region, chosen, h, mu, edc)
            total = total + mean_over(region.any((2, 3)), lines, weights)
        directions += 1
    return total / directions


def line_regions(truth: Tensor, prediction: Tensor, valid: Tensor, h: int) -> tuple[Tensor, Tensor]:
    """The pixels of the true lines and, eq. (4), as many pixels of the prediction.

    The prediction's are those of the same ranks: where n0 valid pixels of the truth lie outside
    (energy 0), the n0 lowest energies are passed over. Ties go by pixel index, row by row. Half
    levels part the levels, so that the fractional energies of the scaled 'SC' have regions too.

    Args:
        truth, prediction: (N, K, H, W) energies.
        valid: (N, 1, H, W) bool.
        h: the number of levels.

    Returns:
        Two (N, K, H, W) bool masks, of equal size per image and class.
    """
    outside = valid & (truth < 0.5)
    region = valid & (truth >= 0.5) & (truth < h + 0.5)
    first = outside.sum((2, 3))[..., None]
    size = region.sum((2, 3))[..., None]
    # Void pixels get the last ranks, which no region reaches.
    order = prediction.masked_fill(~valid, torch.inf).flatten(2).argsort(stable=True)
    ranks = torch.arange(order.shape[2], device=order.device).expand_as(order)
    chosen_in_order = (ranks >= first) & (ranks < first + size)
    chosen = torch.zeros_like(chosen_in_order).scatter(2, order, chosen_in_order)
    return region, chosen.view_as(region)


def line_terms(
    truth: Tensor, prediction: Tensor, region: Tensor, chosen: Tensor, h: int, mu: int, edc: str
) -> Tensor:
    """(N, K) float, the sum over the levels of 1 - EDC; 0 where the truth has no line."""

    def level(tau: int) -> Tensor:
        d = closeness(truth, tau, mu).masked_fill(~region, 0)
        d_hat = closeness(prediction, tau, mu).masked_fill(~chosen, 0)
        has_line = (region & ((truth - tau).abs() <= 0.5)).any(3).any(2)
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
    truth: Tensor,
    prediction: Tensor,
    region: Tensor,
    chosen: Tensor,
    valid: Tensor,
    h: int,
    mu: int,
) -> Tensor:
    """The published code's sum over the levels of 1 - EDC, pooled over images and classes."""
    truth = truth.masked_fill(~region, 0)
    prediction = prediction.masked_fill(~chosen, 0)

    def level(tau: int) -> Tensor:
        d = closeness(truth, tau, mu).masked_fill(~valid, 0)
        d_hat = closeness(prediction, tau, mu).masked_fill(~valid, 0)
        g, p, q = d.sum(), d_hat.sum(), d.square().sum()
        # Where no energy is near the level, q underflows in the authors' float32 and their ratio is
        # no number; it is as meaningless in float64, where q survives.
        known = q > torch.finfo(torch.float32).tiny
        numerator = 2 * ((d * d_hat).sum() + 1) * g
        ratio = numerator / ((g + p + 1) * q).where(known, 1)
        return (1 - ratio).where(known, 0)

    return _sum_over_levels(level, h)


def _sum_over_levels(level: Callable[[int], Tensor], h: int) -> Tensor:
    # What a level needs for its gradient is made again when it is asked for: kept for h levels in
    # all directions it is many times the memory of the network (14.5 GiB for 2 x 19 x 512 x 1024
    # and kernel 23).
    return sum(
        checkpoint(level, tau, use_reentrant=False, preserve_rng_state=False)
        for tau in range(1, h + 1)
    )


def closeness(energies: Tensor, tau: int, mu: int) -> Tensor:
    """exp(-|energy - tau|^mu), in [0, 1]: 1 on the level, exp(-1) one level away."""
    # Beyond this distance the result is below 2e-35. Unclamped, the power overflows in wide kernels
    # and the gradient is inf x 0.
    far = 80 ** (1 / mu)
    return (energies - tau).clamp(-far, far).pow(mu).neg().exp()


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
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
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
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
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
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        sizes = kernel_size if isinstance(kernel_size, (list, tuple)) else (kernel_size,) * 2
        if len(sizes) != 2:
            raise ValueError(
                f'kernel_size is {kernel_size!r}; give one odd number or a (point, line) pair.'
            )
        shared = dict(splitter=splitter, sc_scale=sc_scale, use_sigmoid=use_sigmoid)
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

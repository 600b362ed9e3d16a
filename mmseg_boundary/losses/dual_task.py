"""Dual-task loss (GSCNN: Takikawa et al., ICCV 2019): the boundaries that a segmentation implies,
compared with those of its label.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .reduction import weighted_mean

FLOOR = 1e-3  # in the square root, whose slope would have no bound at 0
PEAK = 1e-2  # the smallest maximum to divide by; that of a straight step is 0.18 with radius 4
THRESHOLD = 1e-8  # of squared gradients: above it a pixel is near a boundary


def dual_task_loss(
    logits: Tensor,
    target: Target,
    tau: float = 0.5,
    radius: int = 4,
    one_vs_rest: bool = False,
    noise: Tensor | None = None,
) -> Tensor:
    """The difference of the gradients of two smoothed maps: the probabilities and the label.

        L = mean over images of  1/2 mean over P |b(p) - b(y)|  +  1/2 mean over Y |b(p) - b(y)|
        p = softmax((logits + noise) / tau),   y the one-hot label
        b(x) = m(x) / max(PEAK, max m(x)),   m(x) = sqrt(|grad S x|^2 + FLOOR^2) - FLOOR

    S is a separable triangle filter: the weights fall from the center to nothing at a distance of
    `radius` + 1. It leaves out void and what is beyond the image, and is divided by the weights
    that remain. Gradients are central differences. Maxima are over the classes and valid pixels of
    an image; P and Y are the classes and valid pixels where |grad S x|^2 is above `THRESHOLD`, of
    x = p and of x = y.

    Args:
        logits: (N, K, H, W) float.
        target: the labels, from `labels.encode`.
        tau: above 0, the temperature: with a small one p is nearly one-hot.
        radius: a whole number, 1 or more, in pixels.
        one_vs_rest: every logit is a sigmoid of its own, as in p = sigmoid((logits + noise) / tau).
        noise: (N, K, H, W), added to the logits; the authors draw it from Gumbel's distribution,
            so that p is nearly a sample of the softmax (Jang et al., ICLR 2017).

    Returns:
        A scalar, from 0 to 1; the mean over the images with a valid pixel, and 0 with a graph if
        there is none.

    Raises:
        ValueError: an argument is out of its range, or `logits` and `target` differ in shape.

    Deviations:
        FLOOR is taken off again, and maxima are PEAK or more: else a map without any boundary would
        be 1 everywhere once it is divided by its maximum. The published code gives void a uniform
        prediction and class 0 as label, and fills images up at their border; it compares the
        gradients with a threshold below FLOOR, so that P and Y are all pixels, and returns from
        gradient and filter before either does anything, so that what it compares is p and y. The
        paper's equation has one set of pixels; the two are those of the code.
    """
    require_dual_task_options(tau, radius)
    target.require_shape(logits, 'logits')
    scaled = (logits if noise is None else logits + noise) / tau
    probs = scaled.sigmoid() if one_vs_rest else scaled.softmax(1)
    pred, near_pred = boundary_maps(probs, target.valid, radius)
    of_label = target.cached(boundary_maps_of_regions, radius, logits.dtype)
    label, near_label = (each[:, -logits.shape[1] :] for each in of_label)
    differences = (pred - label).abs()
    terms = [
        (near * differences).sum((1, 2, 3)) / near.sum((1, 2, 3)).clamp(min=1)
        for near in (near_pred, near_label)
    ]
    any_valid = target.valid.flatten(1).any(1)
    return weighted_mean((terms[0] + terms[1]) / 2, any_valid.to(logits.dtype))


def boundary_maps(maps: Tensor, valid: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """b of `dual_task_loss`, and where it is above the threshold.

    Args:
        maps: (N, K, H, W) float; what is at void has no influence.
        valid: (N, 1, H, W) bool.
        radius: of the filter, 1 or more.

    Returns:
        (N, K, H, W) of the type of the maps, in [0, 1], and bool; 0 and False at void.
    """
    smooth = smoothed(maps, valid, radius)
    down = (smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1]) / 2
    right = (smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2]) / 2
    squares = down**2 + right**2
    magnitudes = ((squares + FLOOR**2).sqrt() - FLOOR).masked_fill(~valid, 0)
    peaks = magnitudes.amax((1, 2, 3), keepdim=True).clamp(min=PEAK)
    return magnitudes / peaks, (squares > THRESHOLD) & valid


def boundary_maps_of_regions(
    regions: Tensor, radius: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """`boundary_maps` of (N, K, H, W) bool, the regions of a target."""
    return boundary_maps(regions.to(dtype), regions.any(1, keepdim=True), radius)


def smoothed(maps: Tensor, valid: Tensor, radius: int) -> Tensor:
    """S of `dual_task_loss`, of the image and one pixel beyond its border.

    >>> row = torch.tensor([[[[0.0, 0.0, 4.0, 8.0]]]])
    >>> smoothed(row, torch.tensor([[[[True, True, True, False]]]]), 1)[0, 0, 1]
    tensor([0.0000, 0.0000, 1.0000, 2.6667, 4.0000, 0.0000])

    Args:
        maps, valid, radius: those of `boundary_maps`.

    Returns:
        (N, K, H + 2, W + 2); 0 where nothing valid is within the filter.
    """
    weights = triangle_filter(valid.to(maps.dtype), radius)
    return triangle_filter(maps.masked_fill(~valid, 0), radius) / weights.where(weights > 0, 1)


def triangle_filter(maps: Tensor, radius: int) -> Tensor:
    """(N, K, H + 2, W + 2): the separable triangle filter, with zeros around the image."""
    # Two boxes in a row are a triangle.
    boxed = F.avg_pool2d(F.pad(maps, (radius + 1,) * 4), radius + 1, stride=1)
    return F.avg_pool2d(boxed, radius + 1, stride=1)


def require_dual_task_options(tau: float, radius: int) -> None:
    """Raises the ValueErrors of `dual_task_loss`, before there is a batch."""
    if not 0 < tau < math.inf:
        raise ValueError(f'tau is {tau!r}; give a number above 0.')
    if not isinstance(radius, int) or radius < 1:
        raise ValueError(f'radius is {radius!r}; give a whole number of pixels, 1 or more.')


class DualTaskLoss(DecodeHeadLoss):
    """`dual_task_loss` as a module.

    Args:
        gumbel: whether noise is added in training mode, as the authors do: Gumbel's for a softmax,
            for one-vs-rest the difference of two such, which is logistic. It is drawn anew for each
            batch, from torch's random numbers, on which a dropout may depend too.
    """

    takes_logits = True
    measures_geometry = True

    def __init__(
        self,
        tau: float = 0.5,
        radius: int = 4,
        gumbel: bool = False,
        use_sigmoid: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_dual_task',
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(use_sigmoid, None, loss_weight, loss_name, ignore_index, pixel_weight)
        self.options = dict(tau=tau, radius=radius)
        self.gumbel = gumbel
        require_dual_task_options(**self.options)

    def term(self, logits: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        one_vs_rest = self.one_vs_rest(logits)
        noise = None
        if self.gumbel and self.training:
            noise = gumbel_like(logits)
            if one_vs_rest:
                noise = noise - gumbel_like(logits)
        return dual_task_loss(logits, target, **self.options, one_vs_rest=one_vs_rest, noise=noise)


def gumbel_like(logits: Tensor) -> Tensor:
    """Samples of Gumbel's distribution, of the shape, type and device of the logits."""
    waiting = torch.empty_like(logits).exponential_()
    return -waiting.clamp(min=torch.finfo(logits.dtype).tiny).log()

"""Structure loss (Wei, Wang & Huang, "F³Net", AAAI 2020, "pixel position aware loss"):
cross-entropy and overlap in which pixels near other classes weigh more.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..choices import require_choice, require_odd
from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .log_likelihood import likelihood_weights, log_likelihood
from .reduction import as_class_weight, mean_over, weighted_mean
from .soft_dice import region_sums

OVERLAPS = ('iou', 'dice')


def structure_loss(
    logits: Tensor,
    target: Target,
    window: int = 31,
    gamma: float = 5.0,
    overlap: str = 'iou',
    smooth: float = 1.0,
    ce_weight: float = 1.0,
    overlap_weight: float = 1.0,
    one_vs_rest: bool = False,
    class_weight: Sequence[float] | Tensor | None = None,
    pixel_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy and one minus an overlap, both with the pixel weights w, y the one-hot labels.

        L = ce_weight x sum_p w CE / sum_p w
            + overlap_weight x mean over n, k of  1 - (smooth + I) / (smooth + U)
        w = 1 + gamma x the share of the other classes in the window around p
        I = sum_p w y probs,   U = sum_p w (y + probs) - I

    The sums of the cross-entropy are over the batch, those of the overlap over each image. The
    window ends at the image border and leaves void out.

    Args:
        logits: (N, K, H, W) float; not probabilities, whose logarithm saturates.
        target: the labels, from `labels.encode`.
        window: odd, 3 or more, in pixels; the published 31 is for images of 352 px.
        gamma: 0 (all pixels weigh 1) or more.
        overlap: 'iou', or 'dice': 1 - (smooth + 2 I) / (smooth + sum_p w (y + probs)).
        smooth: 0 or more, added to both sides of the ratio, in weighted pixels.
        ce_weight, overlap_weight: 0 or more, the factors of the two terms.
        one_vs_rest: every logit is a sigmoid of its own, with weights w of its own: the other
            classes are then all but its class.
        class_weight: (K,) non-negative weights of both means, in the cross-entropy by the pixel's
            true class (by the logit if `one_vs_rest`); None weighs all alike.
        pixel_weight: (N, H, W) factors of the pixels' cross-entropy; its denominator and the
            overlap stay.

    Returns:
        A scalar, 0 or more; 0 with a graph if no pixel is valid.

    Raises:
        ValueError: an argument is out of its range, `logits` and `target` differ in shape, or there
            are pixel weights and no cross-entropy.

    Deviations:
        The paper is binary; with one logit, no void and the windows inside the image w is its
        1 + gamma |mean of y - y|. The published code fills windows up with zeros at the image
        border, so that an object cut by it gets a boundary there. Its cross-entropy is unweighted:
        it says `reduce='none'`, which is true, and so multiplies w by the mean.
    """
    require_structure_options(window, gamma, overlap, smooth, ce_weight, overlap_weight)
    if pixel_weight is not None and ce_weight == 0:
        raise ValueError(
            'pixel weights have no meaning with ce_weight=0, since the overlap is no mean over '
            "pixels; remove the head's `sampler`, or take a ce_weight above 0."
        )
    target.require_shape(logits, 'logits')
    w = surroundings_weight(target, window, gamma, one_vs_rest, logits.dtype)
    costs = -log_likelihood(logits, target, one_vs_rest)
    weights = w * likelihood_weights(logits, target, one_vs_rest, class_weight)
    cross_entropy = weighted_mean(costs, weights, pixel_weight)
    probs = logits.sigmoid() if one_vs_rest else logits.softmax(1)
    eligible, shared, both = region_sums(probs, target, per_class=True, per_image=True, weight=w)
    if overlap == 'iou':
        ratio = (smooth + shared) / (smooth + both - shared).where(eligible, 1)
    else:
        ratio = (smooth + 2 * shared) / (smooth + both).where(eligible, 1)
    lost = mean_over(eligible, 1 - ratio, as_class_weight(class_weight, probs))
    return ce_weight * cross_entropy + overlap_weight * lost


def surroundings_weight(
    target: Target,
    window: int,
    gamma: float,
    one_vs_rest: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """w of `structure_loss`: 1 + gamma x the share of the other classes around the pixel.

    >>> from mmseg_boundary.labels import encode
    >>> row = encode(torch.tensor([[[0, 0, 0, 1, 1, 255]]]), 2)
    >>> surroundings_weight(row, 3, 6)
    tensor([[[[1., 1., 3., 3., 1., 0.]]]])

    Args:
        target: the labels, from `labels.encode`.
        window: odd, in pixels; of its pixels those are counted that are valid.
        gamma: 0 or more.
        one_vs_rest: the other classes are all but that of the logit.
        dtype: of the weights.

    Returns:
        (N, 1, H, W); (N, K, H, W) for one-vs-rest. In [1, 1 + gamma]; 0 at void.
    """
    masks = target.masks
    around = count_around(target.valid, window)
    of_class = count_around(masks, window)
    others = torch.where(masks, around - of_class, of_class)
    if not one_vs_rest:
        others = others.masked_fill(~masks, 0).sum(1, keepdim=True)
    return target.masked(1 + gamma * (others.to(dtype) / around.clamp(min=1)))


def count_around(masks: Tensor, window: int) -> Tensor:
    """(..., H, W) int32, the True pixels of (..., H, W) masks in a square window around each pixel,
    as far as it lies in the image.

    >>> count_around(torch.tensor([[True, False, False, True, True]]), 3)
    tensor([[1, 1, 1, 2, 2]], dtype=torch.int32)
    """
    reach = window // 2
    # Differences of cumulative sums: the time does not grow with the window, as it does in
    # `avg_pool2d`.
    padded = F.pad(masks, (reach + 1, reach, reach + 1, reach))
    sums = padded.cumsum(-1, dtype=torch.int32).cumsum(-2, dtype=torch.int32)
    rows = sums[..., window:, :] - sums[..., :-window, :]
    return rows[..., window:] - rows[..., :-window]


def require_structure_options(
    window: int,
    gamma: float,
    overlap: str,
    smooth: float,
    ce_weight: float,
    overlap_weight: float,
) -> None:
    """Raises the ValueErrors of `structure_loss`, before there is a batch."""
    require_odd('window', window)
    require_choice('overlap', overlap, OVERLAPS)
    numbers = dict(gamma=gamma, smooth=smooth, ce_weight=ce_weight, overlap_weight=overlap_weight)
    for name, given in numbers.items():
        if not 0 <= given < math.inf:
            raise ValueError(f'{name} is {given!r}; give 0 or more.')


class StructureLoss(DecodeHeadLoss):
    """`structure_loss` as a module, in place of a cross-entropy."""

    takes_pixel_weight = True
    takes_logits = True

    def __init__(
        self,
        window: int = 31,
        gamma: float = 5.0,
        overlap: str = 'iou',
        smooth: float = 1.0,
        ce_weight: float = 1.0,
        overlap_weight: float = 1.0,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_structure',
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name, ignore_index)
        self.options = dict(
            window=window,
            gamma=gamma,
            overlap=overlap,
            smooth=smooth,
            ce_weight=ce_weight,
            overlap_weight=overlap_weight,
        )
        require_structure_options(**self.options)

    def term(self, logits: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return structure_loss(
            logits,
            target,
            **self.options,
            one_vs_rest=self.one_vs_rest(logits),
            class_weight=self.class_weight,
            pixel_weight=weight,
        )

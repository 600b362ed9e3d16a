"""Focal loss on a softmax (Lin et al., ICCV 2017; Gül's thesis, eq. 2.5)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .log_likelihood import likelihood_weights, log_likelihood
from .reduction import weighted_mean


def softmax_focal_loss(
    logits: Tensor,
    target: Target,
    gamma: float = 2.0,
    one_vs_rest: bool = False,
    class_weight: Sequence[float] | Tensor | None = None,
    pixel_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy in which pixels that are already right weigh little.

        L = mean over valid p of  -(1 - q)^gamma log q,  q the probability of the true class

    Args:
        logits: (N, K, H, W) float; not probabilities, whose logarithm saturates.
        target: the labels, from `labels.encode`.
        gamma: 0 (cross-entropy) or more.
        one_vs_rest: every logit is a sigmoid of its own; the mean is over pixels and logits.
        class_weight: (K,) non-negative weights of the mean, by the pixel's true class (by the logit
            if `one_vs_rest`); None weighs all alike.
        pixel_weight: (N, H, W) factors of the pixels' terms; the denominator stays.

    Returns:
        A scalar, 0 or more; 0 with a graph if no pixel is valid.

    Raises:
        ValueError: an argument is out of its range, or `logits` and `target` differ in shape.

    Deviations:
        The factor alpha of Lin et al. is left out, as in the thesis; `class_weight` has its place.
    """
    require_focal_options(gamma)
    target.require_shape(logits, 'logits')
    log_q = log_likelihood(logits, target, one_vs_rest)
    # Clamped, since a root (gamma < 1) has no finite gradient at 0.
    doubt = -torch.expm1(log_q).clamp(max=-torch.finfo(log_q.dtype).tiny)
    weights = likelihood_weights(logits, target, one_vs_rest, class_weight)
    return weighted_mean(-(doubt**gamma) * log_q, weights, pixel_weight)


def require_focal_options(gamma: float) -> None:
    """Raises the ValueErrors of `softmax_focal_loss`, before there is a batch."""
    if gamma < 0:
        raise ValueError(f'gamma is {gamma!r}; give 0 (cross-entropy) or more.')


class SoftmaxFocalLoss(DecodeHeadLoss):
    """`softmax_focal_loss` as a module.

    MMSegmentation's `FocalLoss` knows sigmoids alone, divides by void pixels too, and for a map of
    class labels, which is what a head gives it, raises on the CPU for want of a one-hot target.
    """

    takes_pixel_weight = True
    takes_logits = True

    def __init__(
        self,
        gamma: float = 2.0,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_softmax_focal',
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name, ignore_index)
        self.options = dict(gamma=gamma)
        require_focal_options(gamma)

    def term(self, logits: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return softmax_focal_loss(
            logits,
            target,
            **self.options,
            one_vs_rest=self.one_vs_rest(logits),
            class_weight=self.class_weight,
            pixel_weight=weight,
        )

"""Cross-entropy that weighs boundaries: the baseline that every boundary loss has to beat."""

from collections.abc import Sequence

from torch import Tensor

from ..geometry.boundary import find_boundaries, within
from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .log_likelihood import likelihood_weights, log_likelihood
from .reduction import weighted_mean


def boundary_weighted_ce_loss(
    logits: Tensor,
    target: Target,
    radius: float = 3,
    boundary_weight: float = 1.0,
    one_vs_rest: bool = False,
    class_weight: Sequence[float] | Tensor | None = None,
    pixel_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy, plus its mean over the pixels within `radius` of a label change.

        L = mean over valid p of CE(p)  +  boundary_weight x mean over p in the band of CE(p)

    Args:
        logits: (N, K, H, W) float; not probabilities, whose logarithm saturates.
        target: the labels, from `labels.encode`.
        radius: 1 or more, in pixels: how thick the band is on either side of a boundary. With 1 it
            is the pixels with a 4-neighbor of another class; void is no class.
        boundary_weight: 0 (cross-entropy) or more.
        one_vs_rest: every logit is a sigmoid of its own; the means are over pixels and logits.
        class_weight: (K,) non-negative weights of the means, by the pixel's true class (by the
            logit if `one_vs_rest`); None weighs all alike.
        pixel_weight: (N, H, W) factors of the pixels' terms; the denominators stay.

    Returns:
        A scalar, 0 or more; 0 with a graph if no pixel is valid.

    Raises:
        ValueError: an argument is out of its range, or `logits` and `target` differ in shape.
    """
    require_boundary_weighted_options(radius, boundary_weight)
    target.require_shape(logits, 'logits')
    costs = -log_likelihood(logits, target, one_vs_rest)
    weights = likelihood_weights(logits, target, one_vs_rest, class_weight)
    everywhere = weighted_mean(costs, weights, pixel_weight)
    near = weighted_mean(costs, weights * boundary_band(target, radius), pixel_weight)
    return everywhere + boundary_weight * near


def boundary_band(target: Target, radius: float) -> Tensor:
    """(N, 1, H, W) bool, the pixels within `radius` of a label change."""
    boundaries = find_boundaries(target.masks, target.valid).any(1, keepdim=True)
    return within(boundaries, radius - 1)


def require_boundary_weighted_options(radius: float, boundary_weight: float) -> None:
    """Raises the ValueErrors of `boundary_weighted_ce_loss`, before there is a batch."""
    if radius < 1:
        raise ValueError(f'radius is {radius!r}; give 1 or more pixels.')
    if boundary_weight < 0:
        raise ValueError(f'boundary_weight is {boundary_weight!r}; give 0 or more.')


class BoundaryWeightedCELoss(DecodeHeadLoss):
    """`boundary_weighted_ce_loss` as a module, in place of a cross-entropy.

    MMSegmentation's `CrossEntropyLoss` weighs classes, and its samplers hard pixels; neither knows
    where boundaries are.
    """

    takes_pixel_weight = True
    takes_logits = True

    def __init__(
        self,
        radius: float = 3,
        boundary_weight: float = 1.0,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_bwce',
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name, ignore_index)
        self.options = dict(radius=radius, boundary_weight=boundary_weight)
        require_boundary_weighted_options(**self.options)

    def term(self, logits: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return boundary_weighted_ce_loss(
            logits,
            target,
            **self.options,
            one_vs_rest=self.one_vs_rest(logits),
            class_weight=self.class_weight,
            pixel_weight=weight,
        )

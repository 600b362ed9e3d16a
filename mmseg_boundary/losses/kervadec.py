"""Boundary loss (Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019;
code: github.com/LIVIAETS/boundary-loss, MIT).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..choices import require_choice
from ..geometry.distance import distances_between, signed_distances
from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .reduction import as_class_weight, mean_over_pixels, shares_of

NORMALIZATIONS = (None, 'diag', 'max')


def kervadec_boundary_loss(
    probs: Tensor,
    target: Target,
    classes: Sequence[int] | None = None,
    normalize: str | None = None,
    class_weight: Sequence[float] | Tensor | None = None,
    pixel_weight: Tensor | None = None,
) -> Tensor:
    """Probabilities times signed distances, eq. (6): mass far outside of its class costs most.

        L = sum over valid p, k of  w_k probs_k(p) D_k(p) / (n_valid sum_k w_k)

    D_k is 1, 2, … px outside of the class and 0, -1, … px inside of it, so that the loss is
    negative for a good prediction. D_k = 0 for a class that is absent or has nothing beside it.

    Args:
        probs: (N, K, H, W) float, in [0, 1].
        target: the labels, from `labels.encode`.
        classes: the class numbers that enter; None for all. With one logit that is class 1.
        normalize: None leaves D in pixels: a weight fit for one crop is too large for a larger one.
            'diag' divides it by the diagonal of the image, 'max' by its largest |D_k| per image and
            class.
        class_weight: (K,) non-negative weights w_k; None weighs all alike.
        pixel_weight: (N, H, W) factors of the pixels' terms; the denominator stays.

    Returns:
        A scalar, of either sign; 0 with a graph if no pixel is valid.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.

    Deviations:
        The authors measure a class that covers the image against scipy's answer to an empty mask,
        which is arbitrary; it has no distances here. Void is on neither side of a boundary.
    """
    require_kervadec_options(classes, normalize)
    target.require_shape(probs)
    weights = as_class_weight(class_weight, probs)
    if classes is not None:
        weights = _of_classes(classes, weights)

    outside, inside = target.cached(distances_between, 'euclidean')
    signed = signed_distances(target.masks, outside[:, -probs.shape[1] :], inside)
    signed = target.masked(signed).to(probs.dtype)
    if normalize == 'diag':
        signed = signed / math.hypot(*signed.shape[2:])
    elif normalize == 'max':
        # Where a map of distances is not 0, its largest |D_k| is 1 or more.
        signed = signed / signed.abs().amax((2, 3), keepdim=True).clamp(min=1)

    # In place, since every map of the size of the probabilities counts. `masked` has copied it.
    cost = (signed.mul_(shares_of(weights)) * probs).sum(1, keepdim=True)
    return mean_over_pixels(cost, target, pixel_weight)


def require_kervadec_options(classes: Sequence[int] | None, normalize: str | None) -> None:
    """Raises the ValueErrors of `kervadec_boundary_loss`, before there is a batch."""
    if classes is not None and (len(classes) == 0 or len(set(classes)) < len(classes)):
        raise ValueError(
            f'classes is {classes!r}; give different class numbers, or None for all classes.'
        )
    require_choice('normalize', normalize, NORMALIZATIONS)


def _of_classes(classes: Sequence[int], weights: Tensor) -> Tensor:
    """The (K,) weights, 0 for the other classes."""
    num_logits = len(weights)
    numbers = range(num_logits) if num_logits > 1 else (1,)
    unknown = sorted(set(classes) - set(numbers))
    if unknown:
        raise ValueError(
            f'classes holds {unknown}, but the {num_logits} logits are of the classes '
            f'{list(numbers)}; name some of these.'
        )
    chosen = torch.zeros_like(weights)
    # One by one, since a list of indices would have to be copied to the device, and waited for.
    for index, number in enumerate(numbers):
        if number in classes:
            chosen[index] = weights[index]
    return chosen


class KervadecBoundaryLoss(DecodeHeadLoss):
    """`kervadec_boundary_loss` as a module, beside a cross-entropy.

    MMSegmentation's `BoundaryLoss` is another one: the cross-entropy of PIDNet's boundary head.
    """

    takes_pixel_weight = True
    measures_geometry = True

    def __init__(
        self,
        classes: Sequence[int] | None = None,
        normalize: str | None = None,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_kervadec',
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name, ignore_index)
        self.options = dict(classes=classes, normalize=normalize)
        require_kervadec_options(**self.options)

    def term(self, probs: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return kervadec_boundary_loss(
            probs, target, **self.options, class_weight=self.class_weight, pixel_weight=weight
        )

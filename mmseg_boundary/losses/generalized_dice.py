"""Generalized Dice loss (Sudre et al., "Generalised Dice overlap as a deep learning loss function
for highly unbalanced segmentations", DLMIA 2017, arXiv 1707.03237).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..choices import require_choice
from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .reduction import as_class_weight, mean_over
from .soft_dice import region_sums

ABSENT = ('ignore', 'max')


def generalized_dice_loss(
    probs: Tensor,
    target: Target,
    per_image: bool = True,
    absent: str = 'ignore',
    class_weight: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """One Dice ratio of all classes, each weighted by the inverse square of its area.

        L = mean over n of  1 - 2 sum_k w_k sum_p y probs / sum_k w_k sum_p (y + probs)
        w_k = 1 / (sum_p y)^2

    y are the one-hot labels and k the classes that the image has. With one probability per pixel
    there are two classes, 1 - probs and probs.

    Args:
        probs: (N, K, H, W) float, in [0, 1].
        target: the labels, from `labels.encode`.
        per_image: one ratio per image; False pools the sums of a class over the batch.
        absent: of a class without a pixel, for which 1 / 0 is no weight. 'ignore' leaves it out:
            what is predicted as that class is missing in the others. 'max' gives it the largest
            weight of the classes that the image has, as MONAI does.
        class_weight: (K,) non-negative factors of w_k; None leaves them. With one probability, that
            of class 1; class 0 keeps its w.

    Returns:
        A scalar in [0, 1]; 0 with a graph if no class is present.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.
    """
    require_generalized_dice_options(absent)
    target.require_shape(probs)
    factors = as_class_weight(class_weight, probs)
    if probs.shape[1] == 1:
        probs = torch.cat([1 - probs, probs], 1)
        target = Target(target.regions, target.valid)
        factors = torch.cat([torch.ones_like(factors), factors])
    present, shared, both = region_sums(probs, target, per_class=True, per_image=per_image)
    areas = target.masks.sum((2, 3)).to(probs.dtype)
    if not per_image:
        areas = areas.sum(0, keepdim=True)
    weights = factors * relative_weights(areas, absent)

    eligible = (present & (weights > 0)).any(1, keepdim=True)
    shared, both = ((weights * each).sum(1, keepdim=True) for each in (shared, both))
    return mean_over(eligible, 1 - 2 * shared / both.where(eligible, 1))


def relative_weights(areas: Tensor, absent: str) -> Tensor:
    """(N, K): w as shares of its largest one in the image, so that they fit into float32.

    Args:
        areas: (N, K) float, the numbers of pixels.
        absent: 'ignore' or 'max', the weight of an area of 0: 0 or 1.
    """
    present = areas > 0
    smallest = areas.where(present, torch.inf).amin(1, keepdim=True)
    return (smallest / areas).square().where(present, 1.0 if absent == 'max' else 0.0)


def require_generalized_dice_options(absent: str) -> None:
    """Raises the ValueErrors of `generalized_dice_loss`, before there is a batch."""
    require_choice('absent', absent, ABSENT)


class GeneralizedDiceLoss(DecodeHeadLoss):
    """`generalized_dice_loss` as a module, beside a cross-entropy.

    MMSegmentation has none: its `DiceLoss` has one ratio of all classes without weights.
    """

    def __init__(
        self,
        per_image: bool = True,
        absent: str = 'ignore',
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_gdice',
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(
            use_sigmoid, class_weight, loss_weight, loss_name, ignore_index, pixel_weight
        )
        self.options = dict(per_image=per_image, absent=absent)
        require_generalized_dice_options(absent)

    def term(self, probs: Tensor, target: Target, weight: None) -> Tensor:
        return generalized_dice_loss(probs, target, **self.options, class_weight=self.class_weight)

"""Boundary difference over union (Sun, Luo & Li, "Boundary Difference Over Union Loss for Medical
Image Segmentation", MICCAI 2023).
"""

from collections.abc import Sequence

from torch import Tensor

from ..geometry.boundary import find_boundaries
from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .reduction import as_class_weight, mean_over, pooled_over_images


def boundary_dou_loss(
    probs: Tensor,
    target: Target,
    max_alpha: float = 0.8,
    per_image: bool = True,
    class_weight: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """The difference of label and prediction over their union, from which the inside of large
    objects is taken away, with y the one-hot labels.

        L = mean over n, k of  D / (D + (1 - alpha) I)
        D = sum_p (probs - y)^2,   I = sum_p y probs
        alpha = 1 - 2 C / S, clipped to [0, max_alpha]

    S is the number of pixels of the class, C that of its pixels with a 4-neighbor of another class.
    With Z = sum_p probs^2 this is (Z + S - 2 I) / (Z + S - (1 + alpha) I), as printed. At alpha = 0
    it is a Jaccard loss with squares; the larger and rounder an object, the larger is alpha, and
    the more its boundary counts beside its inside.

    Args:
        probs: (N, K, H, W) float, in [0, 1].
        target: the labels, from `labels.encode`.
        max_alpha: in [0, 1); the authors advise 0.8.
        per_image: one ratio per image and class; False pools the sums of a class over the batch.
        class_weight: (K,) non-negative weights of the mean; None weighs all alike.

    Returns:
        A scalar in [0, 1]; 0 with a graph if no class is present.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.

    Deviations:
        The published code lets alpha fall to -1 for thin objects, where the paper has [0, 1); takes
        the image border for a boundary; pools the batch; and averages over absent classes too, of
        constant value 1. Void, which the paper does not know, bounds no class here.
    """
    require_boundary_dou_options(max_alpha)
    target.require_shape(probs)
    masks = target.masks.to(probs.dtype)
    shared = (masks * probs).sum((2, 3))
    difference = target.masked(probs - masks).square().sum((2, 3))
    area = masks.sum((2, 3))
    boundary = (target.masks & find_boundaries(target.masks, target.valid)).sum((2, 3))
    present = target.present
    if not per_image:
        present, shared, difference, area, boundary = pooled_over_images(
            present, shared, difference, area, boundary
        )
    alpha = (1 - 2 * boundary / area.where(present, 1)).clamp(0, max_alpha)
    # D is summed as such, since its terms' sums cancel where the prediction is nearly perfect.
    union = difference + (1 - alpha) * shared
    ratio = difference / union.where(present, 1)
    return mean_over(present, ratio, as_class_weight(class_weight, probs))


def require_boundary_dou_options(max_alpha: float) -> None:
    """Raises the ValueErrors of `boundary_dou_loss`, before there is a batch."""
    if not 0 <= max_alpha < 1:
        raise ValueError(
            f'max_alpha is {max_alpha!r}; give 0 or more and less than 1, where a class without a '
            'boundary would have 0 / 0.'
        )


class BoundaryDoULoss(DecodeHeadLoss):
    """`boundary_dou_loss` as a module; alone, or beside a cross-entropy."""

    def __init__(
        self,
        max_alpha: float = 0.8,
        per_image: bool = True,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_boundary_dou',
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(
            use_sigmoid, class_weight, loss_weight, loss_name, ignore_index, pixel_weight
        )
        self.options = dict(max_alpha=max_alpha, per_image=per_image)
        require_boundary_dou_options(max_alpha)

    def term(self, probs: Tensor, target: Target, weight: None) -> Tensor:
        return boundary_dou_loss(probs, target, **self.options, class_weight=self.class_weight)

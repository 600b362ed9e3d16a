"""Soft Dice loss: the baseline that raises mean IoU most (Gül's thesis, eq. 2.2)."""

from collections.abc import Sequence

from torch import Tensor

from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .reduction import as_class_weight, mean_over, pooled_over_images


def soft_dice_loss(
    probs: Tensor,
    target: Target,
    smooth: float = 1.0,
    per_class: bool = True,
    per_image: bool = True,
    class_weight: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """One minus the Dice coefficient, with y the one-hot labels.

        L = mean over n, k of  1 - (smooth + 2 sum_p y probs) / (smooth + sum_p y + sum_p probs)

    Args:
        probs: (N, K, H, W) float, in [0, 1].
        target: the labels, from `labels.encode`.
        smooth: added to both sides of the ratio, in pixels.
        per_class: one ratio per class, over the present ones; False sums the classes inside of one
            ratio, as eq. (2.2) is printed. With a softmax both sums of its denominator then are the
            number of pixels: the loss is one minus the mean probability of the true class, a
            measure of accuracy that gives rare classes no weight.
        per_image: one ratio per image; False pools the sums over the batch.
        class_weight: (K,) non-negative weights of the mean; None weighs all alike.

    Returns:
        A scalar in [0, 1]; 0 with a graph if no class is present.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.
    """
    require_overlap_options(smooth, per_class, class_weight)
    target.require_shape(probs)
    eligible, shared, both = region_sums(probs, target, per_class, per_image)
    dice = (smooth + 2 * shared) / (smooth + both).where(eligible, 1)
    return mean_over(eligible, 1 - dice, as_class_weight(class_weight, probs))


def region_sums(
    probs: Tensor,
    target: Target,
    per_class: bool,
    per_image: bool,
    weight: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The sums that overlaps are made of, (N or 1, K or 1) each.

    Args:
        weight: (N, 1 or K, H, W) factors of the pixels' terms in all sums; None: 1.

    Returns:
        eligible: bool, whether the class is present; for the classes together, any valid pixel.
        shared: sum of y probs.
        both: sum of y plus sum of probs.
    """
    masks = target.masks.to(probs.dtype)
    probs = target.masked(probs)

    def total(terms: Tensor) -> Tensor:
        return (terms if weight is None else weight * terms).sum((2, 3))

    shared, both = total(masks * probs), total(masks + probs)
    sums = target.present, shared, both
    if not per_class:
        sums = target.valid.any(3).any(2), *(each.sum(1, keepdim=True) for each in (shared, both))
    return sums if per_image else pooled_over_images(*sums)


def require_overlap_options(smooth: float, per_class: bool, class_weight: object) -> None:
    """Raises the ValueErrors of `soft_dice_loss` and `jaccard_loss`, before there is a batch."""
    if smooth < 0:
        raise ValueError(f'smooth is {smooth!r}; give 0 or more pixels.')
    if not per_class and class_weight is not None:
        raise ValueError(
            'class_weight has no meaning with per_class=False, which has one ratio for all '
            'classes; drop it or take per_class=True.'
        )


class SoftDiceLoss(DecodeHeadLoss):
    """`soft_dice_loss` as a module.

    MMSegmentation's `DiceLoss` has one ratio for all classes of an image, so that with a softmax it
    measures accuracy and gives rare classes no weight; it counts what is predicted at void (with
    void a quarter of the image a perfect prediction costs 0.14), and half types overflow in it.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        per_class: bool = True,
        per_image: bool = True,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_soft_dice',
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(
            use_sigmoid, class_weight, loss_weight, loss_name, ignore_index, pixel_weight
        )
        self.options = dict(smooth=smooth, per_class=per_class, per_image=per_image)
        require_overlap_options(smooth, per_class, class_weight)

    def term(self, probs: Tensor, target: Target, weight: None) -> Tensor:
        return soft_dice_loss(probs, target, **self.options, class_weight=self.class_weight)

"""Soft Dice loss: the baseline that raises mean IoU most (Gül's thesis, eq. 2.2)."""

from collections.abc import Sequence

from torch import Tensor

from ..choices import require_choice
from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .reduction import as_class_weight, mean_over, pooled_over_images

ABSENT = ('skip', 'count')


def soft_dice_loss(
    probs: Tensor,
    target: Target,
    smooth: float = 1.0,
    per_class: bool = True,
    per_image: bool = True,
    class_weight: Sequence[float] | Tensor | None = None,
    absent: str = 'skip',
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
        absent: of classes that an image lacks: 'skip' leaves them out of the mean; 'count' takes
            every class of an image with a valid pixel, so that false positives cost
            1 - smooth / (smooth + sum_p probs), whose gradient, smooth / (smooth + sum_p probs)^2
            per pixel, is tiny where much is predicted. With a softmax 'skip' loses nothing: what is
            predicted as an absent class is missing in the others. No difference with
            `per_class=False`.

    Returns:
        A scalar in [0, 1]; 0 with a graph if no class counts.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.
    """
    require_overlap_options(smooth, per_class, class_weight, absent)
    target.require_shape(probs)
    eligible, shared, both = region_sums(probs, target, per_class, per_image, absent)
    dice = (smooth + 2 * shared) / (smooth + both).where(eligible, 1)
    return mean_over(eligible, 1 - dice, as_class_weight(class_weight, probs))


def region_sums(
    probs: Tensor,
    target: Target,
    per_class: bool,
    per_image: bool,
    absent: str = 'skip',
    weight: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The sums that overlaps are made of, (N or 1, K or 1) each.

    Args:
        absent: whether classes that an image lacks are eligible, 'count', or not, 'skip'.
        weight: (N, 1 or K, H, W) factors of the pixels' terms in all sums; None: 1.

    Returns:
        eligible: bool, whether the class is present; with 'count', and for the classes together,
            any valid pixel.
        shared: sum of y probs.
        both: sum of y plus sum of probs.
    """
    masks = target.masks.to(probs.dtype)
    probs = target.masked(probs)

    def total(terms: Tensor) -> Tensor:
        return (terms if weight is None else weight * terms).sum((2, 3))

    shared, both = total(masks * probs), total(masks + probs)
    if not per_class:
        shared, both = (each.sum(1, keepdim=True) for each in (shared, both))
    if per_class and absent == 'skip':
        eligible = target.present
    else:
        eligible = target.valid.any(3).any(2).expand_as(shared)
    sums = eligible, shared, both
    return sums if per_image else pooled_over_images(*sums)


def require_overlap_options(
    smooth: float, per_class: bool, class_weight: object, absent: str
) -> None:
    """Raises the ValueErrors of `soft_dice_loss` and `jaccard_loss`, before there is a batch."""
    if smooth < 0:
        raise ValueError(f'smooth is {smooth!r}; give 0 or more pixels.')
    require_choice('absent', absent, ABSENT)
    if absent == 'count' and per_class and smooth == 0:
        raise ValueError(
            "smooth is 0 and absent 'count' (as for one logit and with use_sigmoid): a class that "
            'an image lacks could be 0 / 0; give more than 0 pixels.'
        )
    if not per_class and class_weight is not None:
        raise ValueError(
            'class_weight has no meaning with per_class=False, which has one ratio for all '
            'classes; drop it or take per_class=True.'
        )


def absent_of(one_vs_rest: bool) -> str:
    """What the modules give as `absent`. Where no softmax ties the classes to each other, nothing
    else makes a false positive of an absent class cost."""
    return 'count' if one_vs_rest else 'skip'


class SoftDiceLoss(DecodeHeadLoss):
    """`soft_dice_loss` as a module.

    MMSegmentation's `DiceLoss` has one ratio for all classes of an image, so that with a softmax it
    measures accuracy and gives rare classes no weight; it counts what is predicted at void (with
    void a quarter of the image a perfect prediction costs 0.14), and half types overflow in it.
    Classes that an image lacks are left out with a softmax; with one logit or `use_sigmoid` they
    count, since nothing else makes a false positive cost.
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
        require_overlap_options(smooth, per_class, class_weight, absent_of(use_sigmoid))

    def term(self, probs: Tensor, target: Target, weight: None) -> Tensor:
        absent = absent_of(self.one_vs_rest(probs))
        return soft_dice_loss(
            probs, target, **self.options, class_weight=self.class_weight, absent=absent
        )

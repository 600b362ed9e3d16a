"""Jaccard loss, a soft intersection over union (Gül's thesis, eq. 2.3)."""

from collections.abc import Sequence

from torch import Tensor

from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .reduction import as_class_weight, mean_over
from .soft_dice import absent_of, region_sums, require_overlap_options


def jaccard_loss(
    probs: Tensor,
    target: Target,
    smooth: float = 1.0,
    per_class: bool = True,
    per_image: bool = True,
    class_weight: Sequence[float] | Tensor | None = None,
    absent: str = 'skip',
) -> Tensor:
    """One minus the soft intersection over union, with y the one-hot labels.

        L = mean over n, k of  1 - (smooth + sum_p y probs) / (smooth + sum_p (y + probs - y probs))

    Args:
        probs: (N, K, H, W) float, in [0, 1].
        target: the labels, from `labels.encode`.
        smooth: added to both sides of the ratio, in pixels.
        per_class: one ratio per class, over the present ones; False sums the classes inside of one
            ratio, as eq. (2.3) is printed: a measure of accuracy (see `soft_dice_loss`).
        per_image: one ratio per image; False pools the sums over the batch.
        class_weight: (K,) non-negative weights of the mean; None weighs all alike.
        absent: of classes that an image lacks, 'skip' or 'count', as in `soft_dice_loss`.

    Returns:
        A scalar in [0, 1]; 0 with a graph if no class counts.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.
    """
    require_overlap_options(smooth, per_class, class_weight, absent)
    target.require_shape(probs)
    eligible, shared, both = region_sums(probs, target, per_class, per_image, absent)
    jaccard = (smooth + shared) / (smooth + both - shared).where(eligible, 1)
    return mean_over(eligible, 1 - jaccard, as_class_weight(class_weight, probs))


class JaccardLoss(DecodeHeadLoss):
    """`jaccard_loss` as a module.

    MMSegmentation has none: its `TverskyLoss` would be one at alpha = beta = 1, but insists on
    alpha + beta = 1; it averages over absent classes, reads its own `ignore_index` and not the
    head's, and is 0 for the one logit of a binary head, of which it takes a softmax. Classes that
    an image lacks are left out with a softmax, and count with one logit or `use_sigmoid`.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        per_class: bool = True,
        per_image: bool = True,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_jaccard',
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
        return jaccard_loss(
            probs, target, **self.options, class_weight=self.class_weight, absent=absent
        )

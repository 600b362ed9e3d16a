"""Distance-transform loss (Gül's thesis, eq. 3.1): an overlap in which pixels at the boundary of
an object count fully and its deepest ones not at all.
"""

from collections.abc import Sequence

from torch import Tensor

from ..choices import require_choice
from ..devices import is_queued
from ..geometry.distance import METRICS, TOLERANCE, distance_to_others, distances_between
from ..labels import Target
from .decode_head_loss import DecodeHeadLoss
from .reduction import as_class_weight, mean_over, pooled_over_images

CLASS_REDUCTIONS = ('mean', 'sum')


def distance_transform_loss(
    probs: Tensor,
    target: Target,
    metric: str = 'euclidean',
    class_reduction: str = 'mean',
    per_image: bool = True,
    class_weight: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """One minus the overlap with the nr-map q of each class, eq. (3.1).

        L = mean over n, k of  1 - sum_p q(p) probs(p) / (S + F)

    S is the sum of q, F that of the probabilities on the other classes' pixels; q falls from 1 at
    the boundary to 0 at the depth of the class (`nearness_to_boundary`).

    Args:
        probs: (N, K, H, W) float, in [0, 1].
        target: the labels, from `labels.encode`.
        metric: of the distances: 'euclidean', or by scipy on the host, for studies, 'chessboard' or
            'taxicab'. The thesis names the first and links the code of the others.
        class_reduction: 'mean' over the classes of an image; 'sum' the literal 1 - sum over k, in
            [1 - K, 1], which has K times the gradient.
        per_image: one ratio per image and class; False pools the sums of a class over the batch.
        class_weight: (K,) non-negative weights of the mean; None weighs all alike.

    Returns:
        A scalar in [0, 1] ('mean'); 0 with a graph if no class is present.

    Raises:
        ValueError: an argument is out of its range, or `probs` and `target` differ in shape.

    Deviations:
        The text indexes the scalar D_sum by pixel; read as a sum over pixels, a perfect prediction
        would cost nearly 1. Its mask of p >= 0.95 is not in the equation and has no gradient.
        Absent classes, of constant value 1, do not enter. Void lies on neither side.
    """
    require_distance_transform_options(metric, class_reduction, class_weight)
    target.require_shape(probs)
    if is_queued(target.masks):
        inside = target.cached(distance_to_others, metric)
    else:  # from the transforms that other losses of the head may share
        _, inside = target.cached(distances_between, metric)
    q = nearness_to_boundary(target.masks, inside).to(probs.dtype)
    others = target.valid & ~target.masks
    hits = (q * target.masked(probs)).sum((2, 3))
    size = q.sum((2, 3)) + probs.masked_fill(~others, 0).sum((2, 3))
    present = target.present
    if not per_image:
        present, hits, size = pooled_over_images(present, hits, size)
    overlap = hits / size.where(present, 1)
    if class_reduction == 'mean':
        return mean_over(present, 1 - overlap, as_class_weight(class_weight, probs))
    return mean_over(present.any(1, keepdim=True), 1 - overlap.sum(1, keepdim=True))


def nearness_to_boundary(masks: Tensor, inside: Tensor) -> Tensor:
    """The nr-maps q: per class, 1 at the boundary, falling with depth to 0 at the deepest pixel.

    A class without depth, one or two pixels thick or with nothing beside it, has q = 1 throughout.

    Args:
        masks: (N, K, H, W) bool.
        inside: (N, 1, H, W) float, from `geometry.distance.distance_to_others`.

    Returns:
        (N, K, H, W) float32 in [0, 1]; 0 outside of the class.
    """
    inside = inside.where(inside.isfinite(), 0)
    depth = inside.where(masks, 0)
    deepest = depth.amax((2, 3), keepdim=True)
    span = deepest - inside.where(masks, deepest).amin((2, 3), keepdim=True)
    # The engines' noise is no depth: scaled to 1, it would be taken for one.
    flat = span < 2 * TOLERANCE
    return ((deepest - depth) / span.masked_fill(flat, 1)).where(~flat, 1).where(masks, 0)


def require_distance_transform_options(
    metric: str, class_reduction: str, class_weight: object
) -> None:
    """Raises the ValueErrors of `distance_transform_loss`, before there is a batch."""
    require_choice('metric', metric, METRICS)
    require_choice('class_reduction', class_reduction, CLASS_REDUCTIONS)
    if class_reduction == 'sum' and class_weight is not None:
        raise ValueError(
            "class_weight has no meaning with class_reduction='sum', which takes no mean over the "
            "classes; drop it or take class_reduction='mean'."
        )


class DistanceTransformLoss(DecodeHeadLoss):
    """`distance_transform_loss` as a module; alone, in the thesis."""

    measures_geometry = True

    def __init__(
        self,
        metric: str = 'euclidean',
        class_reduction: str = 'mean',
        per_image: bool = True,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_dt',
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(
            use_sigmoid, class_weight, loss_weight, loss_name, ignore_index, pixel_weight
        )
        self.options = dict(metric=metric, class_reduction=class_reduction, per_image=per_image)
        require_distance_transform_options(metric, class_reduction, class_weight)

    def term(self, probs: Tensor, target: Target, weight: None) -> Tensor:
        return distance_transform_loss(
            probs, target, **self.options, class_weight=self.class_weight
        )

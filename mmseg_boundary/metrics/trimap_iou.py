"""Trimap IoU: the IoU in a band around the true boundary (Kohli et al. 2009; Chen et al. 2015)."""

from collections.abc import Sequence

from torch import Tensor

from ..geometry.boundary import transitions
from ..geometry.distance import TOLERANCE, distance_to
from ..labels import as_regions, is_void
from .areas import overlap_within


def count_trimap_iou(
    pred: Tensor,
    label: Tensor,
    num_classes: int,
    widths: Sequence[int],
    ignore_index: int = 255,
    void_is_boundary: bool = False,
    unknown_labels: str = 'refuse',
) -> Tensor:
    """What `areas.iou` makes trimap IoU of, counted in one image.

    The band of width r holds the pixels at a Euclidean distance below r from the nearest pixel of
    the true boundary, so that r = 1 is that boundary itself: the pixels with a 4-neighbour of
    another class, on both sides. Void is in no band. The image border is no boundary.

    Args:
        pred, label: (H, W) integer class indices; pixels of `label` may be void.
        num_classes: K.
        widths: W values of r, whole numbers of pixels, 1 or more.
        ignore_index: the void label.
        void_is_boundary: whether a class ends where void begins. True where annotators drew void
            along the contours (VOC); False where it hides what is there (Cityscapes).
        unknown_labels: 'refuse' raises a ValueError if `label` holds what is neither a class nor
            void; with 'wrong' whatever is predicted there is wrong.

    Returns:
        (K, W, 2) int64, intersection and union; add them over images.
    """
    guess, truth = as_regions(pred, label, num_classes, ignore_index, unknown_labels)
    label = label.long().cpu()
    valid = ~is_void(label, ignore_index)
    boundary = transitions(label) & valid if void_is_boundary else transitions(label, valid)
    longest = max(widths)
    distance = distance_to(boundary, longest).clamp(max=longest)
    # The tolerance keeps a whole distance from being rounded down into the band before.
    reached = (distance + TOLERANCE).int() + 1
    return overlap_within(guess, truth, reached, reached, num_classes, widths)

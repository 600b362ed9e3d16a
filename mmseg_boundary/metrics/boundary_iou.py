"""Boundary IoU: the IoU of the inner rims (Cheng et al., CVPR 2021)."""

import math
from collections.abc import Sequence

from torch import Tensor

from ..geometry.depth import depth
from ..labels import as_regions
from .areas import overlap_within


def count_boundary_iou(
    pred: Tensor,
    label: Tensor,
    num_classes: int,
    widths: Sequence[int],
    ignore_index: int = 255,
    unknown_labels: str = 'refuse',
) -> Tensor:
    """What `areas.iou` makes Boundary IoU of, counted in one image.

        BIoU = sum over images of |G_d & P_d|  /  sum over images of |G_d | P_d|

    G_d and P_d are the pixels of a class in truth and prediction at a chessboard distance of at
    most d from the nearest pixel of another class. Beyond the image lies no class, so its border is
    a boundary. Void is no class either, in truth and prediction.

    Args:
        pred, label: (H, W) integer class indices; pixels of `label` may be void.
        num_classes: K.
        widths: W values of d, whole numbers of pixels, 1 or more.
        ignore_index: the void label.
        unknown_labels: 'refuse' raises a ValueError if `label` holds what is neither a class nor
            void; with 'wrong' whatever is predicted there is wrong.

    Returns:
        (K, W, 2) int64, intersection and union; add them over images.

    Deviations:
        The paper adds instances; here a class of an image is one instance, as in semantic
        segmentation.
    """
    guess, truth = as_regions(pred, label, num_classes, ignore_index, unknown_labels)
    return overlap_within(guess, truth, depth(guess), depth(truth), num_classes, widths)


def width_at_ratio(height: int, width: int, dilation_ratio: float = 0.02) -> int:
    """The d that is a share of the image's diagonal, as in the authors' code: 1 or more, in pixels.

    >>> width_at_ratio(1024, 2048)
    46
    """
    return max(1, round(dilation_ratio * math.sqrt(height**2 + width**2)))

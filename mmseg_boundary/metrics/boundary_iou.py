"""Boundary IoU: the IoU of the inner boundaries (Cheng et al., CVPR 2021)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..geometry.distance import depth
from ..labels import LabelPair, encode_pair
from .areas import iou, overlap_within
from .metric import (
    WIDTHS,
    Metric,
    Scores,
    listed,
    require_ratio,
    require_widths,
    width_at_ratio,
)


def count_boundary_iou(
    pred: Any,
    label: Any,
    num_classes: int,
    widths: Sequence[int] | int,
    ignore_index: int = 255,
    unknown_labels: str = 'refuse',
) -> Tensor:
    """What `areas.iou` makes Boundary IoU of, counted in one image.

        BIoU = sum over images of |G_d & P_d|  /  sum over images of |G_d | P_d|

    G_d and P_d are the pixels of a class in label and prediction at a chessboard distance of at
    most d from the nearest pixel of another class. Beyond the image lies no class, so its border is
    a boundary. Void is no class either, in label and prediction.

    Args:
        pred, label: (H, W) integer class indices, tensors or NumPy arrays; pixels of `label` may be
            void.
        num_classes: K.
        widths: one or several values of d, whole numbers of pixels, 1 or more.
        ignore_index: the void label.
        unknown_labels: 'refuse' raises a ValueError if `label` holds what is neither a class nor
            void; with 'wrong' whatever is predicted there is wrong.

    Returns:
        (K, W, 2) int64, intersection and union; add them over images.

    Deviations:
        The paper adds instances; here a class of an image is one instance, as in semantic
        segmentation. Gül's thesis (Table 2.1) reads as if the bands lay on both sides of the
        boundary; as in the paper, theirs is the inner side alone.
    """
    pair = encode_pair(pred, label, num_classes, ignore_index, unknown_labels)
    return _count(pair, listed(widths))


def boundary_iou(
    pred: Any,
    label: Any,
    num_classes: int,
    widths: Sequence[int] | int = WIDTHS,
    ignore_index: int = 255,
    dilation_ratio: float | None = None,
    unknown_labels: str = 'refuse',
) -> Scores:
    """Boundary IoU of one image or over a stack, see `count_boundary_iou`.

    >>> import torch
    >>> label = torch.zeros(9, 9, dtype=torch.long)
    >>> label[2:7, 2:7] = 1
    >>> per_class, mean = boundary_iou(label.roll(1, 1), label, num_classes=2, widths=(1, 2))
    >>> per_class[1]
    tensor([0.3333, 0.6000], dtype=torch.float64)

    Args:
        pred, label: (H, W) or (N, H, W) integer class indices, tensors or NumPy arrays; pixels of
            `label` may be void.
        num_classes, ignore_index, unknown_labels: as for `count_boundary_iou`.
        widths: W whole numbers of pixels, or shares of the image's diagonal (floats between 0 and
            1, rounded to 1 px or more), a column each.
        dilation_ratio: for one more column, the first: the share of the image's diagonal that is
            its width. The paper's is 0.02.

    Returns:
        Scores per class, (K, C) float64 in [0, 1], and their mean, (C,); NaN for a class that is
        in neither map of any image.
    """
    metric = BoundaryIoU(widths, dilation_ratio)
    return metric.score_images(pred, label, num_classes, ignore_index, unknown_labels)


class BoundaryIoU(Metric):
    """Boundary IoU for `Accumulator`; the arguments are those of `boundary_iou`."""

    name = 'BoundaryIoU'

    def __init__(
        self, widths: Sequence[float] | float = WIDTHS, dilation_ratio: float | None = None
    ) -> None:
        if dilation_ratio is not None:
            require_ratio(dilation_ratio)
        super().__init__(require_widths(widths), dilation_ratio)

    def measure(self, pair: LabelPair) -> Tensor:
        """(K, C, 2) int64, intersection and union."""
        widths = self.widths_in(pair)
        if self.ratio is not None:
            height, width = pair.label.shape
            widths = (width_at_ratio(height, width, self.ratio), *widths)
        return _count(pair, widths)

    def per_class(self, records: list[Tensor]) -> Tensor:
        """The IoU of the sums."""
        return iou(torch.stack(records).sum(0))

    @property
    def caption(self) -> str:
        return (
            f'Boundary IoU {self.widths_in_words} (pixels inside the class at a chessboard '
            'distance <= n from its boundary or the image border; intersection and union summed '
            'over all images, mean over classes)'
        )


def _count(pair: LabelPair, widths: Sequence[int]) -> Tensor:
    return overlap_within(pair, depth(pair.pred), depth(pair.label), widths)

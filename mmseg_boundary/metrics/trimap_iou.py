"""Trimap IoU: the IoU in a band around the true boundary (Kohli et al. 2009; Chen et al. 2015)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..geometry.boundary import find_boundaries
from ..geometry.distance import TOLERANCE, distance_to
from ..labels import LabelPair, encode_pair
from .areas import iou, overlap_within
from .metric import WIDTHS, Metric, Scores, require_widths


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
    the true boundary, so that r = 1 is that boundary itself: the pixels with a 4-neighbor of
    another class, on both sides. Void is in no band. The image border is no boundary.

    Args:
        pred, label: (H, W) integer class indices; pixels of `label` may be void.
        num_classes: K.
        widths: W values of r, whole numbers of pixels, 1 or more.
        ignore_index: the void label.
        void_is_boundary: whether a class ends where void begins. True where annotators drew void
            along the boundaries (VOC); False where it hides what is there (Cityscapes).
        unknown_labels: 'refuse' raises a ValueError if `label` holds what is neither a class nor
            void; with 'wrong' whatever is predicted there is wrong.

    Returns:
        (K, W, 2) int64, intersection and union; add them over images.
    """
    pair = encode_pair(pred, label, num_classes, ignore_index, unknown_labels)
    return _count(pair, widths, void_is_boundary)


def trimap_iou(
    pred: Any,
    label: Any,
    num_classes: int,
    widths: Sequence[int] = WIDTHS,
    ignore_index: int = 255,
    void_is_boundary: bool = False,
    unknown_labels: str = 'refuse',
) -> Scores:
    """Trimap IoU of one image or over a stack, see `count_trimap_iou`.

    >>> import torch
    >>> label = torch.tensor([[0, 0, 0, 1, 1, 1]])
    >>> per_class, mean = trimap_iou(label.roll(1, 1), label, num_classes=2, widths=(1, 3))
    >>> per_class[0]  # columns 2 and 3; all six
    tensor([0.5000, 0.5000], dtype=torch.float64)

    Args:
        pred, label: (H, W) or (N, H, W) integer class indices, tensors or NumPy arrays; pixels of
            `label` may be void.
        num_classes, ignore_index, void_is_boundary, unknown_labels: as for `count_trimap_iou`.
        widths: W whole numbers of pixels, a column each.

    Returns:
        Scores per class, (K, W) float64 in [0, 1], and their mean, (W,); NaN for a class that is
        in no band of any image.
    """
    metric = TrimapIoU(widths, void_is_boundary)
    return metric.score_images(pred, label, num_classes, ignore_index, unknown_labels)


class TrimapIoU(Metric):
    """Trimap IoU for `Accumulator`; the arguments are those of `trimap_iou`."""

    name = 'TrimapIoU'

    def __init__(self, widths: Sequence[int] = WIDTHS, void_is_boundary: bool = False) -> None:
        super().__init__(require_widths(widths))
        self.void_is_boundary = void_is_boundary

    def measure(self, pair: LabelPair) -> Tensor:
        """(K, W, 2) int64, intersection and union."""
        return _count(pair, self.widths, self.void_is_boundary)

    def per_class(self, records: list[Tensor]) -> Tensor:
        """The IoU of the sums."""
        return iou(torch.stack(records).sum(0))

    @property
    def caption(self) -> str:
        void = 'a' if self.void_is_boundary else 'no'
        return (
            f'Trimap IoU {self.widths_in_words} (pixels at a Euclidean distance < n from the true '
            f'boundary; void is {void} boundary; intersection and union summed over all images, '
            'mean over classes)'
        )


def _count(pair: LabelPair, widths: Sequence[int], void_is_boundary: bool) -> Tensor:
    # As given: between two numbers that are no class there is a boundary too.
    label, valid = pair.label_as_given, pair.valid
    boundary = find_boundaries(label) & valid if void_is_boundary else find_boundaries(label, valid)
    longest = max(widths)
    distance = distance_to(boundary, longest).clamp(max=longest)
    # The tolerance keeps a whole distance from being rounded down into the band before.
    reached = (distance + TOLERANCE).int() + 1
    return overlap_within(pair, reached, reached, widths)

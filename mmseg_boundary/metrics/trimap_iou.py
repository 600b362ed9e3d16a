"""Trimap IoU: the IoU in a band around the true boundary (after Kohli et al. 2009; Chen et al.
2015)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..choices import require_choice
from ..geometry.boundary import find_boundaries
from ..geometry.distance import TOLERANCE, chessboard_distance_to, distance_to
from ..labels import LabelPair, encode_pair
from .areas import iou, overlap_within
from .metric import WIDTHS, Metric, Scores, listed, require_widths

MODES = ('band', 'deeplab')


def count_trimap_iou(
    pred: Any,
    label: Any,
    num_classes: int,
    widths: Sequence[int] | int,
    ignore_index: int = 255,
    void_is_boundary: bool = False,
    unknown_labels: str = 'refuse',
    mode: str = 'band',
) -> Tensor:
    """What `areas.iou` makes trimap IoU of, counted in one image.

    The band of width r holds the pixels at a Euclidean distance below r from the nearest pixel of
    the true boundary, so that r = 1 is that boundary itself: the pixels with a 4-neighbor of
    another class, on both sides. Void is in no band. The image border is no boundary.

    With 'deeplab' the band of width r holds the valid pixels with void in the square of 2 r + 1
    pixels around them: the void of VOC is the boundary, and two classes that touch have none.

    Args:
        pred, label: (H, W) integer class indices, tensors or NumPy arrays; pixels of `label` may be
            void.
        num_classes: K.
        widths: one or several values of r, whole numbers of pixels, 1 or more.
        ignore_index: the void label.
        void_is_boundary: whether a class ends where void begins. True where annotators drew void
            along the boundaries (VOC); False where it hides what is there (Cityscapes). 'deeplab'
            has no such choice.
        unknown_labels: 'refuse' raises a ValueError if `label` holds what is neither a class nor
            void; with 'wrong' whatever is predicted there is wrong.
        mode: 'band', around the boundaries of the classes, or 'deeplab', around void.

    Returns:
        (K, W, 2) int64, intersection and union; add them over images. All 0, and so NaN as IoU,
        where there is no boundary; with 'deeplab', where nothing or everything is void.

    Raises:
        ValueError: an argument is not of these kinds, or `void_is_boundary` is given with
            'deeplab'.

    Deviations:
        'band' is the measure of neither source. Kohli et al. (and Krähenbühl & Koltun 2011) give
        the share of wrong pixels in the band, not an IoU. Chen et al. (DeepLab) give the IoU, but
        in a band of squares around void; 'deeplab' is that measure.
    """
    require_trimap_mode(mode, void_is_boundary)
    pair = encode_pair(pred, label, num_classes, ignore_index, unknown_labels)
    return _count(pair, listed(widths), void_is_boundary, mode)


def trimap_iou(
    pred: Any,
    label: Any,
    num_classes: int,
    widths: Sequence[int] | int = WIDTHS,
    ignore_index: int = 255,
    void_is_boundary: bool = False,
    unknown_labels: str = 'refuse',
    mode: str = 'band',
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
        num_classes, ignore_index, void_is_boundary, unknown_labels, mode: as for
            `count_trimap_iou`.
        widths: W whole numbers of pixels, or shares of the image's diagonal (floats between 0 and
            1, rounded to 1 px or more), a column each.

    Returns:
        Scores per class, (K, W) float64 in [0, 1], and their mean, (W,); NaN for a class that is
        in no band of any image.
    """
    metric = TrimapIoU(widths, void_is_boundary, mode)
    return metric.score_images(pred, label, num_classes, ignore_index, unknown_labels)


class TrimapIoU(Metric):
    """Trimap IoU for `Accumulator`; the arguments are those of `trimap_iou`."""

    name = 'TrimapIoU'

    def __init__(
        self,
        widths: Sequence[float] | float = WIDTHS,
        void_is_boundary: bool = False,
        mode: str = 'band',
    ) -> None:
        require_trimap_mode(mode, void_is_boundary)
        super().__init__(require_widths(widths))
        self.void_is_boundary = void_is_boundary
        self.mode = mode

    def measure(self, pair: LabelPair) -> Tensor:
        """(K, W, 2) int64, intersection and union."""
        return _count(pair, self.widths_in(pair), self.void_is_boundary, self.mode)

    def per_class(self, records: list[Tensor]) -> Tensor:
        """The IoU of the sums."""
        return iou(torch.stack(records).sum(0))

    @property
    def caption(self) -> str:
        void = 'a' if self.void_is_boundary else 'no'
        bands = {
            'band': "pixels at a Euclidean distance < n from the true boundary, mode 'band'; "
            f'void is {void} boundary',
            'deeplab': "valid pixels at a chessboard distance <= n from void, mode 'deeplab'; NaN "
            'without void',
        }
        return (
            f'Trimap IoU {self.widths_in_words} ({bands[self.mode]}; intersection and union summed '
            'over all images, mean over classes)'
        )

    def remark(self, records: list[Tensor]) -> str:
        """With 'deeplab', that there was no void to follow."""
        if self.mode == 'band' or any(record.any() for record in records):
            return ''
        return (
            "Trimap IoU has no pixel to count: mode 'deeplab' takes those beside void, and no "
            "label has both void and valid pixels. Mode 'band' follows the boundaries of classes."
        )


def require_trimap_mode(mode: str, void_is_boundary: bool, name: str = 'mode') -> None:
    """Raises a ValueError unless the mode is one of `MODES` and `void_is_boundary` goes with it."""
    require_choice(name, mode, MODES)
    if mode == 'deeplab' and void_is_boundary:
        raise ValueError(
            f"void_is_boundary=True has no meaning with {name}='deeplab', where void alone is the "
            f"boundary; drop it, or take {name}='band'."
        )


def _count(pair: LabelPair, widths: Sequence[int], void_is_boundary: bool, mode: str) -> Tensor:
    if mode == 'deeplab':
        reached = _distance_to_void(pair.valid)
        return overlap_within(pair, reached, reached, widths)
    # As given: between two numbers that are no class there is a boundary too.
    label, valid = pair.label_as_given, pair.valid
    boundary = find_boundaries(label) & valid if void_is_boundary else find_boundaries(label, valid)
    longest = max(widths)
    distance = distance_to(boundary, longest).clamp(max=longest)
    # The tolerance keeps a whole distance from being rounded down into the band before.
    reached = (distance + TOLERANCE).int() + 1
    return overlap_within(pair, reached, reached, widths)


def _distance_to_void(valid: Tensor) -> Tensor:
    """(H, W) int32, the chessboard distance of valid pixels, 1 or more; beyond every width where
    there is no void."""
    if valid.all():
        return torch.full(valid.shape, torch.iinfo(torch.int32).max, dtype=torch.int32)
    return chessboard_distance_to(~valid)

"""What is predicted where a boundary is not met: another class, the boundary farther away, none."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..geometry.boundary import MAX_SETS, class_boundaries, count_members, shared_within, within
from ..labels import encode_pair

KINDS = ('met', 'other class', 'shifted', 'missed')


def count_boundary_errors(
    pred: Any,
    label: Any,
    num_classes: int,
    tolerance: float = 3,
    reach: float | None = None,
    ignore_index: int = 255,
    unknown_labels: str = 'refuse',
) -> Tensor:
    """Sorts the boundary of each class in one image by what the other map has there.

    A pixel of it is

    - met, where the other map has the boundary of this class within the tolerance;
    - else of another class, where it has a boundary between any two others within the tolerance:
      the contour is found, and the class beside it is confused;
    - else shifted, where it has the boundary of this class within the reach;
    - else missed, or in the prediction, invented.

    It is thin if it bounds a part of the class that no disk of the tolerance's radius fits into;
    corners are such parts, and neither void nor the image border makes one.
    Boundaries and void are those of `boundary_f`, of whose P and R met is the share.

    Args:
        pred, label: (H, W) integer class indices, tensors or NumPy arrays; pixels of `label` may be
            void.
        num_classes: K.
        tolerance: a Euclidean distance, in pixels.
        reach: the same, not below the tolerance; None is four times the tolerance.
        ignore_index, unknown_labels: as for `boundary_f`.

    Returns:
        (2, K, 4, 2) int64: pixels of the true and of the predicted boundaries, per class, in the
        order of `KINDS`, thick and thin.
    """
    reach = require_distances(tolerance, reach)
    pair = encode_pair(pred, label, num_classes, ignore_index, unknown_labels)
    numbers = range(num_classes)
    some = [numbers[first : first + MAX_SETS] for first in numbers[::MAX_SETS]]
    sides = [
        (labels, [class_boundaries(labels, each) for each in some])
        for labels in (pair.label, pair.pred)
    ]
    counts = []
    for (labels, own), (their_labels, other) in (sides, sides[::-1]):
        contours = within(_between_classes(their_labels, num_classes), tolerance)
        found = []
        for classes, mine, theirs in zip(some, own, other, strict=True):
            thin = _thin(labels, classes, num_classes, tolerance)
            found.append(_sorted(mine, theirs, contours, thin, (tolerance, reach), len(classes)))
        counts.append(torch.cat(found))
    return torch.stack(counts)


def require_distances(tolerance: float, reach: float | None) -> float:
    """The reach, four tolerances if there is none.

    Raises:
        ValueError: they are no pixels, or the reach is below the tolerance.
    """
    reach = 4 * tolerance if reach is None else reach
    if not 0 <= tolerance <= reach < math.inf:
        raise ValueError(
            f'tolerance is {tolerance:g} and reach {reach:g}; give 0 or more pixels, and a reach '
            'that is not below the tolerance.'
        )
    return reach


def _sorted(
    own: Tensor,
    other: Tensor,
    contours: Tensor,
    thin: Tensor,
    radii: tuple[float, float],
    classes: int,
) -> Tensor:
    """(classes, 4, 2) int64, of the pixels of `own`."""
    places = own != 0
    left, thin = own[places], thin[places]
    met, near = shared_within(own, other, radii)
    confused = left * contours[places]
    counts = []
    for among in (met, confused, near, left):
        kind = among & left
        left = left & ~kind
        counts.append([count_members(kind & of, classes) for of in (~thin, thin)])
    return torch.stack([torch.stack(each, -1) for each in counts], 1)


def _between_classes(labels: Tensor, void: int) -> Tensor:
    """(H, W) bool: of a pixel and its east, south and south-east neighbors two have different
    classes. Void, which both maps have at the same place, is none."""
    largest = _over_windows(labels.where(labels != void, -1), torch.maximum)
    return largest > _over_windows(labels, torch.minimum)


def _thin(labels: Tensor, classes: Sequence[int], void: int, radius: float) -> Tensor:
    """(H, W) int32: bit i of a pixel says whether of it and its east, south and south-east
    neighbors, between which its boundary runs, some are in a part of `classes[i]` that no disk of
    the radius fits into. Neither void nor the image border cuts a disk off."""
    sets = torch.zeros(labels.shape, dtype=torch.int32)
    for place, number in enumerate(classes):
        mask = labels == number
        if mask.any():
            room = mask | (labels == void)
            opened = within(~within(~room, radius), radius)
            sets |= (mask & ~opened).int() << place
    return _over_windows(sets, torch.bitwise_or)


def _over_windows(values: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """(H, W), each pixel combined with its east, south and south-east neighbors."""
    values = combine(values, torch.cat([values[:, 1:], values[:, -1:]], 1))
    return combine(values, torch.cat([values[1:], values[-1:]]))

"""Boundaries between classes, and what lies near them."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SETS = 31  # as many classes as an int32 has bits beside its sign


def find_boundaries(labels: Tensor, valid: Tensor | None = None) -> Tensor:
    """Pixels with a 4-neighbor of a different label: both sides of each boundary.

    The image border is no boundary.

    >>> labels = torch.tensor([[0, 0, 0, 1],
    ...                        [0, 0, 0, 1],
    ...                        [2, 2, 2, 2]])
    >>> find_boundaries(labels).int()
    tensor([[0, 0, 1, 1],
            [1, 1, 1, 1],
            [1, 1, 1, 1]], dtype=torch.int32)
    >>> find_boundaries(labels, valid=labels != 2).int()
    tensor([[0, 0, 1, 1],
            [0, 0, 1, 1],
            [0, 0, 0, 0]], dtype=torch.int32)

    Args:
        labels: (..., H, W), a label map or a mask.
        valid: (..., H, W) bool, pixels that have a label; the others make no boundary. None: all.

    Returns:
        (..., H, W) bool.
    """
    across_rows = labels[..., 1:, :] != labels[..., :-1, :]
    across_columns = labels[..., 1:] != labels[..., :-1]
    if valid is not None:
        across_rows &= valid[..., 1:, :] & valid[..., :-1, :]
        across_columns &= valid[..., 1:] & valid[..., :-1]
    found = torch.zeros_like(labels, dtype=torch.bool)
    found[..., 1:, :] |= across_rows
    found[..., :-1, :] |= across_rows
    found[..., 1:] |= across_columns
    found[..., :-1] |= across_columns
    return found


def within(mask: Tensor, width: float) -> Tensor:
    """Pixels at a Euclidean distance of at most `width` from a pixel of the mask.

    >>> mask = torch.zeros(5, 7, dtype=torch.bool)
    >>> mask[2, 3] = True
    >>> within(mask, 2).int()
    tensor([[0, 0, 0, 1, 0, 0, 0],
            [0, 0, 1, 1, 1, 0, 0],
            [0, 1, 1, 1, 1, 1, 0],
            [0, 0, 1, 1, 1, 0, 0],
            [0, 0, 0, 1, 0, 0, 0]], dtype=torch.int32)

    Args:
        mask: (..., H, W) bool.
        width: 0 or more, in pixels.

    Returns:
        (..., H, W) bool; all False for an empty mask.
    """
    height, length = mask.shape[-2:]
    reach = math.floor(width)
    padded = F.pad(mask, (reach,) * 4)
    found = torch.zeros_like(mask)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            if (down - reach) ** 2 + (right - reach) ** 2 <= width**2:
                found |= padded[..., down : down + height, right : right + length]
    return found


def class_boundaries(labels: Tensor, classes: Sequence[int], mode: str = 'davis') -> Tensor:
    """The boundaries of several classes, one pixel wide, in one map of bit sets.

    'davis', as the DAVIS benchmark draws them: a pixel is on the boundary of a class if of the
    pixel itself and its east, south and south-east neighbors some belong to the class and some do
    not; on upper and left sides it lies just outside. 'inner': the pixels of the class with a
    4-neighbor of another one. The image border is no boundary.

    >>> labels = torch.tensor([[0, 0, 0, 0],
    ...                        [0, 5, 5, 0],
    ...                        [0, 5, 5, 0],
    ...                        [0, 0, 0, 0]])
    >>> class_boundaries(labels, [5])
    tensor([[1, 1, 1, 0],
            [1, 0, 1, 0],
            [1, 1, 1, 0],
            [0, 0, 0, 0]], dtype=torch.int32)
    >>> class_boundaries(labels, [5], mode='inner')
    tensor([[0, 0, 0, 0],
            [0, 1, 1, 0],
            [0, 1, 1, 0],
            [0, 0, 0, 0]], dtype=torch.int32)

    Args:
        labels: (H, W) integer, 0 or more.
        classes: at most `MAX_SETS`.
        mode: 'davis' or 'inner'.

    Returns:
        (H, W) int32: bit i of a pixel says whether it is on the boundary of `classes[i]`.

    Raises:
        ValueError: there are more classes than bits.
    """
    members = _members(labels, classes)
    if mode == 'inner':
        return members * find_boundaries(labels)
    # The last row and column are repeated: the image border is no boundary.
    members = torch.cat([members, members[-1:]])
    members = torch.cat([members, members[:, -1:]], 1)
    upper, lower = members[:-1], members[1:]
    some = upper[:, :-1] | upper[:, 1:] | lower[:, :-1] | lower[:, 1:]
    all_four = upper[:, :-1] & upper[:, 1:] & lower[:, :-1] & lower[:, 1:]
    return some & ~all_four


def count_members(sets: Tensor, members: int) -> Tensor:
    """How often the members 0, 1, ... are in sets.

    >>> count_members(torch.tensor([[0b01, 0b11, 0b00], [0b10, 0b10, 0b10]]).int(), 2)
    tensor([[2, 1],
            [0, 3]])

    Args:
        sets: (..., M) int32, as from `class_boundaries`.
        members: how many members to look for.

    Returns:
        (..., members) int64.
    """
    # A sum in another type than its summands' is slower.
    counts = [(sets >> member & 1).sum(-1, dtype=sets.dtype) for member in range(members)]
    return torch.stack(counts, -1).long()


def shared_within(sets: Tensor, other: Tensor, radii: Sequence[float]) -> Tensor:
    """The members that pixels of one map share with pixels of another within the radii.

    A disk is made of rows. The other map is widened along its rows, by one pixel to both sides at a
    time; above and below a pixel it then holds what a row of that length meets.

    >>> sets = torch.tensor([[1, 1, 3, 1], [0, 0, 0, 0]], dtype=torch.int32)
    >>> other = torch.tensor([[0, 0, 0, 0], [1, 2, 0, 0]], dtype=torch.int32)
    >>> shared_within(sets, other, radii=[1, 1.5, 3])
    tensor([[1, 0, 0, 0],
            [1, 1, 2, 0],
            [1, 1, 3, 0]], dtype=torch.int32)

    Args:
        sets, other: (H, W) int32, sets as from `class_boundaries`.
        radii: T Euclidean distances, 0 or more, in pixels.

    Returns:
        (T, M) int32, a set for each of the M pixels of `sets` with one, row by row: its members
        that lie within the radius in `other`.
    """
    reach = math.floor(max(radii))
    places = sets.flatten().nonzero().squeeze(1)
    own = sets.flatten()[places]
    # The padding keeps widened rows apart. `places` count from the first row of the image.
    width = sets.shape[1] + 2 * reach
    places = places // sets.shape[1] * width + places % sets.shape[1] + reach
    wide = F.pad(other, (reach,) * 4).flatten()
    met = torch.zeros(len(radii), len(places), dtype=torch.int32)
    rows = [
        (_half_width(radius, row), row, found)
        for found, radius in zip(met, radii, strict=True)
        for row in range(-math.floor(radius), math.floor(radius) + 1)
    ]
    for widened in range(reach + 1):
        for half, row, found in rows:
            if half == widened:
                found |= wide[(reach + row) * width :].index_select(0, places)
        before = wide.clone()
        wide[1:] |= before[:-1]
        wide[:-1] |= before[1:]
    return met & own


def _half_width(radius: float, row: int) -> int:
    """How far a disk reaches to both sides, `row` rows off its center."""
    half = 0
    while math.sqrt(row**2 + (half + 1) ** 2) <= radius:
        half += 1
    return half


def _members(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """(H, W) int32, the set of each pixel: its class if that is asked for, else empty."""
    if len(classes) > MAX_SETS:
        raise ValueError(f'{len(classes)} classes are asked for; give at most {MAX_SETS}.')
    bits = torch.zeros(max(int(labels.max()), *classes, 0) + 1, dtype=torch.int32)
    for place, number in enumerate(classes):
        bits[number] = 1 << place
    return bits.index_select(0, labels.flatten()).view(labels.shape)

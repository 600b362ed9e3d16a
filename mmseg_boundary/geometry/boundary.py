"""Contours between regions, and what lies near them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def transitions(labels: Tensor, valid: Tensor | None = None) -> Tensor:
    """Pixels with a 4-neighbour of a different label: both sides of each contour.

    The image border is no contour.

    >>> labels = torch.tensor([[0, 0, 0, 1],
    ...                        [0, 0, 0, 1],
    ...                        [2, 2, 2, 2]])
    >>> transitions(labels).int()
    tensor([[0, 0, 1, 1],
            [1, 1, 1, 1],
            [1, 1, 1, 1]], dtype=torch.int32)
    >>> transitions(labels, valid=labels != 2).int()
    tensor([[0, 0, 1, 1],
            [0, 0, 1, 1],
            [0, 0, 0, 0]], dtype=torch.int32)

    Args:
        labels: (..., H, W), region numbers or a mask.
        valid: (..., H, W) bool, pixels that have a label; the others touch nothing. None: all.

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


def contours(regions: Tensor, numbers: list[int]) -> list[Tensor]:
    """The contour of each of the regions, one pixel wide, as the DAVIS benchmark draws it.

    A pixel is on it if of the pixel itself and its east, south and south-east neighbours some
    belong to the region and some do not: on upper and left edges it lies just outside. The image
    border is no contour.

    >>> regions = torch.tensor([[0, 0, 0, 0],
    ...                         [0, 5, 5, 0],
    ...                         [0, 5, 5, 0],
    ...                         [0, 0, 0, 0]])
    >>> _drawn(contours(regions, [5])[0], regions)
    tensor([[1, 1, 1, 0],
            [1, 0, 1, 0],
            [1, 1, 1, 0],
            [0, 0, 0, 0]])

    Args:
        regions: (H, W) integer: the number of the region that a pixel belongs to.
        numbers: the regions asked for.

    Returns:
        For each of them (M, 2) int64, the rows and columns of its M contour pixels.
    """
    # Beyond the image lies more of the same.
    grown = torch.cat([regions, regions[-1:]])
    grown = torch.cat([grown, grown[:, -1:]], 1)
    squares = grown[:-1, :-1], grown[:-1, 1:], grown[1:, :-1], grown[1:, 1:]
    mixed = (squares[0] != squares[1]) | (squares[0] != squares[2]) | (squares[0] != squares[3])
    points = mixed.nonzero()
    around = torch.stack([corner[mixed] for corner in squares])
    found = []
    for number in numbers:
        inside = around == number
        found.append(points[inside.any(0) & ~inside.all(0)])
    return found


def rims(regions: Tensor, numbers: list[int]) -> list[Tensor]:
    """The inner rim of each of the regions: its pixels with a 4-neighbour that is not.

    The image border is no rim.

    >>> regions = torch.tensor([[0, 0, 0, 0],
    ...                         [0, 5, 5, 5],
    ...                         [0, 5, 5, 5],
    ...                         [0, 5, 5, 5]])
    >>> _drawn(rims(regions, [5])[0], regions)
    tensor([[0, 0, 0, 0],
            [0, 1, 1, 1],
            [0, 1, 0, 0],
            [0, 1, 0, 0]])

    Args and Returns: as for `contours`.
    """
    points = transitions(regions).nonzero()
    owners = regions[points[:, 0], points[:, 1]]
    return [points[owners == number] for number in numbers]


def nearest(points: Tensor, others: Tensor, max_distance: float) -> Tensor:
    """Euclidean distance of each point to the nearest of the others, in pixels.

    Args:
        points, others: (M, 2) and (L, 2) int64, rows and columns.
        max_distance: how far to look.

    Returns:
        (M,) float64 on the CPU; inf where there is none, or only further away than `max_distance`.
    """
    from scipy.spatial import cKDTree

    if len(points) == 0 or len(others) == 0:
        return torch.full((len(points),), torch.inf, dtype=torch.float64)
    # The tree leaves out what lies at its bound.
    bound = math.nextafter(max_distance, math.inf)
    distances, _ = cKDTree(others.cpu().numpy()).query(
        points.cpu().numpy(), distance_upper_bound=bound
    )
    return torch.from_numpy(distances)


def _drawn(points: Tensor, like: Tensor) -> Tensor:
    picture = torch.zeros_like(like)
    picture[points[:, 0], points[:, 1]] = 1
    return picture

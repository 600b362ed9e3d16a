"""Contours between regions, and what lies near them."""

import math

import torch
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
    padded = torch.nn.functional.pad(mask, (reach,) * 4)
    found = torch.zeros_like(mask)
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            if (down - reach) ** 2 + (right - reach) ** 2 <= width**2:
                found |= padded[..., down : down + height, right : right + length]
    return found

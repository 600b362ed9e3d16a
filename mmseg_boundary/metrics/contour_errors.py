"""How many of the wrong pixels lie near a true boundary."""

from typing import Any

import torch
from torch import Tensor

from ..geometry.boundary import find_boundaries, within
from ..labels import as_tensor, is_void


def count_contour_errors(
    pred: Any, label: Any, ignore_index: int = 255, width: float = 3
) -> Tensor:
    """Counts wrong pixels, near the boundaries of the label and everywhere; none at void.

    A boundary runs through the pixels with a 4-neighbor of another class. Where a class meets void
    or the image ends there is none.

    Args:
        pred, label: (..., H, W) integer classes, of any number, tensors or NumPy arrays: each label
            but void is one.
        ignore_index: the void label.
        width: Euclidean distance from a boundary pixel that still counts as near, in pixels.

    Returns:
        (2,) int64: the wrong pixels near a boundary, all wrong pixels.
    """
    # Narrow types do not compare with each other.
    pred, label = as_tensor(pred).long(), as_tensor(label).long()
    valid = ~is_void(label, ignore_index)
    wrong = (pred != label) & valid
    near = within(find_boundaries(label, valid), width)
    return torch.stack([(wrong & near).sum(), wrong.sum()])


def share_near_contour(counts: Any) -> float:
    """The share of wrong pixels near a boundary, in [0, 1]; NaN if nothing is wrong.

    Args:
        counts: (2,) int64 from `count_contour_errors`, summed over images.
    """
    near, wrong = as_tensor(counts).double()
    return (near / wrong).item()

"""How deep a pixel lies inside its region."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .distance import chamfer_distance_to


def depth(regions: Tensor) -> Tensor:
    """Chessboard distance of every pixel to the nearest one of another region.

    Beyond the image lies another region. A region eroded d times by a 3x3 square keeps what is
    deeper than d.

    >>> depth(torch.tensor([[0, 0, 0, 0, 0],
    ...                     [0, 0, 0, 0, 0],
    ...                     [0, 0, 0, 0, 7],
    ...                     [0, 0, 0, 0, 0],
    ...                     [0, 0, 0, 0, 0]]))
    tensor([[1, 1, 1, 1, 1],
            [1, 2, 2, 1, 1],
            [1, 2, 2, 1, 1],
            [1, 2, 2, 1, 1],
            [1, 1, 1, 1, 1]], dtype=torch.int32)

    Args:
        regions: (H, W) integer, 0 or more: the number of the region that a pixel belongs to.

    Returns:
        (H, W) int32, 1 or more, on the CPU.
    """
    framed = F.pad(regions.cpu(), (1, 1, 1, 1), value=-1)
    # A 3x3 square is of one region if its rows are, and its middle column.
    in_rows = framed[:, 1:] != framed[:, :-1]
    in_columns = framed[1:, 1:-1] != framed[:-1, 1:-1]
    mixed_rows = in_rows[:, 1:] | in_rows[:, :-1]
    rim = mixed_rows[1:-1] | mixed_rows[2:] | mixed_rows[:-2] | in_columns[1:] | in_columns[:-1]
    return _chessboard_distance_to(rim) + 1


def _chessboard_distance_to(mask: Tensor) -> Tensor:
    try:
        import cv2
    except ImportError:
        return chamfer_distance_to(mask, 'chessboard').int()
    outside = (~mask).byte().numpy()
    return torch.from_numpy(cv2.distanceTransform(outside, cv2.DIST_C, 3)).int()

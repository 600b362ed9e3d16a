"""How deep a pixel lies inside its region."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .distance import chamfer_distance_to

NEIGHBOURS = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]


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
            [1, 1, 1, 1, 1]])

    Args:
        regions: (H, W) integer, 0 or more: the number of the region that a pixel belongs to.

    Returns:
        (H, W) int64, 1 or more, on the CPU.
    """
    height, width = regions.shape
    framed = F.pad(regions.cpu(), (1, 1, 1, 1), value=-1)
    inner = framed[1:-1, 1:-1]
    rim = torch.zeros_like(inner, dtype=torch.bool)
    for row, column in NEIGHBOURS:
        rim |= inner != framed[row : row + height, column : column + width]
    return _chessboard_distance_to(rim) + 1


def _chessboard_distance_to(mask: Tensor) -> Tensor:
    try:
        import cv2
    except ImportError:
        return chamfer_distance_to(mask, 'chessboard').long()
    outside = (~mask).byte().numpy()
    return torch.from_numpy(cv2.distanceTransform(outside, cv2.DIST_C, 3)).long()

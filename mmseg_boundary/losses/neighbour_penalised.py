"""SCNP (Valverde, Papadopoulos, Larsen & Dahl, CVPR 2026, arXiv 2603.18671): logits for another
loss, in which every pixel answers for the worst of its neighbors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..choices import require_odd
from ..labels import Target


def neighbour_penalised(logits: Tensor, target: Target, window: int = 3) -> Tensor:
    """The logits that another loss gets in the place of a head's, at no pixel better than these.

        z̃_k(x) = min of z_k over the pixels of class k in W(x)     where x is of class k
                 max of z_k over the pixels of others in W(x)      where x is of another class
                 z_k(x)                                            where x is void

    W(x) are the valid pixels within (window - 1) / 2 px (chessboard) of x, x itself included. So a
    cross-entropy of z̃ is at least that of z, in a softmax and in sigmoids. Each z̃_k(x) has its
    gradient at the one pixel that was chosen; of equal ones at the first, row by row.

    Args:
        logits: (N, K, H, W) float, before softmax or sigmoid.
        target: the labels, from `labels.encode`; with one logit the class is 1.
        window: odd, 3 or more, in pixels.

    Returns:
        (N, K, H, W) of the same type: values of `logits`, none of them rounded.

    Raises:
        ValueError: an argument is out of its range, or `logits` and `target` differ in shape.

    Deviations:
        Excluded pixels are -inf in the pools. The published code adds and subtracts 9999, which
        breaks beyond logits of that size and rounds half types. Void is no neighbor.
    """
    require_window(window)
    target.require_shape(logits, 'logits')
    of_others = target.valid & ~target.masks
    worst_of_class = -_window_max(torch.where(target.masks, -logits, -torch.inf), window)
    worst_of_others = _window_max(torch.where(of_others, logits, -torch.inf), window)
    penalised = torch.where(target.masks, worst_of_class, worst_of_others)
    return torch.where(target.valid, penalised, logits)


def require_window(window: int) -> None:
    """Raises the ValueError of `neighbour_penalised`, before there is a batch."""
    require_odd('window', window)


def _window_max(maps: Tensor, window: int) -> Tensor:
    # beyond the border it pads with -inf
    return F.max_pool2d(maps, window, stride=1, padding=window // 2)

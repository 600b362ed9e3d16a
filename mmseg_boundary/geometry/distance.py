"""Exact distances to masks, in pixels between pixel centers.

On the CPU OpenCV computes them, or scipy where OpenCV is missing, for as many masks at a time as
torch has threads; on CUDA torch does, on the device. The engines agree to 1e-3 px, not to the last
bit, so that distances are compared with a tolerance and never with `==`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from ..compiled import compiled, is_compiled
from ..devices import is_queued

TOLERANCE = 1e-3  # px, by which two engines may differ
METRICS = ('euclidean', 'chessboard', 'taxicab')
# 256 MiB of float32: the most that a step of the column pass holds, unless one row needs more.
_STEP_SIZE = 2**26


@torch.no_grad()
def distance_to(mask: Tensor, max_distance: float | None = None) -> Tensor:
    """Euclidean distances of all pixels to the nearest True pixel of their mask.

    >>> distance_to(torch.tensor([[True, False, False],
    ...                           [False, False, False]]))
    tensor([[0.0000, 1.0000, 2.0000],
            [1.0000, 1.4142, 2.2361]])

    Args:
        mask: (..., H, W) bool.
        max_distance: in pixels; distances beyond it become inf, which saves time on CUDA.

    Returns:
        (..., H, W) float32, to 1e-3 px; inf where no pixel of the mask is True, or none within
        `max_distance`.
    """
    if is_queued(mask):
        return torch_distance_to(mask, max_distance)
    distances = _mask_by_mask(_euclidean_engine(), mask)
    return distances if max_distance is None else _without_far(distances, max_distance)


@torch.no_grad()
def torch_distance_to(mask: Tensor, max_distance: float | None = None) -> Tensor:
    """`distance_to` in torch, on the device of the mask and without reading it back.

    The squared distance along the row, by cumulative extrema, then its minimum over the rows:

        d^2(y, x) = min over v of  g^2(v, x) + (y - v)^2
    """
    *_, height, width = mask.shape
    along_rows = _distance_along_rows(mask).reshape(-1, height, width)
    if is_compiled(along_rows.unsqueeze(0)):
        form = along_rows.device, len(along_rows) > 1  # torch compiles for a size of 1 anew
        distances = compiled(_nearest_over_rows, form, _nearest_in_steps)(along_rows)
    else:
        distances = _nearest_in_steps(along_rows, max_distance)
    distances = distances.view(mask.shape)
    return distances if max_distance is None else _without_far(distances, max_distance)


@torch.no_grad()
def chamfer_distance_to(mask: Tensor, metric: str) -> Tensor:
    """`distance_to` in the 'chessboard' (max) or 'taxicab' (sum) metric, by scipy.

    CUDA masks are read back to the host: these metrics are for studies, not for training at speed.
    """
    from scipy.ndimage import distance_transform_cdt

    return _mask_by_mask(lambda background: distance_transform_cdt(background, metric), mask)


@torch.no_grad()
def distances_between(regions: Tensor, metric: str = 'euclidean') -> tuple[Tensor, Tensor]:
    """How far every pixel lies from each region, and from all regions but its own.

    >>> outside, inside = distances_between(torch.tensor([[[[True, False, False, False]],
    ...                                                    [[False, False, True, True]]]]))
    >>> outside[0]
    tensor([[[0., 1., 2., 3.]],
    <BLANKLINE>
            [[2., 1., 0., 0.]]])
    >>> inside[0]
    tensor([[[2., 1., 2., 3.]]])

    One transform per present region serves both: what lies inside a region is as far from the other
    side as from the nearest other region. Pixels of no region, void, are on neither side.

    Args:
        regions: (N, K, H, W) bool, disjoint.
        metric: 'euclidean', 'chessboard' or 'taxicab'.

    Returns:
        outside: (N, K, H, W) float32, 0 in the region; inf where the region is empty.
        inside: (N, 1, H, W) float32, the distance to the nearest pixel of another region; inf where
            there is no other. At void, to the nearest pixel of any.
    """
    euclidean = metric == 'euclidean'
    outside = distance_to(regions) if euclidean else chamfer_distance_to(regions, metric)
    if is_queued(regions):  # few launches, and a map more
        return outside, outside.masked_fill(regions, torch.inf).amin(1, keepdim=True)
    # From its own region a pixel is 0 px away: the nearest other one is the second nearest.
    nearest = second = torch.full_like(outside[:, :1], torch.inf)
    for distances in outside.split(1, 1):
        second = second.minimum(nearest.maximum(distances))
        nearest = nearest.minimum(distances)
    return outside, nearest.where(nearest > 0, second)


@torch.no_grad()
def signed_distances(regions: Tensor, outside: Tensor, inside: Tensor) -> Tensor:
    """Distances that are negative in the region: 1 on the first pixel outside, 0 on the first
    inside, -1 on the second (Kervadec et al.).

    Args:
        regions: (N, K, H, W) bool.
        outside, inside: from `distances_between`, of these regions and perhaps others.

    Returns:
        (N, K, H, W) float32; 0 where a side is missing: an absent region, or nothing beside it.
    """
    signed = _empty(outside.shape) if outside.device.type == 'cpu' else None
    signed = torch.where(regions, 1 - inside, outside, out=signed)
    return signed.nan_to_num_(posinf=0, neginf=0)


def _euclidean_engine() -> Callable:
    try:
        import cv2
    except ImportError:
        from scipy.ndimage import distance_transform_edt

        return distance_transform_edt

    def precise(background):
        # With one thread OpenCV takes Intel's IPP, which is slower and less exact. The switch is
        # for the calling thread alone, here one of the pool's.
        cv2.ipp.setUseIPP(False)
        return cv2.distanceTransform(background, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

    return precise


def _mask_by_mask(engine: Callable, mask: Tensor) -> Tensor:
    """The distances of `engine`, which takes an (H, W) uint8 array, 0 where the mask is True."""
    masks = mask.reshape(-1, *mask.shape[-2:]).cpu()
    distances = _empty(masks.shape)

    # In NumPy: each thread of the pool that calls torch would start threads of its own.
    def fill(sites, found) -> None:
        if sites.any():
            found[:] = engine((~sites).view('uint8'))
        else:  # for an empty mask the libraries return garbage
            found[:] = torch.inf

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(fill, masks.numpy(), distances.numpy()))
    return distances.view(mask.shape).to(mask.device)


def _empty(shape: torch.Size) -> Tensor:
    """Uninitialized float32 on the CPU, by NumPy, which asks the system for huge pages. torch does
    not: the first touch of that many small ones takes longer than all that is done with them."""
    import numpy as np

    return torch.from_numpy(np.empty(shape, np.float32))


def _distance_along_rows(mask: Tensor) -> Tensor:
    """(..., H, W) float32, the distance to the nearest True pixel of the row; inf without one."""
    width = mask.shape[-1]
    # In a short type: cumulative extrema write int64 indices too, and nobody reads them.
    dtype = torch.int16 if 3 * width < 2**15 else torch.int32
    columns = torch.arange(width, device=mask.device, dtype=dtype).expand(mask.shape)
    before = columns.where(mask, -width).cummax(-1).values
    after = columns.where(mask, 2 * width).flip(-1).cummin(-1).values.flip(-1)
    gaps = torch.minimum(columns - before, after - columns)
    return gaps.float().masked_fill_(gaps >= width, torch.inf)


def _nearest_over_rows(along_rows: Tensor) -> Tensor:
    """The distances of (P, H, W) masks, from those along the rows. Only compiled: as it stands it
    makes a map for every row. The least of numbers is the same in any order, so that the result
    does not depend on the sizes that it was compiled for."""
    rows = torch.arange(along_rows.shape[1], device=along_rows.device, dtype=torch.float32)
    gaps = (rows[:, None] - rows).square().unsqueeze(-1)
    return (along_rows.square().unsqueeze(1) + gaps).amin(2).sqrt()


def _nearest_in_steps(along_rows: Tensor, max_distance: float | None = None) -> Tensor:
    """`_nearest_over_rows` in steps that fit into the memory; right up to `max_distance`."""
    squared = along_rows.square_()
    _, height, width = squared.shape
    reach = height if max_distance is None else int(max_distance)
    # A step of `reach` rows reads 3 `reach`; a larger one would save nothing.
    window = min(height, 3 * reach + 1)
    step = max(1, min(reach, _STEP_SIZE // max(1, squared.shape[0] * window * width)))
    rows = torch.arange(height, device=squared.device, dtype=torch.float32)
    nearest = torch.empty_like(squared)
    for first in range(0, height, step):
        last = min(first + step, height)
        near = slice(max(0, first - reach), last + reach)
        gaps = (rows[first:last, None] - rows[near]).square()[..., None]
        nearest[:, first:last] = (squared[:, None, near] + gaps).amin(2)
    return nearest.sqrt()


def _without_far(distances: Tensor, max_distance: float) -> Tensor:
    return distances.masked_fill(distances > max_distance + TOLERANCE, torch.inf)


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
    across_rows = mixed_rows[1:-1] | mixed_rows[2:] | mixed_rows[:-2]
    boundary = across_rows | in_columns[1:] | in_columns[:-1]
    return chessboard_distance_to(boundary) + 1


def chessboard_distance_to(mask: Tensor) -> Tensor:
    """(H, W) int32, the chessboard distance of every pixel to the nearest True one of a mask on the
    CPU, one of which has to be True."""
    try:
        import cv2
    except ImportError:
        return chamfer_distance_to(mask, 'chessboard').int()
    outside = (~mask).byte().numpy()
    return torch.from_numpy(cv2.distanceTransform(outside, cv2.DIST_C, 3)).int()

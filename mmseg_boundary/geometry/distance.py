"""Exact distances to masks, in pixels between pixel centers.

On the CPU OpenCV computes them, or scipy where OpenCV is missing, for as many masks at a time as
torch has threads; on CUDA torch does, on the device. The engines agree to 1e-3 px, not to the last
bit, so that distances are compared with a tolerance and never with `==`.
"""

import os
import threading
import time
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
_BLOCK = 32  # columns


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

    The squared distance along the row, then its minimum over the rows:

        d^2(y, x) = min over v of  g^2(v, x) + (y - v)^2
    """
    masks = mask.reshape(-1, *mask.shape[-2:])
    if is_compiled(masks.unsqueeze(0)):
        form = masks.device, len(masks) > 1  # torch compiles for a size of 1 anew
        squared = compiled(_along_rows, form, _scanned_along_rows)(masks)
        squared = compiled(_over_rows, form, _over_rows_in_steps)(squared)
    else:
        squared = _over_rows_in_steps(_scanned_along_rows(masks), max_distance)
    distances = squared.sqrt_().view(mask.shape)
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
def distance_to_others(regions: Tensor, metric: str = 'euclidean') -> Tensor:
    """`inside` of `distances_between` alone: on a device, by one transform for all regions.

    Args:
        regions: (N, K, H, W) bool, disjoint.
        metric: 'euclidean', 'chessboard' or 'taxicab'.

    Returns:
        (N, 1, H, W) float32.
    """
    if metric == 'euclidean' and is_queued(regions) and is_compiled(regions):
        form = regions.device, len(regions) > 1
        return compiled(_to_others, form, _to_others_by_planes)(regions).sqrt_()
    return distances_between(regions, metric)[1]


@torch.no_grad()
def distance_to_boundary(regions: Tensor) -> Tensor:
    """How far every pixel lies from those whose lower or right neighbor is of another region.

    >>> distance_to_boundary(torch.tensor([[[[True, True, False]], [[False, False, True]]]]))
    tensor([[[1., 0., 1.]]])

    Args:
        regions: (N, K, H, W) bool, disjoint; what is of none, void, makes no boundary.

    Returns:
        (N, H, W) float32, in pixels; inf in an image without a boundary.
    """
    # Class by class: a reduction of bool over the classes is many times as slow.
    numbers = torch.zeros_like(regions[:, 0], dtype=torch.int16)
    for number, region in enumerate(regions.unbind(1), 1):
        numbers.masked_fill_(region, number)
    boundary = torch.zeros_like(regions[:, 0])
    for dim in (-2, -1):
        pairs = numbers.shape[dim] - 1
        here, there = (numbers.narrow(dim, start, pairs) for start in (0, 1))
        boundary.narrow(dim, 0, pairs).logical_or_((here != there) & (here > 0) & (there > 0))
    return distance_to(boundary)


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

    workers = set()

    # In NumPy: each thread of the pool that calls torch would start threads of its own.
    def fill(sites, found) -> None:
        workers.add(threading.get_native_id())
        if sites.any():
            found[:] = engine((~sites).view('uint8'))
        else:  # for an empty mask the libraries return garbage
            found[:] = torch.inf

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(fill, masks.numpy(), distances.numpy()))
    # Before Python 3.13 a thread that is joined may still run: it takes a lock of OpenCV to free
    # its memory there, and a process that is forked then finds the lock taken forever.
    while any(os.path.exists(f'/proc/self/task/{worker}') for worker in workers):
        time.sleep(0)
    return distances.view(mask.shape).to(mask.device)


def _empty(shape: torch.Size) -> Tensor:
    """Uninitialized float32 on the CPU, by NumPy, which asks the system for huge pages. torch does
    not: the first touch of that many small ones takes longer than all that is done with them."""
    import numpy as np

    return torch.from_numpy(np.empty(shape, np.float32))


# --- In torch, compiled ---------------------------------------------------------------------------

# As they stand, these kernels make a map for every pixel of a block, or for every row. They have
# whole numbers alone, whose least is the same in any order: no bit depends on the sizes that they
# were compiled for. (It would on those of roots, where the compiler takes fast ones.)


def _along_rows(masks: Tensor) -> Tensor:
    """The squared distances to (P, H, W) masks along the row, float32; inf for an empty row.

    In blocks of columns: of the other blocks a pixel needs only the ends of their masks.
    """
    width = masks.shape[-1]
    # By one column at least: torch compiles for none anew.
    blocks = F.pad(masks, (0, _BLOCK - width % _BLOCK)).unflatten(-1, (-1, _BLOCK))
    place = torch.arange(_BLOCK, device=masks.device, dtype=torch.int32)
    order = torch.arange(blocks.shape[-2], device=masks.device, dtype=torch.int32)
    columns, far = order.unsqueeze(-1) * _BLOCK + place, 2 * width + _BLOCK
    first = columns.where(blocks, far).amin(-1).unsqueeze(-2)
    last = columns.where(blocks, -far).amax(-1).unsqueeze(-2)
    after = first.where(order > order.unsqueeze(-1), far).amin(-1, keepdim=True) - columns
    before = columns - last.where(order < order.unsqueeze(-1), -far).amax(-1, keepdim=True)
    gaps = (place - place.unsqueeze(-1)).abs().where(blocks.unsqueeze(-2), far).amin(-1)
    gaps = gaps.minimum(after).minimum(before)
    return gaps.float().where(gaps < width, torch.inf).square().flatten(-2)[..., :width]


def _over_rows(squared: Tensor) -> Tensor:
    """The least of squared distances along the rows with those across them.

    Args:
        squared: (P, H, W) float32, from every pixel to what is nearest in its row; (P, H, H, W) if
            that differs for the pixels y of a column, from row v.

    Returns:
        (P, H, W) float32.
    """
    if squared.dim() == 3:
        squared = squared.unsqueeze(1)
    rows = torch.arange(squared.shape[2], device=squared.device, dtype=torch.float32)
    return (squared + (rows.unsqueeze(-1) - rows).square().unsqueeze(-1)).amin(2)


def _to_others(regions: Tensor) -> Tensor:
    """The squared distances in (N, K, H, W) regions to the nearest pixel of another, (N, 1, H, W).

    Of a row, a pixel needs the nearest pixel that has a region, and the nearest that has another
    region than that one: one of the two is not of the pixel's own.
    """
    count, width = regions.shape[1], regions.shape[3]
    numbers = torch.arange(count, device=regions.device, dtype=torch.int32).view(-1, 1, 1)
    labels = numbers.where(regions, -1).amax(1)  # -1: void
    columns = torch.arange(width, device=regions.device, dtype=torch.int32)
    gaps, sites = (columns.unsqueeze(-1) - columns).abs(), labels.unsqueeze(-2)
    # The region is in the last digit: the least has the one of the nearest.
    least = (gaps * count + sites).where(sites >= 0, width * count).amin(-1)
    region = least % count
    is_other = (sites >= 0) & (sites != region.unsqueeze(-1))
    first, second = least // count, gaps.where(is_other, width).amin(-1)
    nearest = second.unsqueeze(1).where(
        region.unsqueeze(1) == labels.unsqueeze(2), first.unsqueeze(1)
    )
    squared = nearest.float().where(nearest < width, torch.inf).square()
    return _over_rows(squared).unsqueeze(1)


# --- In torch, as it stands -----------------------------------------------------------------------


def _over_rows_in_steps(squared: Tensor, max_distance: float | None = None) -> Tensor:
    """`_over_rows` in steps that fit into the memory; right up to `max_distance`."""
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
    return nearest


def _to_others_by_planes(regions: Tensor) -> Tensor:
    """`_to_others` by a transform for each region."""
    planes = _over_rows_in_steps(_scanned_along_rows(regions.flatten(0, 1)))
    return planes.view(regions.shape).masked_fill_(regions, torch.inf).amin(1, keepdim=True)


def _scanned_along_rows(masks: Tensor) -> Tensor:
    """`_along_rows` by cumulative extrema."""
    width = masks.shape[-1]
    # In a short type: cumulative extrema write int64 indices too, and nobody reads them.
    dtype = torch.int16 if 2 * width < 2**15 else torch.int32
    columns = torch.arange(width, device=masks.device, dtype=dtype).expand(masks.shape)
    before = columns.where(masks, -width).cummax(-1).values
    after = columns.where(masks, 2 * width).flip(-1).cummin(-1).values.flip(-1)
    gaps = torch.minimum(columns - before, after - columns)
    return gaps.float().masked_fill_(gaps >= width, torch.inf).square_()


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

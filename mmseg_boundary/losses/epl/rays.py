"""Sums along rays: the anisotropic convolution of EPL (Yin et al., eq. 2).

A ray of half width h = kernel_size // 2 starts at a pixel, which it includes, and looks back h
pixels, so that the content of a mask is extended by h pixels in the ray's direction:

    E_s[x](p) = sum over j = 0..h of x(p - j u_s)

A mask has energies 0 (outside) to h+1 (a full ray inside); 1..h are the equipotential lines.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...choices import require_choice, require_odd
from ...devices import is_queued
from ..blocks import as_it_stands

AXES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # (row, column): up, down, left, right
DIAGONALS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
SPLITTERS = {'A': AXES, 'B': DIAGONALS, 'C': AXES + DIAGONALS, 'SC': None}
PADDINGS = ('constant', 'replicate')
SC_SCALES = ('match', 'literal')


@dataclass(frozen=True)
class Rays:
    """Which pixels an energy is the sum of.

    Args:
        kernel_size: odd, 3 or more, in pixels; rays have (kernel_size + 1) / 2 pixels.
        splitter: 'A' four axial rays, 'B' four diagonal rays (steps of one row and one column,
            unweighted), 'C' all eight; 'SC' is the ablation without a splitter: one full window,
            the standard convolution of EPL's Table III.
        padding: what lies beyond the image, 'constant' (0) or 'replicate'.
        sc_scale: for 'SC' alone. 'match' scales the largest energy, kernel_size^2, to h + 1, so
            that the levels keep their meaning; 'literal' leaves the sums.

    Raises:
        ValueError: an argument is out of its range.
    """

    kernel_size: int
    splitter: str
    padding: str
    sc_scale: str = 'match'

    def __post_init__(self) -> None:
        require_odd('kernel_size', self.kernel_size)
        require_choice('splitter', self.splitter, SPLITTERS)
        require_choice('padding', self.padding, PADDINGS)
        require_choice('sc_scale', self.sc_scale, SC_SCALES)

    @property
    def half_width(self) -> int:
        """h, the number of equipotential lines."""
        return self.kernel_size // 2

    @property
    def is_box(self) -> bool:
        """Whether there is no splitter: energies then lie between the levels, too."""
        return self.splitter == 'SC'

    @property
    def num_directions(self) -> int:
        """D, how many energies each pixel has."""
        return 1 if self.is_box else len(SPLITTERS[self.splitter])


def ray_sums(maps: Tensor, rays: Rays) -> Tensor:
    """The energies of `maps` in all directions.

    >>> mask = torch.tensor([[[[0., 1, 1, 0, 0, 0]]]])
    >>> up, down, left, right = ray_sums(mask, Rays(5, 'A', 'constant'))
    >>> right.int().tolist()
    [[[[0, 1, 2, 2, 1, 0]]]]

    Args:
        maps: (..., H, W) float, masks or probs, with one or two dimensions before H.

    Returns:
        (D, ..., H, W) float in [0, h + 1] for `maps` in [0, 1] ([0, kernel_size^2] for the
        'literal' scale).
    """
    return ray_sums_within(with_margins(maps, rays), rays)


def with_margins(maps: Tensor, rays: Rays) -> Tensor:
    """(..., H + 2h, W + 2h): `maps`, padded by h pixels."""
    return F.pad(maps, (rays.half_width,) * 4, mode=rays.padding)


def ray_sums_within(canvas: Tensor, rays: Rays) -> Tensor:
    """`ray_sums` of maps that are padded already."""
    return torch.stack(list(ray_sums_one_by_one(canvas, rays)))


def ray_sums_one_by_one(canvas: Tensor, rays: Rays) -> Iterator[Tensor]:
    """Yields the (..., H, W) of each direction."""
    return (ray_sum_within(canvas, rays, s) for s in range(rays.num_directions))


def ray_sum_within(canvas: Tensor, rays: Rays, direction: int, beyond: Tensor | int = 0) -> Tensor:
    """(..., H, W): `ray_sums_within` for one of the directions; inf where `beyond` is, else 0."""
    size, h = rays.kernel_size, rays.half_width
    if not rays.is_box:
        # In the order of the ray: equal pixels then have equal sums, whatever zeros lie between.
        shifts = _shifts(canvas, SPLITTERS[rays.splitter][direction], h)
        return sum(shifts, beyond)  # pyright: ignore[reportReturnType]
    height, width = (side - 2 * h for side in canvas.shape[-2:])
    rows = (canvas[..., row : row + height, :] for row in range(size))
    columns: Tensor = sum(rows)  # pyright: ignore[reportAssignmentType]
    shifted = (columns[..., column : column + width] for column in range(size))
    box: Tensor = sum(shifted, beyond)  # pyright: ignore[reportAssignmentType]
    return box * ((h + 1) / size**2) if rays.sc_scale == 'match' else box


def ray_sums_transpose(
    fields: Tensor | tuple[Tensor, ...],
    rays: Rays,
    kernels: Callable[..., Callable] = as_it_stands,
) -> Tensor:
    """The transpose of `ray_sums`: the gradient of the maps, given that of their energies.

    Args:
        fields: (D, ..., H, W) float; on a device also D of (..., H, W).
        kernels: `blocks.kernels_for`, to have them compiled.

    Returns:
        (..., H, W) float.
    """
    h = rays.half_width
    if isinstance(fields, Tensor) and not is_queued(fields):
        canvas = kernels(ray_sums_transpose_within, rays)(_with_reach(fields, rays))
    else:  # nothing is written but the result
        canvas = kernels(_canvas_reached, rays)(fields)
    if rays.padding == 'constant':
        return canvas
    for sides in (canvas, canvas.mT):  # what reached the margins came from the border's pixels
        sides[..., h, :].add_(sides[..., :h, :].sum(-2))
        sides[..., -h - 1, :].add_(sides[..., -h:, :].sum(-2))
    return canvas[..., h:-h, h:-h]


def _canvas_reached(fields: Tensor | tuple[Tensor, ...], rays: Rays) -> Tensor:
    return ray_sums_transpose_within([_with_reach(field, rays) for field in fields], rays)


def _with_reach(fields: Tensor, rays: Rays) -> Tensor:
    """Padded with zeros as far as rays reach: on a canvas that has margins itself, twice."""
    return F.pad(fields, (rays.half_width * (2 if rays.padding == 'replicate' else 1),) * 4)


def ray_sums_transpose_within(padded: Tensor | Sequence[Tensor], rays: Rays) -> Tensor:
    """What reaches each pixel, and the margins if these are 'replicate'.

    Args:
        padded: (D, ..., H, W), the fields, padded with zeros as far as rays reach.
    """
    if rays.is_box:  # a box is its own transpose
        return ray_sums_within(padded[0], rays)[0]
    steps = [(-down, -right) for down, right in SPLITTERS[rays.splitter]]
    h = rays.half_width
    return sum(  # pyright: ignore[reportReturnType]
        view for field, step in zip(padded, steps, strict=True) for view in _shifts(field, step, h)
    )


def _shifts(canvas: Tensor, direction: tuple[int, int], h: int) -> Iterator[Tensor]:
    """Yields views of the pixels j steps back, j = 0..h, in a canvas with margins of h pixels."""
    height, width = (side - 2 * h for side in canvas.shape[-2:])
    down, right = direction
    for j in range(h + 1):
        yield canvas[..., h - j * down :, h - j * right :][..., :height, :width]

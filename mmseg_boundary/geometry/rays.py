"""Sums along rays: the anisotropic convolution of EPL (Yin et al., eq. 2).

A ray of half width h = kernel_size // 2 starts at a pixel, which it includes, and looks back h
pixels, so that the content of a mask is extended by h pixels in the ray's direction:

    E_s[x](p) = sum over j = 0..h of x(p - j u_s)

A mask has energies 0 (outside) to h+1 (a full ray inside); 1..h are the equipotential lines.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

AXES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # (row, column): up, down, left, right
DIAGONALS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
SPLITTERS = {'A': AXES, 'B': DIAGONALS, 'C': AXES + DIAGONALS, 'SC': None}
PADDINGS = ('constant', 'replicate')


def ray_sums(
    planes: Tensor, kernel_size: int, splitter: str, padding: str, sc_scale: str = 'match'
) -> Tensor:
    """The energies of `planes` in all directions.

    >>> mask = torch.tensor([[[[0., 1, 1, 0, 0, 0]]]])
    >>> up, down, left, right = ray_sums(mask, 5, 'A', 'constant')
    >>> right.int().tolist()
    [[[[0, 1, 2, 2, 1, 0]]]]

    Args:
        planes: (..., H, W) float, with one or two dimensions before the image's.
        kernel_size: odd, 3 or more, in pixels; rays have (kernel_size + 1) / 2 pixels.
        splitter: 'A' four axial rays, 'B' four diagonal rays (steps of one row and one column,
            unweighted), 'C' all eight; 'SC' is the ablation without a splitter: one full window,
            the standard convolution of EPL's Table III.
        padding: 'constant' or 'replicate'.
        sc_scale: for 'SC' alone. 'match' scales the largest energy, kernel_size^2, to h + 1, so
            that the levels keep their meaning; 'literal' leaves the sums.

    Returns:
        (D, ..., H, W) float in [0, h + 1] for `planes` in [0, 1] ([0, kernel_size^2] for
        'literal').
    """
    canvas = with_margins(planes, kernel_size // 2, padding)
    return ray_sums_within(canvas, kernel_size, splitter, padding, sc_scale)


def count_directions(splitter: str) -> int:
    """D, how many energies `ray_sums` gives each pixel."""
    return 1 if splitter == 'SC' else len(SPLITTERS[splitter])


def with_margins(planes: Tensor, h: int, padding: str) -> Tensor:
    """(..., H + 2h, W + 2h): `planes` and what lies beyond the image."""
    return F.pad(planes, (h, h, h, h), mode=padding)


def ray_sums_within(
    canvas: Tensor, kernel_size: int, splitter: str, padding: str, sc_scale: str = 'match'
) -> Tensor:
    """`ray_sums` of planes that have their margins already, whatever the `padding`."""
    h = kernel_size // 2
    if splitter != 'SC':
        # In the order of the ray: equal pixels then have equal sums, whatever zeros lie between.
        sums = [sum(_shifts(canvas, step, h)) for step in SPLITTERS[splitter]]
        return torch.stack(sums)  # pyright: ignore[reportArgumentType]  (sum begins with 0)
    height, width = (side - 2 * h for side in canvas.shape[-2:])
    rows = (canvas[..., row : row + height, :] for row in range(kernel_size))
    columns: Tensor = sum(rows)  # pyright: ignore[reportAssignmentType]
    shifted = (columns[..., column : column + width] for column in range(kernel_size))
    box: Tensor = sum(shifted)  # pyright: ignore[reportAssignmentType]
    return _sc_scale(box, kernel_size, sc_scale).unsqueeze(0)


def ray_sums_transpose(
    fields: Tensor,
    kernel_size: int,
    splitter: str,
    padding: str,
    sc_scale: str = 'match',
    within: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The transpose of `ray_sums`: the gradient of the planes, given that of their energies.

    Args:
        fields: (D, ..., H, W) float.
        within: `ray_sums_transpose_within` with these options, if it is compiled.

    Returns:
        (..., H, W) float.
    """
    room = _with_room(fields, kernel_size, padding)
    if within is None:
        canvas = ray_sums_transpose_within(room, kernel_size, splitter, padding, sc_scale)
    else:
        canvas = within(room)
    return _without_margins(canvas, kernel_size, padding)


def _with_room(fields: Tensor, kernel_size: int, padding: str) -> Tensor:
    """(D, ..., H, W) fields, with zeros around them as far as `ray_sums_transpose_within` looks."""
    rim = kernel_size // 2 * (2 if padding == 'replicate' else 1)
    return F.pad(fields, (rim,) * 4)


def ray_sums_transpose_within(
    room: Tensor, kernel_size: int, splitter: str, padding: str, sc_scale: str = 'match'
) -> Tensor:
    """What reaches each pixel, of the margins too if these are `replicate`."""
    if splitter == 'SC':  # a box is its own transpose
        return ray_sums_within(room[0], kernel_size, splitter, padding, sc_scale)[0]
    steps = [(-down, -right) for down, right in SPLITTERS[splitter]]
    h = kernel_size // 2
    return sum(  # pyright: ignore[reportReturnType]
        view for field, step in zip(room, steps, strict=True) for view in _shifts(field, step, h)
    )


def _without_margins(canvas: Tensor, kernel_size: int, padding: str) -> Tensor:
    """The planes' gradient, given that of `ray_sums_transpose_within`; changes `canvas`."""
    if padding != 'replicate':
        return canvas
    h = kernel_size // 2
    for sides in (canvas, canvas.mT):  # what reached the margins came from the border's pixels
        sides[..., h, :] += sides[..., :h, :].sum(-2)
        sides[..., -h - 1, :] += sides[..., -h:, :].sum(-2)
    return canvas[..., h:-h, h:-h]


def _sc_scale(box: Tensor, kernel_size: int, sc_scale: str) -> Tensor:
    return box * ((kernel_size // 2 + 1) / kernel_size**2) if sc_scale == 'match' else box


def _shifts(canvas: Tensor, direction: tuple[int, int], h: int) -> Iterator[Tensor]:
    """Views of what lies j steps back, for j = 0..h, of a canvas with margins of h pixels."""
    height, width = (side - 2 * h for side in canvas.shape[-2:])
    down, right = direction
    for j in range(h + 1):
        yield canvas[..., h - j * down :, h - j * right :][..., :height, :width]


def require_rays(kernel_size: int, splitter: str, padding: str, sc_scale: str) -> None:
    """Raises a ValueError that names the argument which no ray sum can be made with."""
    if not isinstance(kernel_size, int) or kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(
            f'kernel_size is {kernel_size!r}; give an odd number of pixels, 3 or more.'
        )
    for name, given, allowed in (
        ('splitter', splitter, SPLITTERS),
        ('padding', padding, PADDINGS),
        ('sc_scale', sc_scale, ('match', 'literal')),
    ):
        if given not in tuple(allowed):
            raise ValueError(f'{name} is {given!r}; choose one of {", ".join(map(repr, allowed))}.')

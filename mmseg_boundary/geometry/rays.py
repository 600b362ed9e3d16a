"""Sums along rays: the anisotropic convolution of EPL (Yin et al., eq. 2).

A ray of half width h = kernel_size // 2 starts at a pixel, which it includes, and looks back h
pixels, so that the content of a mask is extended by h pixels in the ray's direction:

    E_s[x](p) = sum over j = 0..h of x(p - j u_s)

A mask has energies 0 (outside) to h+1 (a full ray inside); 1..h are the equipotential lines.
"""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

AXES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # (row, column): up, down, left, right
DIAGONALS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
SPLITTERS = {'A': AXES, 'B': DIAGONALS, 'C': AXES + DIAGONALS, 'SC': None}
PADDINGS = ('constant', 'replicate')


def ray_sum(planes: Tensor, direction: tuple[int, int], h: int, padding: str) -> Tensor:
    """Sums of h + 1 pixels that extend `planes` in `direction`.

    >>> import torch
    >>> mask = torch.tensor([[[[0., 1, 1, 0, 0, 0]]]])
    >>> ray_sum(mask, (0, 1), 2, 'constant').int().tolist()
    [[[[0, 1, 2, 2, 1, 0]]]]

    Args:
        planes: (N, K, H, W) float. Sums of 0s and 1s are exact: nothing is multiplied.
        direction: a step (row, column), each in {-1, 0, 1}.
        h: half width of the kernel, in pixels.
        padding: what lies beyond the image: 'constant' (0) or 'replicate' (the border pixel).

    Returns:
        (N, K, H, W) float.
    """
    height, width = planes.shape[2:]
    padded = F.pad(planes, (h, h, h, h), mode=padding)
    down, right = direction
    return sum(
        padded[..., h - j * down :, h - j * right :][..., :height, :width] for j in range(h + 1)
    )


def box_sum(planes: Tensor, h: int, padding: str) -> Tensor:
    """Sums over windows of (2h+1)^2 pixels: the standard convolution of EPL's Table III."""
    for forth, back in (AXES[:2], AXES[2:]):
        # The pixel itself belongs to both rays of an axis.
        planes = ray_sum(planes, forth, h, padding) + ray_sum(planes, back, h, padding) - planes
    return planes


def ray_sums(
    planes: Tensor, kernel_size: int, splitter: str, padding: str, sc_scale: str = 'match'
) -> Iterator[Tensor]:
    """The energies of `planes`, one direction after the other.

    Args:
        planes: (N, K, H, W) float.
        kernel_size: odd, 3 or more, in pixels; rays have (kernel_size + 1) / 2 pixels.
        splitter: 'A' four axial rays, 'B' four diagonal rays (steps of one row and one column,
            unweighted), 'C' all eight; 'SC' is the ablation without a splitter: one full window.
        padding: 'constant' or 'replicate'.
        sc_scale: for 'SC' alone. 'match' scales the largest energy, kernel_size^2, to h + 1, so
            that the levels keep their meaning; 'literal' leaves the sums.

    Yields:
        (N, K, H, W) float in [0, h + 1] for `planes` in [0, 1] ([0, kernel_size^2] for 'literal').
    """
    h = kernel_size // 2
    if splitter == 'SC':
        energies = box_sum(planes, h, padding)
        yield energies * ((h + 1) / kernel_size**2) if sc_scale == 'match' else energies
    else:
        for direction in SPLITTERS[splitter]:
            yield ray_sum(planes, direction, h, padding)


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

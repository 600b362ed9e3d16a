"""The potential fields and equipotential lines of a class: Figs. 3, 4, 6 and 8 of EPL (Yin et al.,
"Contour-Aware Equipotential Learning for Semantic Segmentation", IEEE TMM 2022)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ..choices import require_choice
from ..labels import Target
from ..losses.epl.rays import SPLITTERS, Rays, ray_sums
from ..losses.epl.reference import line_regions
from .style import BLUE, GREEN, PLAIN_STYLE, PURPLE, VERMILION

ROWS, COLUMNS = {-1: 'up', 0: '', 1: 'down'}, {-1: 'left', 0: '', 1: 'right'}
ALL = 'C'  # the splitter of all eight directions
# {name: its place in that splitter}
DIRECTIONS = {
    '-'.join(filter(None, (ROWS[down], COLUMNS[right]))): place
    for place, (down, right) in enumerate(SPLITTERS[ALL])
}
AXIAL = 'up', 'down', 'left', 'right'
ARROWS = dict(zip(DIRECTIONS, '↑↓←→↖↗↙↘', strict=True))
TRUE, PREDICTED = ('black', 'solid'), (PURPLE, 'dashed')
VOID = '#c8c8c8'
# Where the lines of a prediction are, compared with the true ones.
AGREEMENT = {
    'in both, same energy': '#404040',
    'in both, other energy': GREEN,
    'true lines alone': BLUE,
    'predicted lines alone': VERMILION,
}
PANEL = 2.7  # inches, the longer side
TITLE, HEADING = 1.6, 7.0  # inches that the words over a panel and over the figure need
DOTS = 150, 600  # per inch, at least and at most
NUMBERED = 12  # pixels; up to this size of a window its energies are written as numbers


@dataclass(frozen=True)
class Potential:
    """A class of a label or of a prediction.

    probs: (H, W) float, its probability field; the mask of a label. 0 at void.
    energies: (D, H, W) float, its potential fields E or Ê, eq. (2).
    lines: (D, H, W) bool, the pixels of its equipotential lines; as many as the label has, eq. (4).
    """

    title: str
    probs: Tensor
    energies: Tensor
    lines: Tensor


@dataclass(frozen=True)
class Potentials:
    """A label's class, and what was predicted of it.

    directions: D names of `DIRECTIONS`.
    num_lines: h; energies lie in [0, h + 1].
    valid: (H, W) bool, the pixels that are not void.
    """

    directions: tuple[str, ...]
    num_lines: int
    valid: Tensor
    label: Potential
    preds: list[Potential]


def potentials(
    target: Target,
    number: int,
    preds: Mapping[str, Tensor],
    kernel_size: int = 7,
    directions: Sequence[str] = AXIAL,
    padding: str = 'constant',
) -> Potentials:
    """The fields and lines that the losses of EPL compare.

    Args:
        target: of one label, from `labels.encode`.
        number: the class.
        preds: {title: (1, K, H, W) probs}.
        kernel_size, padding: as for the losses; the point loss has the padding 'replicate', the
            line loss 'constant'.
        directions: of `DIRECTIONS`, in which the content of the class is extended.

    Raises:
        ValueError: an argument is out of its range, or shapes differ.
    """
    rays = Rays(kernel_size, ALL, padding)
    for direction in directions:
        require_choice('direction', direction, DIRECTIONS)
    places = [DIRECTIONS[direction] for direction in directions]
    mask = target.masks[:, [number]].float()
    true = ray_sums(mask, rays)[places]

    def potential(title: str, probs: Tensor) -> Potential:
        energies = ray_sums(probs, rays)[places]
        pairs = zip(true, energies, strict=True)
        lines = [line_regions(*pair, target.valid, rays.half_width)[1] for pair in pairs]
        return Potential(title, probs[0, 0], energies[:, 0, 0], torch.stack(lines)[:, 0, 0])

    for probs in preds.values():
        target.require_shape(probs)
    predicted = [
        potential(title, target.masked(probs)[:, [number]].float())
        for title, probs in preds.items()
    ]
    label = potential('label', mask)
    return Potentials(tuple(directions), rays.half_width, target.valid[0, 0], label, predicted)


@matplotlib.rc_context(PLAIN_STYLE)
def draw_potentials(
    found: Potentials,
    heading: str,
    image: np.ndarray | None = None,
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> Figure:
    """The label's fields and lines, and below them those of each prediction.

    With several directions each has two rows, the fields (Fig. 3) and the lines, and a column for
    each direction. With one direction each has one row (Figs. 4, 6 and 8), and the last panel of a
    prediction shows where its lines are not the label's.

    Args:
        heading: over the figure.
        image: (H, W, 3) uint8 RGB.
        window: the rows and columns that are shown.
    """
    one = len(found.directions) == 1
    sources = [found.label, *found.preds]
    ground = _ground(found, image)[window]
    height, width = ground.shape[:2]
    columns = 3 + (image is not None) + bool(found.preds) if one else 1 + len(found.directions)
    rows = 1 if one else 2
    size = np.maximum(np.array([width, height]) * PANEL / max(width, height), 0.5)
    figure = Figure(
        (
            max(HEADING, columns * max(TITLE, size[0]) + 1.4),
            len(sources) * rows * (size[1] + 0.2) + 1.1,
        )
    )
    figure.set_dpi(float(np.clip(np.ceil(2 * width / size[0]), *DOTS)))
    axes = figure.subplots(len(sources) * rows, columns, squeeze=False)
    levels = _levels(found.num_lines)
    for place, source in enumerate(sources):
        block = axes[place * rows : (place + 1) * rows]
        order = _in_one_row if one else _in_two_rows
        panels = order(source, found, image is not None)
        for axis, panel in zip(block.flat, panels, strict=False):
            _draw_panel(axis, panel, source, found, image, ground, window, levels)
        block[0, 0].set_ylabel(source.title)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        if not axis.has_data():
            axis.axis('off')
    _add_bars(figure, axes, levels, beyond=max(0, TITLE - size[0]) / 2)
    figure.suptitle(heading, fontsize=10)
    figure.legend(handles=list(_entries(found, window)), loc='outside lower center', ncols=4)
    return figure


# --- Panels ---------------------------------------------------------------------------------------

# (kind, place of its direction)
Panel = tuple[str, int]


def _in_one_row(source: Potential, found: Potentials, has_image: bool) -> Iterator[Panel]:
    if has_image:
        yield 'image', 0
    yield from ((kind, 0) for kind in ('probs', 'field', 'lines'))
    if source is not found.label:
        yield 'agreement', 0


def _in_two_rows(source: Potential, found: Potentials, has_image: bool) -> Iterator[Panel]:
    places = range(len(found.directions))
    yield 'probs', 0
    yield from (('field', place) for place in places)
    yield 'image' if has_image else 'nothing', 0
    yield from (('lines', place) for place in places)


def _draw_panel(
    axis: Axes,
    panel: Panel,
    source: Potential,
    found: Potentials,
    image: np.ndarray | None,
    ground: np.ndarray,
    window: tuple[slice, slice],
    levels: dict,
) -> None:
    (kind, place), is_label = panel, source is found.label
    name = 'E' if is_label else 'Ê'
    direction = f'{found.directions[place]} {ARROWS[found.directions[place]]}'
    show = dict(interpolation='none')
    energies = source.energies[place][window]
    shown, true = {}, found.label.probs[window]
    if kind == 'nothing':
        return
    if kind == 'image':
        axis.imshow(image[window], **show)
        title, shown = 'image', {TRUE: true}
    elif kind == 'probs':
        probs = _without_void(source.probs[window], found, window)
        axis.imshow(probs, cmap=_greys(), vmin=0, vmax=1, **show)
        title, shown = 'mask' if is_label else 'probability', {TRUE: true}
    elif kind == 'field':
        drawn = axis.imshow(_without_void(energies, found, window), **levels, **show)
        title = f'field {name}, {direction}'
        if max(energies.shape) <= NUMBERED:
            _write_numbers(axis, drawn.get_array())
        # without a halo, which would hide the lines
        _outline(axis, true, ('white', 'solid'), halo=False)
    elif kind == 'lines':
        axis.imshow(ground, **show)
        lines = np.ma.masked_where(~source.lines[place][window].numpy(), energies.numpy())
        levels = dict(levels, cmap=levels['cmap'].with_extremes(bad='none'))
        axis.imshow(lines, **levels, **show)
        title = f'lines, {direction}'
    else:
        axis.imshow(ground, **show)
        axis.imshow(_agreement(source, found, place)[window], **show)
        title = 'agreement of the lines'
    if shown and not is_label:
        shown[PREDICTED] = source.probs[window]
    for look, probs in shown.items():
        _outline(axis, probs, look)
    axis.set_title(title)


def _ground(found: Potentials, image: np.ndarray | None) -> np.ndarray:
    """(H, W, 3) float: the image without its colors, so light that lines stand out; without an
    image the class and void."""
    if image is not None:
        grey = image.astype(np.float32).mean(-1, keepdims=True)
        grey = (grey - grey.min()) / max(1, np.ptp(grey))
        return (0.65 + 0.35 * grey).repeat(3, -1)
    ground = np.ones((*found.valid.shape, 3), np.float32)
    ground[found.label.probs.numpy() > 0] = 0.88
    ground[~found.valid.numpy()] = to_rgb(VOID)
    return ground


def _levels(num_lines: int) -> dict:
    """A style with a color for each energy, from 0 to h + 1; half levels part them."""
    shades = matplotlib.colormaps['viridis'](np.linspace(0, 1, num_lines + 2))
    norm = Normalize(-0.5, num_lines + 1.5)
    return dict(cmap=ListedColormap(shades).with_extremes(bad=VOID), norm=norm)


def _greys() -> matplotlib.colors.Colormap:
    return matplotlib.colormaps['Greys'].with_extremes(bad=VOID)


def _without_void(
    values: Tensor, found: Potentials, window: tuple[slice, slice]
) -> np.ma.MaskedArray:
    return np.ma.masked_where(~found.valid[window].numpy(), values.numpy())


def _agreement(source: Potential, found: Potentials, place: int) -> np.ndarray:
    """(H, W, 4) float, the colors of `AGREEMENT`, transparent elsewhere."""
    true, predicted = found.label.lines[place], source.lines[place]
    same = (found.label.energies[place] - source.energies[place]).abs() <= 0.5
    masks = (
        true & predicted & same,
        true & predicted & ~same,
        true & ~predicted,
        predicted & ~true,
    )
    colors = np.zeros((*true.shape, 4), np.float32)
    for mask, color in zip(masks, AGREEMENT.values(), strict=True):
        colors[mask.numpy()] = *to_rgb(color), 1
    return colors


def _write_numbers(axis: Axes, energies: np.ma.MaskedArray) -> None:
    middle = axis.images[0].get_clim()[1] / 2
    for place, energy in np.ndenumerate(energies):
        color = 'white' if energy < middle else 'black'
        axis.text(*place[::-1], f'{energy:.2g}', color=color, ha='center', va='center', fontsize=7)


def _outline(axis: Axes, probs: Tensor, look: tuple[str, str], halo: bool = True) -> None:
    """The line where probabilities pass 0.5, with a halo visible on any ground."""
    if min(probs.shape) < 2 or (probs > 0.5).all() or not (probs > 0.5).any():
        return
    color, linestyle = look
    style = dict(colors=color, linestyles=linestyle, linewidths=0.8)
    # in small windows along the pixels, whose corners the line would cut
    parts = 4 if max(probs.shape) <= 256 else 1
    values = probs.numpy().repeat(parts, 0).repeat(parts, 1)
    columns, rows = (
        (np.arange(parts * side) + 0.5) / parts - 0.5 for side in reversed(probs.shape)
    )
    line = axis.contour(columns, rows, values, [0.5], **style)
    if halo:
        line.set_path_effects([withStroke(linewidth=1.8, foreground='white')])


def _add_bars(figure: Figure, axes: np.ndarray, levels: dict, beyond: float) -> None:
    """`beyond` are the inches by which a title is longer than its panel, on one side."""
    pad = 0.01 + beyond / figure.get_figwidth()
    place = dict(ax=axes, aspect=25, pad=pad, shrink=min(0.9, 1.6 / len(axes)), anchor=(0, 1))
    energies = figure.colorbar(ScalarMappable(**levels), **place)
    energies.set_label('energy; lines have 1 to h')
    energies.ax.yaxis.set_major_locator(MaxNLocator(12, integer=True))
    probs = ScalarMappable(Normalize(0, 1), _greys())
    bar = figure.colorbar(probs, **place)
    bar.set_label('probability')


def _entries(found: Potentials, window: tuple[slice, slice]) -> Iterator[Line2D | Patch]:
    looks = {'true boundary (in fields white)': TRUE}
    if found.preds:
        looks['predicted boundary'] = PREDICTED
    for name, (color, linestyle) in looks.items():
        yield Line2D([], [], color=color, linestyle=linestyle, label=name)
    if not found.valid[window].all():
        yield Patch(color=VOID, label='void')
    if found.preds and len(found.directions) == 1:
        yield from (Patch(color=color, label=name) for name, color in AGREEMENT.items())

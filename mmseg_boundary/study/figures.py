"""The figures of a report: SVG in the colors of its page or as files, and images."""

import base64
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ..drawing.predictions import CHANGES, changed_pixels
from .statistics import Interval

STYLE: dict[Any, Any] = {'font.size': 11, 'svg.fonttype': 'none', 'text.parse_math': False}
# Used in the drawing for these alone, and then replaced by the colors of the page or the file.
INK, LINE = '#010203', '#010204'
# Of the page when it is light, and of files.
LIGHT = {'paper': '#ffffff', 'ink': '#1c2024', 'line': '#d5dade'}
COLORS = (
    '#0b62a3', '#c15100', '#00775a', '#a2407c', '#8a6d00', '#2b8fc4', '#6a51a3', '#50565c',
)  # fmt: skip
SERIES = len(COLORS)  # further ones are dashed
VOID = 255
MOST_PIXELS = 480  # of an image's longer side


@dataclass(frozen=True)
class Difference:
    """One line of a forest plot, in points; `place` is that of its arm, and gives the color."""

    title: str
    place: int
    pairs: Sequence[float]
    interval: Interval
    bootstrap: Interval


@dataclass(frozen=True)
class Curve:
    """An arm over widths or iterations: its scores, and its paired differences from the
    baseline."""

    title: str
    place: int
    scores: dict[float, float]
    differences: dict[float, float]


@dataclass(frozen=True)
class Panel:
    """An image and its caption."""

    caption: str
    source: str


def _series_color(place: int) -> str:
    """The placeholder for the color of a line in a drawing."""
    return f'#0102{16 + place % SERIES:02x}'


@matplotlib.rc_context(STYLE)
def forest(lines: Sequence[Difference], label: str, gain: float | None) -> str:
    """The mean differences with their intervals, one below the other.

    Args:
        label: of the axis.
        gain: what the study asks for, a dotted line.
    """
    figure = _figure(height=0.7 + 0.62 * len(lines))
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1)
    if gain:
        axes.axvline(gain, color=INK, linewidth=1, linestyle=':')
    for place, line in enumerate(lines):
        color = _series_color(line.place)
        axes.annotate(
            line.title, (0, place - 0.42), xycoords=('axes fraction', 'data'), color=INK,
            va='center',
        )  # fmt: skip
        finite = [pair for pair in line.pairs if np.isfinite(pair)]
        axes.plot(finite, [place + 0.22] * len(finite), '|', color=color, markersize=6, alpha=0.7)
        axes.plot(line.bootstrap, [place + 0.11] * 2, color=color, linewidth=1, linestyle='--')
        axes.plot(line.interval, [place] * 2, color=color, linewidth=2.5)
        if len(finite) == len(line.pairs) > 0:
            axes.plot([np.mean(finite)], [place], 'D', color=color, markersize=6)
    axes.set_ylim(len(lines) - 0.5, -0.75)
    axes.set_yticks([])
    axes.set_xlabel(label)
    axes.grid(axis='x', color=LINE, linewidth=0.6)
    return _svg(figure, f'forest {label}')


@matplotlib.rc_context(STYLE)
def over_widths(curves: Sequence[Curve], label: str, unit: str = 'px') -> str:
    """The scores over the widths, and below them the differences from the baseline; the unit is
    'px' or 'd', shares of the image's diagonal."""
    figure = _figure(height=4.8)
    above, below = figure.subplots(2, sharex=True)
    for curve in curves:
        for axes, values in ((above, curve.scores), (below, curve.differences)):
            _plot(axes, curve, values)
    widths = sorted({width for curve in curves for width in curve.scores})
    above.set_ylabel(label)
    below.set_ylabel(f'Δ {label}')
    below.set_xlabel(f'width in {unit}')
    below.set_xscale('log')
    below.set_xticks(widths, [f'{width}' for width in widths])
    below.minorticks_off()
    for axes in (above, below):
        axes.grid(color=LINE, linewidth=0.6)
    return _svg(figure, f'widths {label}')


@matplotlib.rc_context(STYLE)
def over_iterations(curves: Sequence[Curve], label: str) -> str:
    """The scores over a training."""
    figure = _figure(height=3.2)
    axes = figure.subplots()
    for curve in curves:
        _plot(axes, curve, curve.scores)
    axes.set_ylabel(label)
    axes.set_xlabel('iteration')
    axes.grid(color=LINE, linewidth=0.6)
    return _svg(figure, f'iterations {label}')


def _plot(axes: Axes, curve: Curve, values: dict[float, float]) -> None:
    axes.plot(
        list(values),
        list(values.values()),
        color=_series_color(curve.place),
        linestyle='-' if curve.place < SERIES else '--',
        linewidth=1.6,
        marker='o',
        markersize=3.5,
    )


def _figure(height: float) -> Figure:
    figure = Figure((4.6, height), layout='constrained')
    figure.patch.set_alpha(0)
    return figure


def _svg(figure: Figure, name: str) -> str:
    """The drawing without metadata, addresses and names that two of a page would share."""
    for axes in figure.axes:
        axes.set_facecolor('none')
        axes.spines[['top', 'right']].set_visible(False)
        axes.spines[['left', 'bottom']].set_color(LINE)
        axes.tick_params(colors=INK, length=0)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
    drawn = io.StringIO()
    with matplotlib.rc_context({'svg.hashsalt': name}):
        figure.savefig(drawn, format='svg', metadata={'Date': None})
    svg = drawn.getvalue()
    svg = svg[svg.index('<svg') :]
    svg = re.sub(r'<metadata>.*?</metadata>', '', svg, flags=re.S)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', '', svg)
    svg = re.sub(r' id="[a-z]+\w*_\d+"', '', svg)
    box = re.search(r'viewBox="[^"]*"', svg)
    head = f'<svg {box[0] if box else ""} role="img" aria-label="{html.escape(name)}">'
    svg = re.sub(r'<svg [^>]*>', lambda _: head, svg, count=1)
    svg = svg.replace(INK, 'currentColor').replace(LINE, 'var(--line)')
    return re.sub(r'#0102(1[0-7])', lambda found: f'var(--c{int(found[1], 16) - 16})', svg)


def in_light_colors(svg: str) -> str:
    """A drawing in those of the light page, which a file of its own does not have."""
    svg = svg.replace('var(--line)', LIGHT['line'])
    return re.sub(r'var\(--c(\d)\)', lambda found: COLORS[int(found[1])], svg)


# --- Images ---------------------------------------------------------------------------------------


def image_panels(
    image: Path, label: Path, preds: Sequence[tuple[str, Path]], palette: Sequence[Sequence[int]]
) -> list[Panel]:
    """An image, its labels, what the baseline and the arm predict there, and where the arm alone
    is right or wrong.

    Args:
        label: an image file of class indices; 255 is void.
        preds: titles and such files of the baseline and the arm.
        palette: RGB per class.
    """
    target, *predicted = (np.asarray(Image.open(file)) for file in (label, *(p for _, p in preds)))
    changed = changed_pixels(target, *predicted, valid=target != VOID)
    panels = [Panel('image', _data_uri(Image.open(image).convert('RGB'), 'JPEG'))]
    panels.append(Panel('labels', _painted(target, palette)))
    for (title, _), pred in zip(preds, predicted, strict=True):
        panels.append(Panel(title, _painted(pred, palette)))
    panels.append(Panel('green: now right, orange: now wrong', _painted(changed, CHANGES)))
    return panels


def _painted(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> str:
    colors = np.full((256, 3), 255, np.uint8)
    colors[: len(palette)] = palette
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(colors.flatten().tolist())
    return _data_uri(image, 'PNG')


def _data_uri(image: Image.Image, kind: str) -> str:
    scale = MOST_PIXELS / max(image.size)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.size]
        how = Image.Resampling.NEAREST if kind == 'PNG' else Image.Resampling.LANCZOS
        image = image.resize(size, how)
    written = io.BytesIO()
    image.save(written, kind, **({'quality': 85} if kind == 'JPEG' else {'optimize': True}))
    encoded = base64.b64encode(written.getvalue()).decode()
    return f'data:image/{kind.lower()};base64,{encoded}'

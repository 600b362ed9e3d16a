"""Predictions of several nets side by side, and where they differ: Figs. 9 and 10 of EPL (Yin et
al.)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .style import PLAIN_STYLE

# RGB: neither, now right, now wrong. Okabe and Ito's green and vermilion.
CHANGES = [[128, 128, 128], [0, 158, 115], [213, 94, 0]]
RIGHT, WRONG, VOID = [225, 225, 225], [90, 90, 90], [255, 255, 255]
PANEL, TITLE = 2.7, 1.6  # inches: the longer side of a panel, and what the words over it need
DOTS = 120, 600  # per inch, at least and at most


@dataclass(frozen=True)
class Compared:
    """An image, (H, W, 3) uint8 RGB, its label and the nets' predictions, (H, W) integer.

    valid: (H, W) bool, False at void.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    valid: np.ndarray
    preds: list[np.ndarray]

    @property
    def differing(self) -> float:
        """The share of the valid pixels for which not all nets predict the same class."""
        same = np.logical_and.reduce([pred == self.preds[0] for pred in self.preds])
        return float((~same & self.valid).sum() / max(1, self.valid.sum()))

    @property
    def correct(self) -> list[float]:
        """Each net's share of right pixels among the valid ones."""
        right = [((pred == self.label) & self.valid).sum() for pred in self.preds]
        return [float(each / max(1, self.valid.sum())) for each in right]


def changed_pixels(
    label: np.ndarray, before: np.ndarray, after: np.ndarray, valid: np.ndarray
) -> np.ndarray:
    """(H, W) integer, where the second prediction alone is right (1) or wrong (2); else 0.

    >>> label, valid = np.array([0, 1, 1, 1, 1]), np.array([1, 1, 1, 1, 0], bool)
    >>> changed_pixels(label, np.array([0, 0, 1, 0, 0]), np.array([0, 1, 0, 2, 1]), valid).tolist()
    [0, 1, 2, 0, 0]
    """
    was_right, is_right = before == label, after == label
    return np.where(valid & (was_right != is_right), np.where(is_right, 1, 2), 0)


@matplotlib.rc_context(PLAIN_STYLE)
def draw_predictions(
    scenes: Sequence[Compared],
    titles: Sequence[str],
    classes: Sequence[str],
    colors: Sequence[Sequence[int]],
    heading: str,
) -> Figure:
    """Two rows for each image: what the nets predict, and below where each is right or wrong, the
    others beside the first.

    Args:
        titles: of the nets.
        classes, colors: the classes' names and RGB.
        heading: over the figure.
    """
    height, width = (max(scene.label.shape[side] for scene in scenes) for side in (0, 1))
    size = np.maximum(np.array([width, height]) * PANEL / max(width, height), 0.5)
    columns, rows = 1 + len(titles), 2 * len(scenes)
    figure = Figure((columns * max(TITLE, size[0]) + 0.5, rows * (size[1] + 0.25) + 1.4))
    figure.set_dpi(float(np.clip(np.ceil(2 * width / size[0]), *DOTS)))
    axes = figure.subplots(rows, columns, squeeze=False)
    beside = ['errors', *(f'beside {titles[0]}' for _ in titles[1:])]
    for place, scene in enumerate(scenes):
        above = [scene.image, *(_painted(pred, colors) for pred in scene.preds)]
        label = _painted(scene.label, colors)
        label[~scene.valid] = VOID
        below = [label, *(_marked(scene, pred) for pred in scene.preds)]
        names = ['image', *titles], ['label', *beside]
        for row, panels, captions in zip(axes[2 * place :], (above, below), names, strict=False):
            for axis, panel, caption in zip(row, panels, captions, strict=True):
                axis.imshow(panel, interpolation='none')
                axis.set_title(caption)
        axes[2 * place, 0].set_ylabel(scene.name)
        axes[2 * place + 1, 0].set_ylabel(f'{scene.differing:.1%} differ')
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(heading, fontsize=10)
    entries = list(_entries(scenes, titles, classes, colors))
    figure.legend(handles=entries, loc='outside lower center', ncols=2 + columns)
    return figure


def _painted(numbers: np.ndarray, colors: Sequence[Sequence[int]]) -> np.ndarray:
    """(H, W, 3) uint8; white where there is no such class."""
    known = np.full((max(256, len(colors) + 1), 3), VOID, np.uint8)
    known[: len(colors)] = colors
    return known[numbers]


def _marked(scene: Compared, pred: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: right and wrong pixels, and in color those that are not as in the first
    prediction."""
    marked = np.where((pred == scene.label)[..., None], RIGHT, WRONG).astype(np.uint8)
    changed = changed_pixels(scene.label, scene.preds[0], pred, scene.valid)
    marked[changed > 0] = np.array(CHANGES, np.uint8)[changed[changed > 0]]
    marked[~scene.valid] = VOID
    return marked


def _entries(
    scenes: Sequence[Compared],
    titles: Sequence[str],
    classes: Sequence[str],
    colors: Sequence[Sequence[int]],
) -> Iterator[Patch]:
    shown = [scene.label[scene.valid] for scene in scenes]
    shown += [pred.ravel() for scene in scenes for pred in scene.preds]
    legend = {classes[number]: colors[number] for number in np.unique(np.concatenate(shown))}
    if not all(scene.valid.all() for scene in scenes):
        legend['void'] = VOID
    legend['right'] = RIGHT
    legend['wrong'] = WRONG
    legend[f'right where {titles[0]} is wrong'] = CHANGES[1]
    legend[f'wrong where {titles[0]} is right'] = CHANGES[2]
    for name, color in legend.items():
        edge = dict(edgecolor='black', linewidth=0.5)
        yield Patch(facecolor=[part / 255 for part in color], label=name, **edge)

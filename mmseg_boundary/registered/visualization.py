"""Figures that show where predictions miss the boundaries."""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend, Visualizer
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..files import atomic_write
from ..geometry.boundary import find_boundaries, within
from ..labels import is_void

# Of Okabe and Ito's palette, and of different lightness, so that every kind of colour blindness,
# and grey print, leaves them apart.
COLOURS = {
    'error': (213, 94, 0),
    'void': (0, 0, 0),
    'true': (86, 180, 233),
    'predicted': (240, 228, 66),
    'both': (255, 255, 255),
}
STRIPES = 60  # grey of the stripes on void, whose ground is COLOURS['void']
PAPER = 60  # grey of the legends
SMALLEST_SIDE = 800  # px of the longer side; single pixels are hard to see
SMALLEST_LEGEND = 400  # px
ROOT = 1.2207440846  # of x^4 = x + 1, for the colours of classes without a palette
Swatch = np.ndarray | None


@HOOKS.register_module()
class BoundaryVisualizationHook(Hook):
    """Draws predictions and their errors in two panels, see `paint`.

    Takes the place of `SegVisualizationHook`, whose arguments it has: in training every
    `interval`-th validation batch (of the first rank) shows its first image, in testing every image
    is shown, under the number that it has in the data set where a `DefaultSampler` deals them out.
    The visualizer's backends keep the figures: in files (`LocalVisBackend`) those of every rank of
    a test, elsewhere (TensorBoard) those of the first, and a file that cannot be written is an
    `UnwrittenFile`.

    Args:
        draw, interval, show, wait_time, backend_args: as for `SegVisualizationHook`.
        width: errors up to so many pixels from a true boundary are in full colour.
        ignore_index: the void label.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        show: bool = False,
        wait_time: float = 0.0,
        backend_args: dict | None = None,
        width: float = 3,
        ignore_index: int = 255,
    ) -> None:
        self.draw = draw
        self.interval = interval
        self.show = show
        self.wait_time = wait_time
        self.backend_args = backend_args
        self.width = width
        self.ignore_index = ignore_index
        self.meta = {}  # of the data set: the visualizer has it on the first rank alone
        self.shown = 0  # by this rank
        self.last = math.inf

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Shows the first image of every `interval`-th batch."""
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0 and is_main_process():
            self._add('val', outputs[0], step)

    def before_val(self, runner: Runner) -> None:
        """Takes the names and colors of the classes."""
        self.meta = getattr(runner.val_dataloader.dataset, 'metainfo', {})

    def before_test(self, runner: Runner) -> None:
        """Takes the names and colors of the classes, and finds where the repeated images begin by
        which a sampler makes all shares equal."""
        self.meta = getattr(runner.test_dataloader.dataset, 'metainfo', {})
        if isinstance(runner.test_dataloader.sampler, DefaultSampler):
            self.last = self.shown * get_world_size() + len(runner.test_dataloader.dataset)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Shows every image."""
        for sample in outputs if self.draw else ():
            # As images are dealt out: no two ranks share a number, and one rank gives the same.
            step = self.shown * get_world_size() + get_rank() + 1
            self.shown += 1
            if step <= self.last:
                self._add('test', sample, step)

    def _add(self, mode: str, sample: SegDataSample, step: int) -> None:
        image = mmcv.imfrombytes(get(sample.img_path, self.backend_args), channel_order='rgb')
        pred = sample.pred_sem_seg.data.reshape(image.shape[:2]).long().cpu()
        label = None
        if 'gt_sem_seg' in sample:
            label = sample.gt_sem_seg.data.reshape(image.shape[:2]).long().cpu()
        visualizer = Visualizer.get_current_instance()
        names = self.meta.get('classes'), self.meta.get('palette')
        figure = paint(image, pred, label, self.ignore_index, self.width, *names)
        name = f'{mode}_{Path(sample.img_path).name}'
        if self.show:
            visualizer.show(figure, name, wait_time=self.wait_time)
        else:
            keep(visualizer, name, figure, step)


def keep(visualizer: Visualizer, name: str, figure: np.ndarray, step: int) -> None:
    """Adds a figure as `Visualizer.add_image`, but writes files on every rank, and does not ignore
    that a file cannot be written.

    Raises:
        UnwrittenFile: the file cannot be written, as on a full disk.
    """
    for backend in visualizer._vis_backends.values():
        if isinstance(backend, LocalVisBackend):
            folder = Path(backend.experiment._img_save_dir)
            with atomic_write(folder / f'{name}_{step}.png') as unfinished:
                png = cv2.imencode('.png', cv2.cvtColor(figure, cv2.COLOR_RGB2BGR))[1]
                unfinished.write_bytes(png.tobytes())
        elif is_main_process():
            backend.add_image(name, figure, step)


def paint(
    image: np.ndarray,
    pred: np.ndarray | Tensor,
    label: np.ndarray | Tensor | None = None,
    ignore_index: int = 255,
    width: float = 3,
    classes: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
) -> np.ndarray:
    """A figure of a prediction in two panels, with a legend below each.

    The first shows the predicted classes over the grey image, with the true boundaries. The second
    shows the errors: in full colour near a true boundary, half transparent farther away, with
    stripes where the label is void; and the boundaries of label and prediction. There an error
    hides the boundary along its edge, so that thin errors keep their area; the boundary remains on
    the side of the correct pixels. The panels stand side by side, those of a wide image one below
    the other.

    Args:
        image: (H, W, 3) uint8 RGB.
        pred, label: (H, W) integer classes, arrays or tensors; pixels of `label` may be void.
            Without a label there are no true boundaries and no errors.
        ignore_index: the void label.
        width: errors up to so many pixels from a true boundary are in full colour.
        classes: their names, for the legend, which has those that are predicted in this image.
            Without names it has their numbers. OpenCV draws ASCII alone.
        palette: an RGB colour per class, 0 to 255; classes beyond it get one of ours.

    Returns:
        (H', W', 3) uint8 RGB, the panels enlarged by a whole factor, 2 or more.

    Raises:
        ValueError: the image is no such array, or a map has another size than the image.
    """
    image, pred, label = _require_maps(image, pred, label)
    zoom = max(2, -(-SMALLEST_SIDE // max(pred.shape)))
    layers = boundary_layers(pred, label, ignore_index, width, zoom)
    grey = (image.mean(-1, keepdims=True) * 0.5).astype(np.uint8).repeat(3, 2)

    numbers = pred.unique()
    colours = np.array([class_color(number, palette) for number in numbers.tolist()], np.uint8)
    predicted = _repeated(_mixed(grey, colours[torch.searchsorted(numbers, pred).numpy()]), zoom)
    named = [
        (_swatch(colour), _class_name(number, classes))
        for number, colour in zip(numbers.tolist(), colours, strict=True)
    ]
    if 'true' in layers:
        predicted[layers['true'].numpy()] = COLOURS['true']
        named.append((_swatch(COLOURS['true']), 'true boundary'))

    errors = _paint_errors(_repeated(grey, zoom), layers, zoom)
    second = 'Errors:' if label is not None else 'Without a label:'
    panels = [
        _with_legend(predicted, 'Prediction:', named),
        _with_legend(errors, second, _error_legend(list(layers), width)),
    ]
    return _joined(panels, axis=0 if image.shape[1] > 1.5 * image.shape[0] else 1)


def boundary_layers(
    pred: Tensor, label: Tensor | None, ignore_index: int = 255, width: float = 3, zoom: int = 1
) -> dict[str, Tensor]:
    """The masks to paint, in this order, that show where a prediction misses the true boundaries.

    Args:
        pred, label: (H, W) integer classes; pixels of `label` may be void. Without a label there
            is a predicted boundary alone.
        ignore_index: the void label.
        width: as for `metrics.count_contour_errors`.
        zoom: factor by which the figure is enlarged; boundaries stay thin lines between pixels.

    Returns:
        (zoom H, zoom W) bool each: 'far', the wrong pixels that are not near a true boundary, and
        'error', those that are; 'void'; the 'true' and the 'predicted' boundary, and 'both' where
        these coincide.
    """
    if label is None:
        return {'predicted': _lines(pred, torch.zeros_like(pred, dtype=torch.bool), zoom)}
    pred, label = pred.long(), label.long()
    void = is_void(label, ignore_index)
    wrong = (pred != label) & ~void
    near = within(find_boundaries(label, ~void), width)
    true, predicted = _lines(label, void, zoom), _lines(pred, void, zoom)
    return {
        'far': _enlarged(wrong & ~near, zoom),
        'error': _enlarged(wrong & near, zoom),
        'void': _enlarged(void, zoom),
        'true': true,
        'predicted': predicted,
        'both': true & predicted,
    }


def _require_maps(
    image: np.ndarray, pred: np.ndarray | Tensor, label: np.ndarray | Tensor | None
) -> tuple[np.ndarray, Tensor, Tensor | None]:
    """The image, and the maps as int64 tensors."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f'image is {image.shape} {image.dtype}; give (H, W, 3) uint8, in the order RGB.'
        )
    maps = []
    for name, given in (('pred', pred), ('label', label)):
        given = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
        if given is not None and np.shape(given) != image.shape[:2]:
            raise ValueError(
                f'{name} is {np.shape(given)} and the image {image.shape[:2]} (height, width); '
                'give one class number per pixel of the image.'
            )
        maps.append(given if given is None else torch.from_numpy(np.array(given, np.int64)))
    return image, *maps


def _paint_errors(canvas: np.ndarray, layers: dict[str, Tensor], zoom: int) -> np.ndarray:
    """The layers on a canvas of their size, which is changed."""
    wrong = torch.zeros_like(layers['predicted'])
    if 'void' in layers:
        far, error = layers['far'].numpy(), layers['error'].numpy()
        canvas[far] = _mixed(canvas[far], COLOURS['error'])
        canvas[error] = COLOURS['error']
        _stripe(canvas, layers['void'].numpy())
        wrong = layers['far'] | layers['error']
    # Where pixels on both sides of a boundary are wrong, it is shown.
    hidden = wrong & within(~wrong, zoom // 4 + 1)
    for name in ('true', 'predicted', 'both'):
        if name in layers:
            canvas[(layers[name] & ~hidden).numpy()] = COLOURS[name]
    return canvas


def _error_legend(names: Sequence[str], width: float) -> list[tuple[Swatch, str]]:
    middle = np.full((16, 16, 3), 64, np.uint8)
    known = {
        'error': (_swatch(COLOURS['error']), f'wrong, within {width:g} px of a true boundary'),
        'far': (_mixed(middle, COLOURS['error']), 'wrong, elsewhere'),
        'void': (_stripe(middle.copy(), np.ones((16, 16), bool)), 'void'),
        'true': (_swatch(COLOURS['true']), 'true boundary'),
        'predicted': (_swatch(COLOURS['predicted']), 'predicted boundary'),
        'both': (_swatch(COLOURS['both']), 'both'),
    }
    return [entry for name, entry in known.items() if name in names]


def _with_legend(
    panel: np.ndarray, heading: str, entries: Sequence[tuple[Swatch, str]]
) -> np.ndarray:
    """The panel with the swatches and their words below, in as many rows as they need."""
    font = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    # The words of large panels, which are looked at from farther away, are larger.
    scale = max(1, round(panel.shape[1] / 1600))
    length = max(panel.shape[1], SMALLEST_LEGEND) // scale
    x, y, places = 12, 0, []
    for swatch, words in [(None, heading), *entries]:
        needed = cv2.getTextSize(words, *font, 1)[0][0] + (24 if swatch is None else 48)
        if x > 12 and x + needed > length:
            x, y = 12, y + 24
        places.append((x, y, swatch, words))
        x += needed
    strip = np.full((y + 36, length, 3), PAPER, np.uint8)
    for x, y, swatch, words in places:
        if swatch is not None:
            cv2.rectangle(strip, (x - 1, y + 9), (x + 16, y + 26), (255, 255, 255))
            strip[y + 10 : y + 26, x : x + 16] = swatch
            x += 24
        cv2.putText(strip, words, (x, y + 23), *font, (255, 255, 255), 1, cv2.LINE_AA)
    return _joined([panel, _repeated(strip, scale)], axis=0, gap=0)


def _joined(parts: Sequence[np.ndarray], axis: int, gap: int = 8) -> np.ndarray:
    """The parts side by side (axis 1) or one below the other, each filled up with grey."""
    across = 1 - axis
    most = max(part.shape[across] for part in parts)
    padded = []
    for part in parts:
        sides = [(0, 0)] * 3
        sides[across] = 0, most - part.shape[across]
        sides[axis] = 0, 0 if part is parts[-1] else gap
        padded.append(np.pad(part, sides, constant_values=PAPER))
    return np.concatenate(padded, axis)


def _class_name(number: int, classes: Sequence[str] | None) -> str:
    return str(classes[number]) if 0 <= number < len(classes or ()) else f'class {number}'


def class_color(number: int, palette: Sequence[Sequence[int]] | None) -> Sequence[int]:
    """The RGB of a class: the palette's, or one of ours where it has none."""
    if palette is not None and 0 <= number < len(palette):
        return palette[number]
    # A sequence of low discrepancy in the cube (Roberts' R3): any two of many are apart.
    return [int(256 * ((number + 1) / ROOT**power % 1)) for power in (1, 2, 3)]


def _swatch(colour: Sequence[int]) -> np.ndarray:
    return np.full((16, 16, 3), colour, np.uint8)


def _stripe(canvas: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The canvas, with diagonal stripes where the mask is true."""
    y, x = mask.nonzero()
    canvas[y, x] = np.where(((y + x) % 8 < 4)[:, None], STRIPES, COLOURS['void'])
    return canvas


def _mixed(pixels: np.ndarray, colour: np.ndarray | Sequence[int]) -> np.ndarray:
    """Half of each."""
    return ((pixels.astype(np.uint16) + np.asarray(colour, np.uint16)) // 2).astype(np.uint8)


def _repeated(pixels: np.ndarray, zoom: int) -> np.ndarray:
    return pixels.repeat(zoom, 0).repeat(zoom, 1)


def _lines(labels: Tensor, void: Tensor, zoom: int) -> Tensor:
    boundaries = find_boundaries(_enlarged(labels, zoom), ~_enlarged(void, zoom))
    return within(boundaries, zoom // 4)


def _enlarged(labels: Tensor, zoom: int) -> Tensor:
    return labels.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)

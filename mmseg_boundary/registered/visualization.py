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
SMALLEST_WIDTH = 800  # px; single pixels are hard to see, and the legend needs space


@HOOKS.register_module()
class BoundaryVisualizationHook(Hook):
    """Paints true and predicted boundaries and the errors between them over the grey image.

    Takes the place of `SegVisualizationHook`, whose arguments it has: in training every
    `interval`-th validation batch (of the first rank) shows its first image, in testing every image
    is shown, under the number that it has in the data set where a `DefaultSampler` deals them out.
    The visualizer's backends keep the figures: in files (`LocalVisBackend`) those of every rank of
    a test, elsewhere (TensorBoard) those of the first, and a file that cannot be written is an
    `UnwrittenFile`.

    Args:
        draw, interval, show, wait_time, backend_args: as for `SegVisualizationHook`.
        width: errors up to so many pixels from a true boundary are painted.
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

    def before_test(self, runner: Runner) -> None:
        """Finds where the repeated images begin by which a sampler makes all shares equal."""
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
        figure = paint(image, pred, label, self.ignore_index, self.width)
        name = f'{mode}_{Path(sample.img_path).name}'
        visualizer = Visualizer.get_current_instance()
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
    image: np.ndarray, pred: Tensor, label: Tensor | None, ignore_index: int = 255, width: float = 3
) -> np.ndarray:
    """The image, grey and dimmed, with boundaries, errors and a legend.

    Args:
        image: (H, W, 3) uint8 RGB.
        pred, label, ignore_index, width: as for `boundary_layers`.

    Returns:
        (H', W', 3) uint8 RGB, enlarged by a whole factor, with the legend below.
    """
    # At a zoom of 2 or more, boundaries are thinner than what they enclose.
    zoom = max(2, -(-SMALLEST_WIDTH // image.shape[1]))
    layers = boundary_layers(pred, label, ignore_index, width, zoom)
    grey = (image.mean(-1, keepdims=True) * 0.5).astype(np.uint8)
    painted = grey.repeat(zoom, 0).repeat(zoom, 1).repeat(3, 2)
    for name, mask in layers.items():
        painted[mask.numpy()] = COLOURS[name]
    return np.concatenate([painted, _legend(list(layers), width, painted.shape[1])])


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
        (zoom H, zoom W) bool each: 'error', the wrong pixels near a true boundary; 'void'; the
        'true' and the 'predicted' boundary, and 'both' where these coincide.
    """
    if label is None:
        return {'predicted': _lines(pred, torch.zeros_like(pred, dtype=torch.bool), zoom)}
    pred, label = pred.long(), label.long()
    void = is_void(label, ignore_index)
    wrong_near = (pred != label) & ~void & within(find_boundaries(label, ~void), width)
    true, predicted = _lines(label, void, zoom), _lines(pred, void, zoom)
    return {
        'error': _enlarged(wrong_near, zoom),
        'void': _enlarged(void, zoom),
        'true': true,
        'predicted': predicted,
        'both': true & predicted,
    }


def _legend(names: Sequence[str], width: float, length: int) -> np.ndarray:
    words = {
        'error': f'wrong, within {width:g} px',
        'void': 'void',
        'true': 'true boundary',
        'predicted': 'predicted boundary',
        'both': 'both',
    }
    strip = np.full((36, length, 3), 60, np.uint8)
    x = 12
    for name in names:
        cv2.rectangle(strip, (x, 10), (x + 16, 26), COLOURS[name], cv2.FILLED)
        font = cv2.FONT_HERSHEY_SIMPLEX, 0.5
        cv2.putText(strip, words[name], (x + 24, 23), *font, (255, 255, 255), 1, cv2.LINE_AA)
        x += 24 + cv2.getTextSize(words[name], *font, 1)[0][0] + 24
    return strip


def _lines(labels: Tensor, void: Tensor, zoom: int) -> Tensor:
    boundaries = find_boundaries(_enlarged(labels, zoom), ~_enlarged(void, zoom))
    return within(boundaries, zoom // 4)


def _enlarged(labels: Tensor, zoom: int) -> Tensor:
    return labels.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)

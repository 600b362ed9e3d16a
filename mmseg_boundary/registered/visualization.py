"""Pictures of where predictions miss the boundaries."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..metrics.contour_errors import contour_picture

# Of Okabe and Ito's palette, and of different lightness, so that every kind of colour blindness,
# and grey print, leaves them apart.
COLOURS = {
    'true': (86, 180, 233),
    'predicted': (240, 228, 66),
    'both': (255, 255, 255),
    'error': (213, 94, 0),
    'void': (0, 0, 0),
}
SMALLEST_WIDTH = 800  # px; single pixels are hard to see, and the legend needs room


@HOOKS.register_module()
class BoundaryVisualizationHook(Hook):
    """Paints true and predicted boundaries and the errors between them over the grey image.

    Takes the place of `SegVisualizationHook`, whose arguments it has: in training every
    `interval`-th validation batch shows its first image, in testing every image is shown. The
    visualizer's backends keep the pictures.

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
        self.shown = 0

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Shows the first image of every `interval`-th batch."""
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0:
            self._add('val', outputs[0], step)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Shows every image."""
        for sample in outputs if self.draw else ():
            self.shown += 1
            self._add('test', sample, self.shown)

    def _add(self, mode: str, sample: SegDataSample, step: int) -> None:
        image = mmcv.imfrombytes(get(sample.img_path, self.backend_args), channel_order='rgb')
        pred = sample.pred_sem_seg.data.reshape(image.shape[:2]).long().cpu()
        label = None
        if 'gt_sem_seg' in sample:
            label = sample.gt_sem_seg.data.reshape(image.shape[:2]).long().cpu()
        layers = contour_picture(pred, label, self.ignore_index, self.width)
        picture = paint(image, layers, self.width)
        name = f'{mode}_{Path(sample.img_path).name}'
        visualizer = Visualizer.get_current_instance()
        if self.show:
            visualizer.show(picture, name, wait_time=self.wait_time)
        else:
            visualizer.add_image(name, picture, step)


def paint(image: np.ndarray, layers: dict[str, Tensor], width: float) -> np.ndarray:
    """The image, grey and dimmed, with the layers of `contour_picture` and a legend.

    Args:
        image: (H, W, 3) uint8 RGB.
        layers: (H, W) bool each, by their names in COLOURS.
        width: of the error band, in pixels; for the legend.

    Returns:
        (H', W', 3) uint8 RGB, a whole number of times as large, and the legend below.
    """
    grey = torch.from_numpy(image).float().mean(-1, keepdim=True) * 0.5
    painted = grey.expand(-1, -1, 3).byte().clone()
    for name, mask in layers.items():
        painted[mask] = torch.tensor(COLOURS[name], dtype=torch.uint8)
    zoom = -(-SMALLEST_WIDTH // image.shape[1])
    enlarged = painted.numpy().repeat(zoom, 0).repeat(zoom, 1)
    return np.concatenate([enlarged, _legend(layers, width, enlarged.shape[1])])


def _legend(names: Sequence[str], width: float, length: int) -> np.ndarray:
    words = {
        'true': 'true boundary',
        'predicted': 'predicted boundary',
        'both': 'both',
        'error': f'wrong, within {width:g} px',
        'void': 'void',
    }
    strip = np.full((36, length, 3), 60, np.uint8)
    x = 12
    for name in names:
        cv2.rectangle(strip, (x, 10), (x + 16, 26), COLOURS[name], cv2.FILLED)
        font = cv2.FONT_HERSHEY_SIMPLEX, 0.5
        cv2.putText(strip, words[name], (x + 24, 23), *font, (255, 255, 255), 1, cv2.LINE_AA)
        x += 24 + cv2.getTextSize(words[name], *font, 1)[0][0] + 24
    return strip

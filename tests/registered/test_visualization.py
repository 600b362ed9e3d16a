import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from PIL import Image
from scenes import square

from mmseg_boundary.metrics.contour_errors import contour_layers
from mmseg_boundary.registered.visualization import COLOURS, paint

PICTURE = 'shapes://0/32x40/image/000000.png'


@pytest.fixture
def visualizer(tmp_path):
    return Visualizer.get_instance(
        tmp_path.name, vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path)
    )


def hook(**arguments):
    return HOOKS.build(dict(type='BoundaryVisualizationHook', draw=True, **arguments))


def sample(truth=True, shape=(32, 40)):
    label, pred = torch.zeros(1, *shape, dtype=torch.long), torch.zeros(1, *shape)
    label[:, 5:20, 5:20] = 1
    pred[:, 6:22, 6:22] = 1
    made = SegDataSample(pred_sem_seg=PixelData(data=pred), metainfo=dict(img_path=PICTURE))
    if truth:
        made.gt_sem_seg = PixelData(data=label)
    return made


def test_layers_of_a_shifted_square():
    """Shifted right by one: its left and right sides are wrong, both near the true contour."""
    label = square()
    label[0] = 255
    layers = contour_layers(label.roll(1, 1), label, width=1)
    assert list(layers) == ['error', 'void', 'true', 'predicted', 'both']
    assert layers['error'].sum() == 10
    assert layers['both'].equal(layers['true'] & layers['predicted'])
    assert layers['void'].sum() == 9 and not layers['true'][0].any()
    larger = contour_layers(label.roll(1, 1), label, width=1, zoom=3)
    assert larger['error'].sum() == 90 and larger['true'].shape == (27, 27)
    # Along the edges: both sides of the outline of 4 x 15 pixels; the corners' outsides are not.
    assert larger['true'].sum() == 4 * 15 + 4 * 13 + 4
    assert list(contour_layers(label, None)) == ['predicted']


def test_the_picture_is_enlarged_and_has_a_legend():
    picture = paint(np.full((9, 9, 3), 200, np.uint8), square().roll(1, 1), square())
    assert picture.shape == (9 * 89 + 36, 9 * 89, 3) and picture.dtype == np.uint8
    colours = {tuple(colour) for colour in picture[: 9 * 89].reshape(-1, 3).tolist()}
    assert colours == {COLOURS[name] for name in ('true', 'predicted', 'both', 'error')} | {
        (100, 100, 100)
    }


def test_colours_differ_in_lightness_from_each_other_and_from_the_image():
    """The dimmed image reaches half of full lightness; every two colours, in any grey print, are
    well apart, and the image's greys have no hue."""
    lightness = sorted(np.dot(colour, (0.2126, 0.7152, 0.0722)) for colour in COLOURS.values())
    assert min(np.diff(lightness)) > 20


@pytest.mark.parametrize('truth', [True, False])
def test_every_image_of_a_test(visualizer, tmp_path, truth):
    drawing = hook()
    drawing.after_test_iter(None, 0, None, [sample(truth), sample(truth)])
    files = sorted(tmp_path.glob('**/*.png'))
    assert [file.name for file in files] == ['test_000000.png_1.png', 'test_000000.png_2.png']
    assert Image.open(files[0]).size == (800, 32 * 20 + 36)


def test_the_interval_of_a_validation(visualizer, tmp_path):
    class Runner:
        iter = 10

    drawing = hook(interval=5)
    for batch in range(10):
        drawing.after_val_iter(Runner, batch, None, [sample(), sample()])
    assert len(list(tmp_path.glob('**/*.png'))) == 2


def test_it_draws_nothing_unless_told(visualizer, tmp_path):
    HOOKS.build(dict(type='BoundaryVisualizationHook')).after_test_iter(None, 0, None, [sample()])
    assert not list(tmp_path.glob('**/*.png'))

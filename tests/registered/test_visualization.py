import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_boundary.files import UnwrittenFile
from mmseg_boundary.registered import visualization
from mmseg_boundary.registered.visualization import COLOURS, boundary_layers, paint
from tests.support.scenes import square

IMAGE = 'shapes://0/32x40/image/000000.png'


@pytest.fixture
def visualizer(tmp_path):
    return Visualizer.get_instance(
        tmp_path.name, vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path)
    )


def hook(**arguments):
    return HOOKS.build(dict(type='BoundaryVisualizationHook', draw=True, **arguments))


def sample(has_label=True, shape=(32, 40)):
    label, pred = torch.zeros(1, *shape, dtype=torch.long), torch.zeros(1, *shape)
    label[:, 5:20, 5:20] = 1
    pred[:, 6:22, 6:22] = 1
    made = SegDataSample(pred_sem_seg=PixelData(data=pred), metainfo=dict(img_path=IMAGE))
    if has_label:
        made.gt_sem_seg = PixelData(data=label)
    return made


def test_layers_of_a_shifted_square():
    """Shifted right by one: its left and right sides are wrong, both near the true boundary."""
    label = square()
    label[0] = 255
    layers = boundary_layers(label.roll(1, 1), label, width=1)
    assert list(layers) == ['error', 'void', 'true', 'predicted', 'both']
    assert layers['error'].sum() == 10
    assert layers['both'].equal(layers['true'] & layers['predicted'])
    assert layers['void'].sum() == 9 and not layers['true'][0].any()
    larger = boundary_layers(label.roll(1, 1), label, width=1, zoom=3)
    assert larger['error'].sum() == 90 and larger['true'].shape == (27, 27)
    # Both sides of the boundary of 4 x 15 pixels, without the outsides of the corners.
    assert larger['true'].sum() == 4 * 15 + 4 * 13 + 4
    assert list(boundary_layers(label, None)) == ['predicted']


def test_no_error_is_painted_at_void():
    label = torch.tensor([[0, 0, 255, 0, 1, 1]])
    layers = boundary_layers(1 - label.clamp(max=1), label, width=1)
    assert layers['error'].tolist() == [[False, False, False, True, True, True]]
    assert layers['void'].tolist() == [[False, False, True, False, False, False]]


@pytest.mark.parametrize(
    'dtype, void, number',
    [
        (torch.uint8, -100, 156),
        (torch.uint8, -254, 2),
        (torch.uint8, 256, 2),
        (torch.int8, 256, 2),
    ],
)
def test_void_does_not_wrap_around_in_narrow_types(dtype, void, number):
    """-100 is 156 in uint8, -254 is 2, and 256 is 0."""
    wide = torch.tensor([[0, 0, 0, number, number, number]])
    label = wide.to(dtype)
    assert not boundary_layers(label, label, void)['void'].any()
    error = boundary_layers(1 - wide.clamp(max=1), label, void)['error']
    assert error.equal(boundary_layers(1 - wide.clamp(max=1), wide, void)['error']) and error.any()


def test_the_figure_is_enlarged_and_has_a_legend():
    figure = paint(np.full((9, 9, 3), 200, np.uint8), square().roll(1, 1), square())
    assert figure.shape == (9 * 89 + 36, 9 * 89, 3) and figure.dtype == np.uint8
    colours = {tuple(colour) for colour in figure[: 9 * 89].reshape(-1, 3).tolist()}
    assert colours == {COLOURS[name] for name in ('true', 'predicted', 'both', 'error')} | {
        (100, 100, 100)
    }


def test_colours_differ_in_lightness_from_each_other_and_from_the_image():
    """The dimmed image reaches half of full lightness; every two colours, in any grey print, are
    well apart, and the image's greys have no hue."""
    lightness = sorted(np.dot(colour, (0.2126, 0.7152, 0.0722)) for colour in COLOURS.values())
    assert min(np.diff(lightness)) > 20


@pytest.mark.parametrize('has_label', [True, False])
def test_every_image_of_a_test(visualizer, tmp_path, has_label):
    drawing = hook()
    drawing.after_test_iter(None, 0, None, [sample(has_label), sample(has_label)])
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


@pytest.mark.parametrize('ranks', [1, 2, 3])
@pytest.mark.parametrize('round_up', [True, False])
def test_ranks_keep_together_what_one_keeps(ranks, round_up, monkeypatch):
    """Seven images: numbered as by one rank, and those that a sampler repeats left out."""
    images, shown = range(7), []
    monkeypatch.setattr(visualization, 'get_world_size', lambda: ranks)
    for rank in range(ranks):
        monkeypatch.setattr(visualization, 'get_rank', lambda: rank)
        with monkeypatch.context() as patch:
            patch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, ranks))
            sampler = DefaultSampler(images, shuffle=False, round_up=round_up)
        drawing = hook()
        monkeypatch.setattr(drawing, '_add', lambda *given: shown.append(given[1:]))
        loader = SimpleNamespace(sampler=sampler, dataset=images)
        drawing.before_test(SimpleNamespace(test_dataloader=loader))
        for index in sampler:
            drawing.after_test_iter(None, 0, None, [index])
    assert sorted(shown) == [(index, index + 1) for index in images]


def test_a_second_test_goes_on_counting(monkeypatch):
    shown, drawing = [], hook()
    monkeypatch.setattr(drawing, '_add', lambda *given: shown.append(given[2]))
    loader = SimpleNamespace(sampler=DefaultSampler(range(2)), dataset=range(2))
    for _ in range(2):
        drawing.before_test(SimpleNamespace(test_dataloader=loader))
        drawing.after_test_iter(None, 0, None, [0, 1])
    assert shown == [1, 2, 3, 4]


def test_shares_of_another_sampler_are_all_shown(monkeypatch):
    """The first of two ranks has all images."""
    shown, drawing = [], hook()
    monkeypatch.setattr(visualization, 'get_world_size', lambda: 2)
    monkeypatch.setattr(drawing, '_add', lambda *given: shown.append(given[2]))
    loader = SimpleNamespace(sampler=None, dataset=range(7))
    drawing.before_test(SimpleNamespace(test_dataloader=loader))
    drawing.after_test_iter(None, 0, None, list(range(7)))
    assert shown == [1, 3, 5, 7, 9, 11, 13]


def test_another_rank_keeps_files_alone(visualizer, tmp_path, monkeypatch):
    """What belongs to no folder, such as TensorBoard, is the first rank's; a validation too."""
    added = []
    other = SimpleNamespace(add_image=lambda *given: added.append(given[0]))
    visualizer._vis_backends['other'] = other
    for main in (False, True):
        monkeypatch.setattr(visualization, 'is_main_process', lambda: main)
        hook().after_val_iter(SimpleNamespace(iter=0), 0, None, [sample()])
        assert len(list(tmp_path.glob('**/val_*.png'))) == main
        hook().after_test_iter(None, 0, None, [sample()])
        assert len(list(tmp_path.glob('**/test_*.png'))) == 1
    assert added == ['val_000000.png', 'test_000000.png']


def test_a_figure_that_cannot_be_written_is_an_error(visualizer, tmp_path):
    """OpenCV alone returns False."""
    folder = tmp_path / 'vis_data/vis_image'
    folder.mkdir(parents=True)
    (folder / f'.{os.getpid()}.test_000000.png_1.png').symlink_to('/dev/full')
    with pytest.raises(UnwrittenFile, match='test_000000.png_1.png could not .* No space left'):
        hook().after_test_iter(None, 0, None, [sample()])
    assert not list(folder.iterdir())

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
from mmseg_boundary.registered.datasets.shapes import ShapesDataset
from mmseg_boundary.registered.visualization import COLOURS, STRIPES, boundary_layers, paint
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
    assert list(layers) == ['far', 'error', 'void', 'true', 'predicted', 'both']
    assert layers['error'].sum() == 10 and not layers['far'].any()
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


SIDE = 9 * 89  # a square of 9 px, enlarged to 800 or more


def test_the_figure_is_enlarged_and_has_two_panels():
    figure = paint(np.full((9, 9, 3), 200, np.uint8), square().roll(1, 1), square())
    assert figure.shape[1:] == (2 * SIDE + 8, 3) and figure.dtype == np.uint8
    colours = {tuple(colour) for colour in figure[:SIDE, SIDE + 8 :].reshape(-1, 3).tolist()}
    assert colours == {COLOURS[name] for name in ('true', 'predicted', 'both', 'error')} | {
        (100, 100, 100)
    }


def error_panel(figure, height, length, zoom):
    """The second of two panels one below the other, without its legend."""
    names = ('error', 'far', 'void', 'true', 'predicted', 'both')
    legend = visualization._with_legend(
        np.zeros((1, zoom * length, 3), np.uint8), 'Errors:', visualization._error_legend(names, 3)
    )
    below = len(legend) - 1
    return figure[-below - zoom * height : -below, : zoom * length]


def errors_of(figure, height, length, zoom):
    """(height, length) the shares of each pixel that are drawn as errors, in full colour and half
    transparent, on a black image."""
    parts = error_panel(figure, height, length, zoom).reshape(height, zoom, length, zoom, 3)
    near, far = COLOURS['error'], tuple(part // 2 for part in COLOURS['error'])
    return [(parts == colour).all(-1).mean((1, 3)) for colour in (near, far)]


@pytest.mark.parametrize('height, length, zoom', [(64, 128, 7), (520, 1040, 2)])
def test_a_missed_object_is_an_error_to_its_middle(height, length, zoom):
    """20 px wide: at least 95 % of it, full near its boundary, half transparent elsewhere."""
    label = np.zeros((height, length), np.uint8)
    label[20:40, 30:50] = 1
    figure = paint(np.zeros((height, length, 3), np.uint8), np.zeros_like(label), label)
    near, far = errors_of(figure, height, length, zoom)
    assert (near + far)[20:40, 30:50].mean() >= 0.95
    # Distances to the outermost pixels of the object: 0 to 3 are near.
    assert (far[24:36, 34:46] == 1).all() and (near[20:24, 30:50] == 1).all()
    near[20:40, 30:50] = far[20:40, 30:50] = 0
    assert not near.any() and not far.any()


def test_a_boundary_between_two_errors_is_shown():
    """Two missed objects side by side, and nothing of the boundaries around them in them."""
    label = np.zeros((16, 40), np.uint8)
    label[4:12, 8:20], label[4:12, 20:32] = 1, 2
    figure = paint(np.zeros((16, 40, 3), np.uint8), np.zeros_like(label), label)
    panel = error_panel(figure, 16, 40, 20)
    row = (panel[8 * 20] == COLOURS['true']).all(-1)
    assert row[20 * 20 - 1] and row[20 * 20]
    assert not row[8 * 20 : 19 * 20].any() and not row[21 * 20 : 32 * 20].any()
    assert row[8 * 20 - 1] and row[32 * 20]


@pytest.mark.parametrize('height', [9, 16])
def test_void_has_stripes(height):
    label = np.zeros((height, 20), np.uint8)
    label[:, :4] = 255
    figure = paint(np.full((height, 20, 3), 180, np.uint8), np.zeros_like(label), label)
    # Panels of 9 x 20 px stand one below the other, those of 16 x 20 px side by side.
    errors = error_panel(figure, 9, 20, 40) if height == 9 else figure[: 40 * height, 808:]
    void, other = errors[:, : 4 * 40], errors[:, 4 * 40 : 20 * 40]
    kinds = {tuple(colour) for colour in void.reshape(-1, 3).tolist()}
    assert kinds == {(0, 0, 0), (STRIPES,) * 3}
    assert 0.45 < (void[..., 0] == STRIPES).mean() < 0.55
    # No square of 8 px is of one shade, wherever it lies.
    assert len({*void[3:11, 5:13, 0].ravel().tolist()}) == 2
    assert (other == 90).all()


@pytest.mark.parametrize('classes', [2, 19, 150])
@pytest.mark.parametrize('has_palette', [True, False])
def test_every_predicted_class_is_in_the_legend(classes, has_palette, monkeypatch):
    """By name and colour, each colour in its place over the image, also where the net predicts what
    is no class."""
    words = []
    put = visualization.cv2.putText
    monkeypatch.setattr(
        visualization.cv2, 'putText', lambda strip, text, *given: words.append(text) or put(
            strip, text, *given)
    )  # fmt: skip
    pred = np.arange(classes + 1).repeat(8).reshape(1, -1).repeat(20, 0)
    names = tuple(f'c{number}' for number in range(classes))
    palette = (
        [[number, 255 - number, 37 * number % 256] for number in range(classes)]
        if has_palette
        else None
    )
    image = np.full((*pred.shape, 3), 100, np.uint8)
    figure = paint(image, pred, pred, classes=names, palette=palette)
    assert words[: classes + 4] == [
        'Prediction:', *names, f'class {classes}', 'true boundary', 'Errors:',
    ]  # fmt: skip
    zoom = max(2, -(-800 // pred.shape[1]))
    colours = figure[10 * zoom, 4 * zoom : pred.shape[1] * zoom : 8 * zoom].astype(int)
    if has_palette:
        assert (colours[:-1] == (np.array(palette) + 50) // 2).all()
    apart = np.abs(colours[:, None] - colours).max(-1) + 255 * np.eye(classes + 1)
    assert apart.min() > (0 if has_palette else 7)
    # The legend's swatches have the full colours, one after the other.
    swatches = {tuple(colour) for colour in figure[20 * zoom :].reshape(-1, 3).tolist()}
    assert not has_palette or set(map(tuple, palette)) <= swatches


def test_no_drawn_shape_has_the_color_of_the_true_boundary():
    palette = [tuple(color) for color in ShapesDataset.METAINFO['palette']]
    assert COLOURS['true'] not in palette and len({*palette}) == 6


@pytest.mark.parametrize('shape', [(30, 200), (200, 30), (3, 3), (500, 900)])
def test_any_size_has_its_panels(shape):
    """Panels of wide images one below the other; the longer side has 800 px or more."""
    label = np.zeros(shape, np.int64)
    label[1:, 1:] = 1
    figure = paint(np.zeros((*shape, 3), np.uint8), label, label)
    wide = shape[1] > 1.5 * shape[0]
    zoom = max(2, -(-800 // max(shape)))
    assert figure.shape[0] >= shape[0] * zoom * (2 if wide else 1)
    assert figure.shape[1] >= shape[1] * zoom * (1 if wide else 2)
    assert max(figure.shape) < 5 * 1000


def test_arrays_and_tensors_of_any_integers_give_one_figure():
    image = (np.arange(12 * 15 * 3) % 256).astype(np.uint8).reshape(12, 15, 3)
    pred, label = np.eye(12, 15, dtype=np.int64), np.eye(12, 15, 2, dtype=np.int64)
    label[3] = 255
    given = label.copy()
    expected = paint(image, pred, label)
    for kind in (np.uint8, np.uint16, np.int32):
        figure = paint(image[:, ::-1][:, ::-1], pred.astype(kind), label.astype(kind))
        assert (figure == expected).all()
    tensors = torch.from_numpy(pred).to(torch.uint8), torch.from_numpy(label).int()
    assert (paint(image, *tensors) == expected).all()
    assert (label == given).all()


@pytest.mark.parametrize(
    'image, pred, label, words',
    [
        ((9, 9), (9, 9), None, r'image is \(9, 9\) uint8; give \(H, W, 3\) uint8'),
        ((9, 9, 3), (9, 8), None, r'pred is \(9, 8\) and the image \(9, 9\)'),
        ((9, 9, 3), (9, 9), (1, 9, 9), r'label is \(1, 9, 9\) and the image \(9, 9\)'),
    ],
)
def test_what_is_no_map_of_the_image_is_refused(image, pred, label, words):
    maps = [shape and np.zeros(shape, np.uint8) for shape in (pred, label)]
    with pytest.raises(ValueError, match=words):
        paint(np.zeros(image, np.uint8), *maps)
    with pytest.raises(ValueError, match='float32; give'):
        paint(np.zeros((9, 9, 3), np.float32), *maps)


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
    with_legend = Image.open(files[0])
    assert with_legend.width == 2 * 800 + 8 and 32 * 20 + 36 <= with_legend.height < 32 * 20 + 100


def test_the_legend_of_a_large_figure_is_larger():
    """Otherwise it cannot be read where the whole figure is seen."""
    label = np.zeros((1024, 2048), np.uint8)
    figure = paint(np.zeros((1024, 2048, 3), np.uint8), label, label)
    rows = (figure[2048 : 2048 + 108] == 255).all(-1).any(1).nonzero()[0]
    assert figure.shape == (2 * (2 * 1024 + 3 * 36) + 8, 2 * 2048, 3)
    assert rows[-1] - rows[0] > 3 * 16


def test_classes_are_those_of_the_data_set(visualizer, monkeypatch):
    """Not of the visualizer, which has none on ranks other than the first."""
    asked = []
    meta = dict(classes=('a', 'b'), palette=[[1, 2, 3], [4, 5, 6]])
    monkeypatch.setattr(visualization, 'paint', lambda *given: asked.append(given[-2:]) or IMAGE)
    monkeypatch.setattr(visualization, 'keep', lambda *given: None)
    for dataset in (SimpleNamespace(metainfo=meta), range(1)):
        loader = SimpleNamespace(sampler=None, dataset=dataset)
        drawing = hook()
        drawing.before_test(SimpleNamespace(test_dataloader=loader))
        drawing.after_test_iter(None, 0, None, [sample()])
        drawing = hook(interval=1)
        runner = SimpleNamespace(val_dataloader=loader, iter=0)
        drawing.before_val(runner)
        drawing.after_val_iter(runner, 0, None, [sample()])
    assert asked == [(('a', 'b'), [[1, 2, 3], [4, 5, 6]])] * 2 + [(None, None)] * 2


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

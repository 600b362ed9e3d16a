"""The fields and lines that are drawn are those that the losses compare."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mmseg_boundary.drawing.potential import (
    AGREEMENT,
    DIRECTIONS,
    VOID,
    draw_potentials,
    potentials,
)
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import epl_line_loss, epl_point_loss
from mmseg_boundary.losses.epl.reference import line_terms

H, W, K = 20, 26, 3


@pytest.fixture
def scene():
    """A target with void, and probabilities."""
    torch.manual_seed(0)
    labels = torch.zeros(1, H, W, dtype=torch.long)
    labels[:, 5:14, 4:15] = 1
    labels[:, 9:, 17:] = 2
    labels[:, :3, 20:] = 255
    return encode(labels, K), torch.randn(1, K, H, W).mul(2).softmax(1)


def test_a_row_by_hand():
    target = encode(torch.tensor([[[0, 1, 1, 0, 0, 0]] * 5]), 2)
    found = potentials(target, 1, {}, 5, ['right', 'left'])
    assert found.num_lines == 2 and found.directions == ('right', 'left')
    assert found.label.energies[:, 2].tolist() == [[0, 1, 2, 2, 1, 0], [2, 2, 1, 0, 0, 0]]
    wide = potentials(encode(torch.tensor([[[0, 1, 1, 1, 1, 0, 0]] * 5]), 2), 1, {}, 5, ['right'])
    assert wide.label.energies[0, 2].tolist() == [0, 1, 2, 3, 3, 2, 1]
    assert wide.label.lines[0, 2].tolist() == [0, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize('name', DIRECTIONS)
def test_the_content_is_extended_in_the_direction(name):
    labels = torch.zeros(1, 9, 9, dtype=torch.long)
    labels[0, 4, 4] = 1
    (field,) = potentials(encode(labels, 2), 1, {}, 5, [name]).label.energies
    down = ('down' in name) - ('up' in name)
    right = ('right' in name) - ('left' in name)
    reached = {(4 + j * down, 4 + j * right) for j in range(3)}
    assert {tuple(place) for place in field.nonzero().tolist()} == reached


@pytest.mark.parametrize('padding', ['constant', 'replicate'])
def test_the_losses_are_those_of_the_drawn_numbers(scene, padding):
    target, probs = scene
    found = [
        potentials(target, number, {'net': probs}, 7, list(DIRECTIONS), padding)
        for number in range(K)
    ]
    true, predicted = (
        torch.stack([each.energies for each in some], 1)  # (D, K, H, W)
        for some in ([each.label for each in found], [each.preds[0] for each in found])
    )
    gaps = (true - predicted)[..., target.valid[0, 0]].square().mean()
    loss = epl_point_loss(probs, target, 7, 'C', padding=padding)
    torch.testing.assert_close(gaps, loss)

    terms = []
    for place in range(len(DIRECTIONS)):
        region, chosen = (
            torch.stack([each.lines[place] for each in some])[None]
            for some in ([each.label for each in found], [each.preds[0] for each in found])
        )
        assert (region.sum((2, 3)) == chosen.sum((2, 3))).all() and region.any(3).any(2).all()
        fields = true[place][None], predicted[place][None]
        terms.append(line_terms(*fields, region, chosen, 3, 2, 'paper').mean())
    loss = epl_line_loss(probs, target, 7, 'C', mu=2, padding=padding)
    torch.testing.assert_close(torch.stack(terms).mean(), loss)


@pytest.mark.parametrize(
    'directions, has_image',
    [(['down'], True), (['left', 'up-right'], True), (['down-left'], False)],
)
def test_the_figure_has_these_numbers(scene, directions, has_image):
    target, probs = scene
    found = potentials(target, 2, {'a $1': probs, 'b': 1 - probs}, 7, directions)
    image = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8) if has_image else None
    window = slice(2, 19), slice(3, 26)
    figure = draw_potentials(found, 'sign $ and _', image, window)
    drawn = {}
    for axis in figure.axes:
        if axis.images:
            drawn.setdefault(axis.get_title(), []).append(axis.images[-1].get_array())
    void = ~found.valid[window].numpy()
    for place, direction in enumerate(directions):
        names = [name for name in drawn if name.split()[-2:-1] == [direction]]
        fields = [each for name in names if 'field' in name for each in drawn[name]]
        lines = [each for name in names if name.startswith('lines') for each in drawn[name]]
        sources = [found.label, *found.preds]
        for source, field, line in zip(sources, fields, lines, strict=True):
            energies = source.energies[place][window].numpy()
            assert (field.mask == void).all() and void.any()
            assert (field.data[~void] == energies[~void]).all()
            assert (line.mask == ~source.lines[place][window].numpy()).all()
            assert (line.data[~line.mask] == energies[~line.mask]).all()
    masks = drawn['mask'][0], *drawn['probability']
    for source, mask in zip([found.label, *found.preds], masks, strict=True):
        assert (mask.data == source.probs[window].numpy()).all()
    assert len(drawn.get('image', ())) == (3 if has_image else 0)
    rows = [axis.get_ylabel() for axis in figure.axes]
    assert {'label', 'a $1', 'b'} <= set(rows)


def test_where_the_lines_agree():
    """The prediction is the label, moved by a pixel: of three line pixels in a row, two are in
    both."""
    labels = torch.zeros(1, 16, 30, dtype=torch.long)
    labels[..., 12:20] = 1
    target = encode(labels, 2)
    probs = target.masks.float().roll(1, 3)
    figure = draw_potentials(potentials(target, 1, {'net': probs}, 7, ['right']), '')
    (axis,) = [each for each in figure.axes if 'agreement' in each.get_title()]
    pixels = (axis.images[-1].get_array()[8] * 255).round().astype(int)
    colors = {name: [int(c[i : i + 2], 16) for i in (1, 3, 5)] for name, c in AGREEMENT.items()}
    found = [
        next((name for name, color in colors.items() if pixel[:3].tolist() == color), None)
        if pixel[3]
        else None
        for pixel in pixels
    ]
    # E is 1 2 3 4 4 4 4 4 3 2 1 from column 12 on, and the prediction's from column 13 on
    true, other, new = 'true lines alone', 'in both, other energy', 'predicted lines alone'
    assert found[12:24] == [
        true,
        other,
        other,
        new,
        None,
        None,
        None,
        None,
        true,
        other,
        other,
        new,
    ]
    assert not any(found[:12] + found[24:])
    assert found.count('in both, same energy') == 0


def test_a_perfect_prediction_agrees(scene):
    target, _ = scene
    found = potentials(target, 1, {'net': target.masks.float()}, 7)
    (pred,) = found.preds
    assert (pred.energies == found.label.energies).all()
    assert (pred.lines == found.label.lines).all() and pred.lines.any()


def test_levels_differ_in_brightness():
    """So that they stay apart for the colour-blind and in grey; void is none of them."""
    target = encode(torch.eye(30, dtype=torch.long)[None], 2)
    for kernel_size in (3, 7, 23):
        figure = draw_potentials(potentials(target, 1, {}, kernel_size, ['up']), '')
        (image,) = [each.images[0] for each in figure.axes if 'field' in each.get_title()]
        colors = image.cmap(image.norm(np.arange(kernel_size // 2 + 2)))
        brightness = colors[:, :3] @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(brightness) > 0.02).all() and len(np.unique(colors, axis=0)) == len(colors)
        assert VOID not in {'#' + bytes((c[:3] * 255).astype(np.uint8)).hex() for c in colors}


@pytest.mark.parametrize(
    'arguments, words',
    [
        (dict(directions=['north']), "direction is 'north'; choose one of 'up', 'down', 'left'"),
        (dict(kernel_size=6), 'kernel_size is 6; give an odd number of pixels, 3 or more.'),
        (dict(padding='reflect'), "padding is 'reflect'; choose one of 'constant', 'replicate'."),
        (dict(preds={'net': torch.rand(1, 4, H, W)}), 'give one probability for each class and'),
    ],
)
def test_what_is_refused(scene, arguments, words):
    with pytest.raises(ValueError) as caught:
        potentials(scene[0], 1, **{'preds': {}, **arguments})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    'window',
    [(slice(0, 2), slice(0, 26)), (slice(0, 20), slice(4, 7)), (slice(4, 14), slice(4, 14))],
)
def test_small_windows(scene, window):
    """Without a boundary in it; narrow; and with the energies as numbers."""
    found = potentials(scene[0], 1, {'net $': scene[1]}, 5, ['down-right'])
    figure = draw_potentials(found, 'a $ and a _', window=window)
    FigureCanvasAgg(figure).draw()
    numbers = [text.get_text() for axis in figure.axes for text in axis.texts]
    places = [axis.title.get_window_extent() for axis in figure.axes if axis.get_title()]
    for number, place in enumerate(places):
        assert not any(place.overlaps(other) for other in places[:number])
    small = window == (slice(4, 14), slice(4, 14))
    assert len(numbers) == (2 * 100 if small else 0)
    assert not small or numbers[0] == f'{found.label.energies[0, 4, 4]:.2g}'

"""Predictions side by side: what is counted, and how it is painted."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mmseg_boundary.drawing.predictions import (
    CHANGES,
    RIGHT,
    VOID,
    WRONG,
    Compared,
    draw_predictions,
)
from mmseg_boundary.drawing.saving import save

COLORS = [[0, 0, 0], [10, 20, 30], [40, 50, 60]]
# a column each: right, now right, now wrong, wrong before and after, void
LABEL = [0, 1, 1, 1, 255]
BEFORE, AFTER = [0, 0, 1, 0, 0], [0, 1, 0, 2, 1]


def row(values):
    return np.array([values, values])


@pytest.fixture
def scene():
    label = row(LABEL)
    image = np.full((2, 5, 3), 77, np.uint8)
    return Compared('a', image, label, label != 255, [row(BEFORE), row(AFTER)])


def test_what_is_counted(scene):
    assert scene.differing == 3 / 4 and scene.correct == [2 / 4, 2 / 4]
    void = Compared('a', scene.image, scene.label, scene.valid & False, scene.preds)
    assert void.differing == 0 and void.correct == [0, 0]


def test_what_is_painted(scene):
    figure = draw_predictions([scene], ['be$fore', 'after'], ['x', 'y', 'z'], COLORS, 'heading')
    FigureCanvasAgg(figure).draw()
    panels = [axis.images[0].get_array()[0].tolist() for axis in figure.axes]
    paint = [*COLORS, *[VOID] * 253]
    assert panels == [
        scene.image[0].tolist(),
        [paint[number] for number in BEFORE],
        [paint[number] for number in AFTER],
        [paint[number] for number in LABEL],
        [RIGHT, WRONG, RIGHT, WRONG, VOID],
        [RIGHT, CHANGES[1], CHANGES[2], WRONG, VOID],
    ]
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ['image', 'be$fore', 'after', 'label', 'errors', 'beside be$fore']
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        'x', 'y', 'z', 'void', 'right', 'wrong',
        'right where be$fore is wrong', 'wrong where be$fore is right',
    ]  # fmt: skip
    assert figure.axes[3].get_ylabel() == '75.0% differ'


@pytest.mark.parametrize('name', ['a.svg', 'a.png'])
def test_the_same_figure_is_the_same_file(scene, tmp_path, name):
    for folder in ('one', 'two'):
        figure = draw_predictions([scene], ['one', 'two'], ['x', 'y', 'z'], COLORS, 'heading')
        save(figure, tmp_path / folder / name)
    first, second = ((tmp_path / folder / name).read_bytes() for folder in ('one', 'two'))
    assert first == second and len(first) > 5000


def test_the_legend_has_the_classes_that_are_shown(scene):
    quiet = Compared('b', scene.image, 0 * scene.label, scene.valid | True, [0 * row(AFTER)] * 2)
    figure = draw_predictions([quiet], ['a', 'b'], ['x', 'y', 'z'], COLORS, '')
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ['x', 'right']

"""The figures of docs/ and of the README."""

import re
import runpy
import sys
import unicodedata

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.quiver import Quiver
from matplotlib.text import Text
from PIL import Image

from tests.support.skips import ROOT

FIGURES = sorted(ROOT.glob('docs/pictures/*.png'))
OKABE_ITO = {
    '#000000', '#e69f00', '#56b4e9', '#009e73', '#f0e442', '#0072b2', '#d55e00', '#cc79a7',
}  # fmt: skip


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """The folder and the figures of the script."""
    folder = tmp_path_factory.mktemp('pictures')
    plt.close('all')  # what other tests left open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['pictures.py', '--out', str(folder)])
        runpy.run_path(str(ROOT / 'docs/pictures.py'), run_name='__main__')
    figures = [plt.figure(number) for number in plt.get_fignums()]
    yield folder, figures
    plt.close('all')


@pytest.mark.parametrize('path', FIGURES, ids=lambda path: path.stem)
def test_figures_are_small(path):
    assert path.stat().st_size < 60 * 1024
    page = 'README.md' if path.stem == 'readme' else f'docs/{path.stem}.md'
    assert f'pictures/{path.name}' in (ROOT / page).read_text()


def test_figures_are_those_of_the_script(drawn):
    """Up to small differences, since versions of matplotlib draw letters differently."""
    folder, figures = drawn
    assert [path.name for path in FIGURES] == sorted(path.name for path in folder.iterdir())
    assert len(figures) == len(FIGURES) > 12
    for path in FIGURES:
        new, kept = (
            np.asarray(Image.open(each).convert('RGB'), float)
            for each in (folder / path.name, path)
        )
        assert new.shape == kept.shape and np.abs(new - kept).mean() < 2, path


def looks(artist):
    """The color of a line, and whether it is broken."""
    if isinstance(artist, ContourSet):
        (color,), ((_, dashes),) = artist.get_edgecolor(), artist.get_linestyle()
        return to_hex(color), dashes is not None
    return to_hex(artist.get_color()), artist.get_linestyle() in ('--', ':')


def test_the_legend_has_every_line_and_every_class(drawn):
    for figure in drawn[1]:
        (legend,) = figure.legends
        entries = legend.legend_handles
        lines = {looks(each) for each in entries if each.get_linestyle() != 'None'}
        patches = {to_hex(each.get_color()) for each in entries if each.get_marker() != 'None'}
        # No two lines of a figure look alike.
        assert len(lines) + len(patches) == len(entries) > 0
        for axis in figure.axes:
            outlines = [each for each in axis.collections if isinstance(each, ContourSet)]
            arrows = [each for each in axis.collections if isinstance(each, Quiver)]
            assert {looks(each) for each in outlines} <= lines
            assert {to_hex(each.get_facecolor()[0]) for each in arrows} <= patches
            for image in axis.images:
                if image.get_array().ndim == 3:  # of classes
                    pixels = image.get_array().reshape(-1, 4)
                    assert {to_hex(pixel) for pixel in np.unique(pixels, axis=0)} <= patches
        assert {color for color, _ in lines} | patches <= OKABE_ITO | {'#ffffff'}


def test_values_have_a_color_bar(drawn):
    for figure in drawn[1]:
        for axis in figure.axes:
            for image in axis.images:
                if image.get_array().ndim == 2:
                    assert image.colorbar is not None
                    low, high = image.get_clim()
                    if any(
                        word in axis.get_title() for word in ('gradient', 'logit', '$D$', 'tilde')
                    ):
                        assert low == -high  # white is 0
                    else:
                        assert image.get_array().min() >= 0 and low > -1


def test_titles_can_be_read(drawn):
    """Inside of the figure, apart from each other, and without letters that carry a loose hat."""
    for figure in drawn[1]:
        shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert not [text for text in shown if any(map(unicodedata.combining, text.get_text()))]
        places = [axis.title.get_window_extent() for axis in figure.axes if axis.get_title()]
        assert len(places) >= 3
        for number, place in enumerate(places):
            assert figure.bbox.x0 <= place.x0 and place.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= place.y0 and place.y1 <= figure.bbox.y1
            assert not any(place.overlaps(other) for other in places[:number])


def test_the_gradients_of_the_tour_have_color_bars_and_a_legend():
    tour = (ROOT / 'docs/tour.md').read_text()
    names = {}
    for code in re.findall(r'^```python\n(.*?)^```', tour, re.M | re.S)[:2]:
        exec(code, names)
    axes = names['figure'].axes
    images = [image for axis in axes for image in axis.images]
    assert len(images) == 5 and all(image.colorbar for image in images)
    (legend,) = filter(None, (axis.get_legend() for axis in axes))
    entries = {looks(each) for each in legend.get_lines()}
    lines = [each for axis in axes for each in axis.collections if isinstance(each, ContourSet)]
    assert len(lines) == 10 and {looks(each) for each in lines} == entries
    plt.close('all')

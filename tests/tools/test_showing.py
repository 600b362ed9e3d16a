"""tools/show_potential.py, show_predictions.py and boundary_errors.py, in this process."""

import re
import runpy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmseg.registry import MODELS
from PIL import Image

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.cli import predicting
from mmseg_boundary.drawing import potential
from mmseg_boundary.drawing.predictions import Compared
from mmseg_boundary.losses.epl.rays import Rays, ray_sums
from mmseg_boundary.metrics import count_boundary_errors
from tests.support.commands import ROOT
from tests.support.small_run import SIZE, run_tool, write_config, write_data


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Two images, their config and two checkpoints of it, of untrained nets."""
    folder = tmp_path_factory.mktemp('nets')
    write_data(folder / 'data')
    write_config(folder)
    init_default_scope('mmseg')
    for seed in range(2):
        set_random_seed(seed)
        model = MODELS.build(Config.fromfile(folder / 'config.py').model)
        model.init_weights()
        torch.nn.init.normal_(model.decode_head.conv_seg.weight)
        torch.save(dict(state_dict=model.state_dict()), folder / f'net{seed}.pth')
    return folder


@pytest.fixture
def kept(monkeypatch):
    """What the tool draws: the fields, and the arguments after them."""
    found = []
    draw = potential.draw_potentials

    def keep(*given):
        found.append(given)
        return draw(*given)

    monkeypatch.setattr(potential, 'draw_potentials', keep)
    return found


def require_drawn(path):
    """Not blank, and of the size that its panels need."""
    pixels = np.asarray(Image.open(path).convert('RGB'))
    assert min(pixels.shape[:2]) > 250 and pixels.shape[1] > 750
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    return pixels


def test_a_label_alone(place, tmp_path, kept, capsys):
    label = place / 'data/labels/a.png'
    classes = np.asarray(Image.open(label))
    number = int(classes[classes < 255].max())
    out = tmp_path / 'new/label.png'
    arguments = label, '--class', number, '--kernel-size', 5, '--crop', 0, 0, SIZE, SIZE
    assert run_tool('show_potential', *arguments, '--out', out) is None
    assert f'Picture: {out}' in capsys.readouterr().out
    require_drawn(out)
    found, heading, image, window = kept[0]
    mask = torch.from_numpy(classes == number).float()[None, None]
    expected = ray_sums(mask, Rays(5, 'A', 'constant'))[:, 0, 0]
    assert (found.label.energies == expected).all() and image is None
    assert found.directions == potential.AXIAL and heading.startswith(f'class {number} in a.png:')
    assert window == (slice(0, SIZE), slice(0, SIZE))


def test_label_and_predictions(place, tmp_path, kept):
    """By the name of the image; as SVG."""
    nets = place / 'config.py', place / 'net0.pth', place / 'net1.pth'
    arguments = ['--direction', 'down-left', '--out', tmp_path / 'a.svg']
    assert run_tool('show_potential', 'b', *nets, *arguments) is None
    text = (tmp_path / 'a.svg').read_text()
    assert '>net0<' in text and '>net1<' in text and '>field Ê, down-left ↙<' in text
    # image, mask, field, two of the lines, and for each net two of the agreement besides
    assert text.count('<image ') >= 5 + 2 * 7
    found, heading, image, _ = kept[0]
    assert [each.title for each in found.preds] == ['net0', 'net1']
    assert image.shape == (SIZE, SIZE, 3) and np.array_equal(
        image, np.asarray(Image.open(place / 'data/images/b.png'))
    )

    images = predicting.read_images(str(nets[0]), None)
    net = predicting.read_net('net0', images, str(nets[1]), False, False)
    given = predicting.predict(net, 1)
    assert (given.probs.argmax(1)[0] == given.pred).all()
    torch.testing.assert_close(given.probs.sum(1), torch.ones(1, SIZE, SIZE))
    name = heading.split(' in ')[0]
    probs = given.probs[0, images.classes.index(name)] * found.valid
    torch.testing.assert_close(found.preds[0].probs, probs)


def test_a_config_alone_names_the_classes_and_void(place, tmp_path, kept):
    label = place / 'data/labels/b.png'
    out = tmp_path / 'out.png'
    assert run_tool('show_potential', label, place / 'config.py', '--out', out) is None
    found, heading, image, _ = kept[0]
    assert not found.preds and image is not None
    assert (found.valid.numpy() == (np.asarray(Image.open(label)) != 255)).all()
    assert heading.split(' in ')[0] in ('ground', 'lens', 'table', 'cross', 'moon', 'comb')


def test_predictions_side_by_side(place, tmp_path, capsys):
    nets = place / 'config.py', place / 'net0.pth', place / 'net1.pth'
    out = tmp_path / 'out.png'
    arguments = ['--names', 'CE', 'CE + EPL', '--images', 1, '--out', out]
    assert run_tool('show_predictions', *nets, *arguments) is None
    require_drawn(out)
    said = capsys.readouterr().out
    rows = [re.split(r' *\| *', line.strip('| ')) for line in said.splitlines() if '%' in line]

    images = predicting.read_images(str(nets[0]), None)
    some = [predicting.read_net(f.stem, images, str(f), False, False) for f in nets[1:]]
    expected = []
    for index, name in enumerate('ab'):
        scene = predicting.read_scene(images, index)
        first, second = (each.pred for each in predicting.predict_all(some, scene))
        valid = scene.label != 255
        shares = [(first != second), first == scene.label, second == scene.label]
        shares = [(share & valid).sum().item() / valid.sum().item() for share in shares]
        expected.append((shares[0], [name, *(f'{share:.1%}' for share in shares)]))
    assert rows == [max(expected)[1]] and min(expected)[0] < max(expected)[0]


def test_the_images_that_differ_most():
    tool = runpy.run_path(str(ROOT / 'tools/show_predictions.py'))
    label, valid = np.zeros((1, 4), int), np.ones((1, 4), bool)

    def scene(name, different):
        return Compared(name, None, label, valid, [label, (np.arange(4) < different) + label])

    scenes = [scene(*given) for given in [('a', 1), ('b', 3), ('c', 0), ('d', 3), ('e', 2)]]
    assert [each.name for each in tool['most_different'](iter(scenes), 3)] == ['b', 'd', 'e']


def test_nothing_is_drawn_for_less_than_one_image(place, capsys):
    nets = place / 'config.py', place / 'net0.pth', place / 'net1.pth'
    assert run_tool('show_predictions', *nets, '--images', 0) == 2
    assert '--images 0: give 1 or more' in capsys.readouterr().err


def test_boundary_errors(place, capsys):
    nets = place / 'config.py', place / 'net0.pth', place / 'net1.pth'
    assert run_tool('boundary_errors', *nets, '--tolerance', 2, '--reach', 5) is None
    said = capsys.readouterr().out
    rows = [line.split('|')[1:-1] for line in said.splitlines() if line.startswith('|')]
    images = predicting.read_images(str(nets[0]), None)
    some = [predicting.read_net(f.stem, images, str(f), False, False) for f in nets[1:]]
    scenes = [predicting.read_scene(images, index) for index in range(2)]
    expected = []
    for net in some:
        pairs = [(predicting.predict_all([net], scene)[0].pred, scene.label) for scene in scenes]
        counts = sum(count_boundary_errors(*pair, len(images.classes), 2, 5) for pair in pairs)
        for own in counts:
            for name, each in [*zip(images.classes, own, strict=True), ('all', own.sum(0))]:
                total, shares = each.sum(), 100 * each.sum(1) / max(each.sum(), 1)
                cells = [f'{share:.1f}' for share in shares] if total else [''] * 4
                left = each[-1].sum()
                cells.append(f'{100 * each[-1, 1] / left:.1f}' if left else '')
                expected.append([name, f'{total}', *cells])
    found = [[cell.strip() for cell in row] for row in rows]
    assert [row for row in found if row[1] != 'px'] == expected
    assert 'within 2 px' in said and 'within 5 px' in said


def test_a_reach_below_the_tolerance(place, capsys):
    nets = place / 'config.py', place / 'net0.pth'
    assert run_tool('boundary_errors', *nets, '--tolerance', 4, '--reach', 3) == 2
    assert 'tolerance is 4 and reach 3; give 0 or more' in capsys.readouterr().err

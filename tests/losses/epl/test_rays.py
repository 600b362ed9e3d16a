import pytest
import torch

from mmseg_boundary.losses.epl.rays import SPLITTERS, Rays, ray_sums, ray_sums_transpose
from tests.support import naive

REGION = torch.zeros(7, 7)
REGION[1:6, 2:5] = 1
REGION[3, 5] = 1

# One digit a pixel, the fields of REGION by hand: up, down, left, right.
FIELDS = {
    5: (
        '0022200 0033310 0033310 0033310 0022200 0011100 0000000',
        '0000000 0011100 0022200 0033310 0033310 0033310 0022200',
        '0000000 1232100 1232100 1233210 1232100 1232100 0000000',
        '0000000 0012321 0012321 0012332 0012321 0012321 0000000',
    ),
    7: (
        '0033310 0044410 0044410 0033310 0022200 0011100 0000000',
        '0000000 0011100 0022200 0033310 0044410 0044410 0033310',
        '0000000 2332100 2332100 2343210 2332100 2332100 0000000',
        '0000000 0012332 0012332 0012343 0012332 0012332 0000000',
    ),
}


def field(drawing):
    return torch.tensor([[int(digit) for digit in row] for row in drawing.split()]).float()


@pytest.mark.parametrize('kernel_size', FIELDS)
@pytest.mark.parametrize('padding', ['constant', 'replicate'])
def test_axial_fields_by_hand(kernel_size, padding):
    """The region touches no border, so both paddings give the same."""
    energies = ray_sums(REGION[None, None], Rays(kernel_size, 'A', padding))
    for drawn, drawing in zip(energies, FIELDS[kernel_size], strict=True):
        assert drawn[0, 0].equal(field(drawing))


@pytest.mark.parametrize('padding', ['constant', 'replicate'])
@pytest.mark.parametrize('direction, mirror', [(0, (0, 1)), (1, (0,)), (2, (1,)), (3, ())])
def test_diagonal_fields_by_hand(direction, mirror, padding):
    """Down-right, the last of the four, looks up-left; the others are its mirrors."""
    drawing = field('0000000 0011100 0012210 0012331 0012322 0012321 0001221')
    energies = ray_sums(REGION.flip(mirror)[None, None], Rays(5, 'B', padding))
    assert energies[direction][0, 0].equal(drawing.flip(mirror))


@pytest.mark.parametrize(
    'padding, left, right',
    [('constant', '3210000', '1233210'), ('replicate', '3210000', '4443210')],
)
def test_the_image_border(padding, left, right):
    """A stripe in columns 0..2: beyond the border lies nothing, or more of the same."""
    stripe = (torch.arange(7) < 3).float().expand(1, 1, 7, 7)
    _, _, to_left, to_right = ray_sums(stripe, Rays(7, 'A', padding))
    for energies, row in ((to_left, left), (to_right, right)):
        assert energies[0, 0].equal(field(row).expand(7, 7))


def test_border_lines_of_an_image_full_of_one_class():
    full = torch.ones(1, 1, 7, 7)
    for energies in ray_sums(full, Rays(7, 'A', 'constant')):
        assert (energies < 4).sum() == 21
    for energies in ray_sums(full, Rays(7, 'A', 'replicate')):
        assert energies.eq(4).all()


@pytest.mark.parametrize('splitter', SPLITTERS)
@pytest.mark.parametrize('padding', ['constant', 'replicate'])
@pytest.mark.parametrize('sc_scale', ['match', 'literal'])
@pytest.mark.parametrize('shape', [(1, 1), (2, 5), (6, 7)])
def test_agrees_with_the_definition(splitter, padding, sc_scale, shape):
    mask = torch.rand(shape, dtype=torch.float64)
    rays = Rays(7, splitter, padding, sc_scale)
    energies = ray_sums(mask[None, None], rays)
    assert len(energies) == rays.num_directions
    expected = naive.ray_sums(mask, 7, splitter, padding, sc_scale)
    for ours, theirs in zip(energies, expected, strict=True):
        torch.testing.assert_close(ours[0, 0], torch.tensor(theirs, dtype=torch.float64))


@pytest.mark.parametrize('splitter', SPLITTERS)
@pytest.mark.parametrize('padding', ['constant', 'replicate'])
@pytest.mark.parametrize('sc_scale', ['match', 'literal'])
@pytest.mark.parametrize('shape', [(1, 1), (2, 5), (6, 7)])
def test_the_transpose_is_that_of_the_sums(splitter, padding, sc_scale, shape):
    """<y, A x> = <A^T y, x> for all x, by autograd: the gradient of <y, A x> is A^T y."""
    masks = torch.rand(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    rays = Rays(7, splitter, padding, sc_scale)
    fields = ray_sums(masks, rays)
    weights = torch.rand_like(fields)
    (weights * fields).sum().backward()
    torch.testing.assert_close(ray_sums_transpose(weights, rays), masks.grad)


def test_sc_scales():
    full = torch.ones(1, 1, 9, 9)
    assert ray_sums(full, Rays(7, 'SC', 'replicate', 'match')).max() == pytest.approx(4)
    assert ray_sums(full, Rays(7, 'SC', 'replicate', 'literal')).max() == 49


@pytest.mark.parametrize(
    'arguments, words',
    [
        ((6, 'A', 'constant', 'match'), 'kernel_size is 6; give an odd number'),
        ((1, 'A', 'constant', 'match'), 'kernel_size is 1; give an odd number'),
        ((7.0, 'A', 'constant', 'match'), 'kernel_size is 7.0; give an odd number'),
        ((7, 'D', 'constant', 'match'), "splitter is 'D'; choose one of 'A', 'B', 'C', 'SC'"),
        ((7, 'A', 'reflect', 'match'), "padding is 'reflect'; choose one of 'constant', 'repl"),
        ((7, 'SC', 'constant', 'x'), "sc_scale is 'x'; choose one of 'match', 'literal'"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Rays(*arguments)

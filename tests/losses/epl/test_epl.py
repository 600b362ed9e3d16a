"""EPL against the numbers worked by hand, and against the double loops of `naive`; the reference
against both, and the losses of the package against the reference.

The hand-worked scene: 7 x 7, class 1 in rows 1-5 and columns 2-4 and at (3, 5), class 0 elsewhere.
"""

import math
import warnings
from decimal import Decimal
from functools import partial
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_boundary import compiled
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import blocks, epl, epl_line_loss, epl_point_loss
from mmseg_boundary.losses.epl import reference
from mmseg_boundary.losses.epl.line import (
    LineForm,
    _closeness_of_target,
    authors_line_terms,
    closeness,
    line_sums,
)
from mmseg_boundary.losses.epl.line import line_terms as terms_of_sums
from mmseg_boundary.losses.epl.rays import SPLITTERS, Rays, ray_sums
from tests.support import naive
from tests.support.compiling import require_one_compilation
from tests.support.scenes import scene, scenes

REGION = torch.zeros(7, 7, dtype=torch.long)
REGION[1:6, 2:5] = 1
REGION[3, 5] = 1
TARGET = encode(REGION[None], 2)
MASKS = TARGET.masks.double()
SHIFTED = MASKS.roll(1, 3)
PREDICTIONS = {
    'perfect': MASKS,
    'soft': 0.1 + 0.8 * MASKS,
    'shift': SHIFTED,
    'soft shift': 0.1 + 0.8 * SHIFTED,
    'uniform': torch.full_like(MASKS, 0.5),
}


def printed(number):
    """Equal to what is printed: half a unit of the last digit. '0.5' is no '0.50'."""
    return pytest.approx(float(number), abs=0.5 * 10.0 ** Decimal(number).as_tuple().exponent)


# --- Point loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'padding, kernel_size, l2, l1, pixel',
    [
        ('replicate', 5, 0.807959, 0.674490, 0.953873),
        ('replicate', 7, 1.130612, 0.771429, 1.090965),
        ('constant', 5, 0.743469, 0.621428, 0.878833),
        ('constant', 7, 0.981020, 0.676531, 0.956759),
    ],
)
def test_point_loss_of_the_soft_shift(padding, kernel_size, l2, l1, pixel):
    for norm, expected in (('l2', l2), ('l1', l1), ('pixel', pixel)):
        loss = epl_point_loss(
            PREDICTIONS['soft shift'], TARGET, kernel_size, norm=norm, padding=padding
        )
        assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    'padding, kernel_size, l2_per_direction, l1_sum, pixel_sum',
    [
        ('replicate', 5, (1.05, 1.05, 0.713673, 0.418163), 66.1, '46.7398'),
        ('replicate', 7, (1.587755, 1.587755, 0.972245, 0.374694), 75.6, '53.4573'),
        ('constant', 5, (1.033877, 1.033877, 0.506531, 0.399592), 60.9, '43.0628'),
        ('constant', 7, (1.548980, 1.548980, 0.479592, 0.346531), 66.3, '46.8812'),
    ],
)
def test_parts_of_the_soft_shift(padding, kernel_size, l2_per_direction, l1_sum, pixel_sum):
    """The squares up, down, left and right; and the sums over the pixels, as eq. (3) has them."""
    difference = MASKS - PREDICTIONS['soft shift']
    gaps = ray_sums(difference, Rays(kernel_size, 'A', padding))
    squares = gaps.square().mean((1, 2, 3, 4))
    assert squares.tolist() == pytest.approx(l2_per_direction, abs=1e-6)
    assert gaps.abs().sum().item() / 4 == pytest.approx(l1_sum)
    assert gaps.norm(dim=2).sum().item() / 4 == printed(pixel_sum)


def test_point_loss_of_one_row_by_hand():
    """Kernel 3, zeros beyond the row. Along it, forth: E = 0 0 1 2 1 and 0 0 .5 1.5 1.5, squares
    0 0 .25 .25 .25; back: E = 0 1 2 1 0 and 0 .5 1.5 1.5 .5, squares 0 .25 .25 .25 .25; across:
    the row itself, twice, squares 0 0 .25 0 .25. Over 4 directions x 5 pixels.
    """
    target = encode(torch.tensor([[[0, 0, 1, 1, 0]]]), 1)
    probs = torch.tensor([[[[0, 0, 0.5, 1, 0.5]]]])
    loss = epl_point_loss(probs, target, 3, padding='constant')
    assert loss.item() == pytest.approx((0.75 + 1.0 + 2 * 0.5) / (4 * 5))
    *_, forth = ray_sums(target.masks.float() - probs, Rays(3, 'A', 'constant'))
    assert forth.square().mean().item() == pytest.approx(0.15)
    assert forth.abs().mean().item() == pytest.approx(0.3)


@pytest.mark.parametrize(
    'classes, cross_entropy, l2, l2_sum, pixel, l1, l1_sum',
    [
        (21, '3.045', '0.7256', '15.24', '3.904', '0.3628', '7.619'),
        (19, '2.944', '0.7978', '15.16', '3.893', '0.3989', '7.579'),
    ],
)
def test_point_loss_of_the_uniform_start(classes, cross_entropy, l2, l2_sum, pixel, l1, l1_sum):
    """Against the cross-entropy, log(K): with the weight 0.1 it is a fortieth, or an eighth if it
    were the norm of each pixel. The sums are those over the classes."""
    target = encode(torch.zeros(1, 9, 9, dtype=torch.long), classes)
    probs = torch.full((1, classes, 9, 9), 1 / classes)
    norms = ('l2', 'l1', 'pixel')
    values = {norm: epl_point_loss(probs, target, norm=norm).item() for norm in norms}
    assert values['l2'] == printed(l2) and classes * values['l2'] == printed(l2_sum)
    assert values['l1'] == printed(l1) and classes * values['l1'] == printed(l1_sum)
    assert values['pixel'] == printed(pixel)
    assert math.log(classes) == printed(cross_entropy)
    if classes == 21:
        assert 0.1 * values['l2'] / math.log(classes) == printed('0.024')
        assert 0.1 * values['pixel'] / math.log(classes) == printed('0.13')


def test_doubled_scene_with_the_scaled_kernel_costs_more():
    """The terms are not scale-free: the same image at twice the size, kernel 7 -> 15. A
    rectangle, moved by a tenth of its width to the right, with probabilities 0.9 and 0.1."""
    small = torch.zeros(1, 16, 16, dtype=torch.long)
    small[:, 4:12, 3:13] = 1
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    for labels, shift, kernel_size, point, line in (
        (small, 1, 7, '0.559', '0.717'),
        (large, 2, 15, '2.193', '2.562'),
    ):
        target = encode(labels, 2)
        probs = 0.1 + 0.8 * target.masks.double().roll(shift, 3)
        assert epl_point_loss(probs, target, kernel_size).item() == printed(point)
        assert epl_line_loss(probs, target, kernel_size).item() == printed(line)


@given(scenes(num_logits=(1, 2, 3)))
@pytest.mark.parametrize('form', [epl, reference])
def test_point_loss_agrees_with_the_definition(form, scene):
    weight = torch.rand(scene.labels.shape, dtype=torch.float64)
    options = [
        dict(),
        dict(kernel_size=5, splitter='C', norm='l1', padding='constant'),
        dict(kernel_size=3, splitter='B', norm='pixel', class_weight=[0.5, 2.0, 0.0]),
        dict(kernel_size=3, splitter='SC', sc_scale='literal', class_weight=[1.0, 3.0, 2.0]),
    ]
    for option in options:
        if 'class_weight' in option:
            option['class_weight'] = option['class_weight'][: scene.probs.shape[1]]
        ours = form.epl_point_loss(scene.probs, scene.target, **option, pixel_weight=weight)
        theirs = naive.epl_point_loss(
            scene.probs, scene.labels, scene.void, **option, weight=weight
        )
        assert ours.item() == pytest.approx(theirs, rel=1e-9, abs=1e-12)


# --- Line loss ------------------------------------------------------------------------------------

# One row, kernel 7, extended to the right: class 1 at the columns 1..6.
ROW = [0, 1, 2, 3, 4, 4, 4, 3, 2, 1, 0, 0]
ROWS = {
    'perfect': ROW,
    'shift 1': [0, *ROW[:-1]],
    'shift 2': [0, 0, *ROW[:-2]],
    '0.9 E': [0.9 * energy for energy in ROW],
    '0.5 E': [0.5 * energy for energy in ROW],
    'zero': [0] * 12,
}
# prediction, mu, EDC of the levels 1 to 3, and the loss: as fixed, squared, the authors' form
ROW_TABLE = [
    ('perfect', 2, (1, 1, 1), 0, 0, -0.6462),
    ('shift 1', 2, (0.3299, 0.5790, 0.3299), 1.7612, 1.7612, 0.5890),
    ('shift 2', 2, (0.0161, 0.1065, 0.0161), 2.8612, 2.8612, 1.3743),
    ('0.9 E', 2, (0.9776, 0.9814, 0.9589), 0.0821, 0.0483, -0.5939),
    ('0.5 E', 2, (0.7186, 0.6338, 0.1811), 1.4664, 1.4260, 0.3187),
    ('zero', 2, (0.0730, 0.0243, 0.0003), 2.9025, 2.8782, 0.8478),
    ('perfect', 10, (1, 1, 1), 0, 0, -0.6386),
    ('shift 1', 10, (0.3240, 0.5790, 0.3240), 1.7729, 1.7729, 0.6160),
    ('shift 2', 10, (0, 0.1065, 0), 2.8935, 2.8935, 1.4400),
    ('0.9 E', 10, (0.9816, 1.0004, 1.0175), 0.0005, 0.2983, -0.6633),
    ('0.5 E', 10, (0.7544, 0.6476, 0), 1.5980, 1.7265, 0.3876),
    ('zero', 10, (0.0660, 0, 0), 2.9340, 2.9122, 0.8713),
]
# Readings of Algorithm 1 that are not shipped: prediction, mu, and the loss by a plain Dice, which
# leaves out G / Q, and by the text as printed
OTHER_READINGS = [
    ('perfect', 2, 0.6294, 2.4953),
    ('shift 1', 2, 2.0356, 2.4953),
    ('shift 2', 2, 2.8956, 2.4953),
    ('0.9 E', 2, 0.6950, 2.4950),
    ('0.5 E', 2, 1.7989, 2.1100),
    ('zero', 2, 2.9223, 1.5141),
    ('perfect', 10, 0.6080, 2.4904),
    ('shift 1', 10, 2.0382, 2.4904),
    ('shift 2', 10, 2.9220, math.nan),
    ('0.9 E', 10, 0.6084, 2.5069),
    ('0.5 E', 10, 1.8998, 2.0169),
    ('zero', 10, 2.9452, math.nan),
]


def as_row(energies):
    return torch.tensor(energies, dtype=torch.float64).view(1, 1, -1)


def form_of(h, mu=10, edc='paper', variant='paper', splitter='A'):
    return LineForm(Rays(2 * h + 1, splitter, 'constant'), mu, edc, variant)


def sums_of(target_field, energies, form):
    return line_sums(target_field, energies, target_field[0, 0].isfinite().sum(), form)


def line_regions(target_field, energies, h):
    """The true and the predicted region of (D, K, M) fields, inf at void."""
    *_, window = sums_of(target_field, energies, form_of(h))
    return (target_field > 0.5) & (target_field < h + 0.5), window.contains(energies)


def line_terms(target_field, energies, h, mu, edc='paper', variant='paper'):
    """1 - EDC of the levels 1..h of (D, K, M) fields: (h, D, K), or (h, D) for the authors'."""
    predicted, true, _ = sums_of(target_field, energies, form_of(h, mu, edc, variant))
    if variant == 'authors':
        return authors_line_terms(predicted.sum(3), true.sum(3))
    return terms_of_sums(predicted, true, edc)


def edcs(target_field, energies, h, mu):
    """EDC of the levels 1..h of two (H, W) fields without void; the package has their sum alone."""
    everywhere = torch.ones_like(target_field, dtype=torch.bool)
    fields = [field.tolist() for field in (target_field, energies, everywhere)]
    levels = naive.line_edcs(*fields, h, mu)
    return [levels[tau] for tau in range(1, h + 1)]


def memberships(prediction, mu):
    """d and d̂ of ROW and of one of ROWS, for the levels 1 to 3."""
    target_field, energies = as_row(ROW), as_row(ROWS[prediction])
    regions = line_regions(target_field, energies, 3)
    for tau in (1, 2, 3):
        # Algorithm 1 as printed divides by tiny sums: what the reference leaves there is 0 here.
        near = [reference.closeness(field, tau, mu) for field in (target_field, energies)]
        yield [
            d.where(region & (d > 1e-34), 0).flatten()
            for d, region in zip(near, regions, strict=True)
        ]


@pytest.mark.parametrize('prediction, mu, edc, paper, squared, authors', ROW_TABLE)
def test_line_terms_of_one_row(prediction, mu, edc, paper, squared, authors):
    target_field, energies = as_row(ROW), as_row(ROWS[prediction])

    def value(*options):
        return line_terms(target_field, energies, *options).sum().item()

    assert 3 - sum(edc) == pytest.approx(paper, abs=2e-4)  # the table agrees with itself
    assert value(3, mu, 'paper') == pytest.approx(paper, abs=6e-5)
    assert value(3, mu, 'squared') == pytest.approx(squared, abs=6e-5)
    assert value(3, mu, 'paper', 'authors') == pytest.approx(authors, abs=6e-5)
    assert edcs(target_field[0], energies[0], 3, mu) == pytest.approx(edc, abs=6e-5)


@pytest.mark.parametrize(
    'mu, sums',
    [
        (2, [(2.7724, 2.2713, 1.2206), (3.4715, 2.5413, 1.3660), (2.7724, 2.2713, 1.2206)]),
        (10, [(2.7358, 2.2707, 1.2048), (3.4715, 2.5413, 1.3660), (2.7358, 2.2707, 1.2048)]),
    ],
)
def test_sums_of_one_row(mu, sums):
    """G, Q and C = G / Q, by hand for mu = 10: 2 + 2/e, 2 + 2/e^2 at the levels 1 and 3, and
    2 + 4/e, 2 + 4/e^2 between them. A plain Dice of a perfect match would be 1 / C, 0.73 to 0.83.
    """
    for (d, d_hat), expected in zip(memberships('perfect', mu), sums, strict=True):
        assert d.equal(d_hat)
        g, q = d.sum().item(), d.square().sum().item()
        assert (g, q, g / q) == pytest.approx(expected, abs=6e-5)


def test_level_1_of_the_row_shifted_by_one_by_hand():
    """I = 2/e, G = P = 2 + 2/e: a pixel of each ramp is on the level in one, a level off in the
    other."""
    d, d_hat = next(memberships('shift 1', 10))
    c, both = d.sum() / d.square().sum(), (d + d_hat).sum()
    intersection = (d * d_hat).sum()
    assert intersection.item() == printed('0.7358') and both.item() == printed('5.4715')
    assert (c * 2 * intersection / both).item() == printed('0.3240')


@pytest.mark.parametrize(
    'on_level, next_to_it, expected',
    [(1, 1, '1.0176'), (2, 1, '1.0155'), (1, 2, '1.0014'), (1, 4, '1.0608')],
)
def test_largest_edc(on_level, next_to_it, expected):
    """A perfect match has 1, but is not the largest: pixels on level 1 and others one level away.
    For d̂ anywhere in [0, 1], I / (G + P) is largest in a corner, where each d̂ is 0 or 1: where
    the energies are 1 or far away. Its bound is the root of C.
    """
    target_field = as_row([1] * on_level + [2] * next_to_it)
    g, q = on_level + next_to_it / math.e, on_level + next_to_it / math.e**2
    largest = 0
    for corner in product((1, 9), repeat=on_level + next_to_it):
        energies = as_row(corner)
        levels = edcs(target_field[0], energies[0], 2, 10)
        terms = line_terms(target_field, energies, 2, 10)
        assert terms.sum().item() == pytest.approx(2 - sum(levels))
        largest = max(largest, levels[0])
    assert largest == printed(expected) and largest <= math.sqrt(g / q)


@pytest.mark.parametrize(
    'prediction, columns',
    [
        ('perfect', {1, 2, 3, 7, 8, 9}),
        ('shift 1', {2, 3, 4, 8, 9, 10}),
        ('zero', {3, 4, 5, 6, 7, 8}),
    ],
)
def test_predicted_region_of_one_row(prediction, columns):
    """In 'zero' all energies tie, and the order of the pixels decides."""
    target_field = as_row(ROW)
    region, chosen = line_regions(target_field, as_row(ROWS[prediction]), 3)
    assert set(region[0, 0].nonzero().flatten().tolist()) == {1, 2, 3, 7, 8, 9}
    assert set(chosen[0, 0].nonzero().flatten().tolist()) == columns


@pytest.mark.parametrize(
    'prediction, paper, squared',
    [
        # (mu 2, mu 10)
        ('perfect', (0, 0), (0, 0)),
        ('soft', (0.0527, 0.0040), (0.0286, 0.2197)),
        ('shift', (1.0320, 1.0463), (1.0880, 1.1014)),
        ('soft shift', (0.9742, 0.8528), (1.0149, 1.0901)),
        ('uniform', (1.8342, 1.8485), (1.8030, 1.8605)),
    ],
)
def test_line_loss_of_the_scene(prediction, paper, squared):
    for edc, expected in (('paper', paper), ('squared', squared)):
        values = [
            epl_line_loss(PREDICTIONS[prediction], TARGET, mu=mu, edc=edc).item() for mu in (2, 10)
        ]
        assert values == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    'direction, label, size, levels',
    [
        # up and down
        (0, 0, 31, (0.1740, 0.1229, 0.6012)),
        (0, 1, 16, (0.6934, 0.3523, 0.3333)),
        (1, 0, 31, (0.1740, 0.1229, 0.6012)),
        (1, 1, 16, (0.6934, 0.3523, 0.3333)),
        # left and right
        (2, 0, 40, (0.1935, 0.3594, 0.1293)),
        (2, 1, 25, (0.5947, 0.4351, 0.3237)),
        (3, 0, 40, (0.1576, 0.2563, -0.0183)),
        (3, 1, 24, (0.7106, 0.3926, 0.2816)),
    ],
)
def test_levels_of_the_hard_shift(direction, label, size, levels):
    """1 - EDC of the levels 1 to 3, mu 10, and the pixels of the true line region."""
    both = [ray_sums(masks[0, label], Rays(7, 'A', 'constant')) for masks in (MASKS, SHIFTED)]
    terms = [1 - edc for edc in edcs(*(fields[direction] for fields in both), 3, 10)]
    assert terms == pytest.approx(levels, abs=6e-5)
    target_field, energies = (fields[direction].view(1, 1, -1) for fields in both)
    region, chosen = line_regions(target_field, energies, 3)
    assert region.sum() == chosen.sum() == size
    assert line_terms(target_field, energies, 3, 10).flatten().tolist() == pytest.approx(terms)


def test_flips_and_transposes_matter_where_energies_tie():
    """The hard shift again: 1.0463, and 1.0352 mirrored, 1.0684 transposed."""
    for turn, expected in (
        (lambda x: x.flip(-1), 1.0352),
        (lambda x: x.transpose(-1, -2), 1.0684),
    ):
        target = encode(turn(REGION[None]), 2)
        assert epl_line_loss(turn(SHIFTED), target).item() == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize('turn', [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT])
def test_flips_and_transposes_do_not_matter_where_none_tie(turn):
    torch.manual_seed(0)
    probs = torch.randn(1, 2, 7, 7, dtype=torch.float64).softmax(1)
    loss = epl_line_loss(turn(probs), encode(turn(REGION[None]), 2))
    assert loss.item() == pytest.approx(epl_line_loss(probs, TARGET).item())


# mu: closeness at the distances .25, .5, .75, .9, 1, 1.25, 1.5, 2; its derivative at all but .9, 2
CLOSENESS = {
    2: '.939 .779 .570 .445 .368 .210 .105 .0183  .470 .779 .855 .736 .524 .316',
    4: '.996 .939 .729 .519 .368 .087 .0063 1.1e-7  .0623 .470 1.23 1.47 .680 .0855',
    10: '1.000 .999 .945 .706 .368 9.0e-5 9e-26 0  3.8e-5 .0195 .710 3.68 .0067 3e-23',
    16: '1.000 1.000 .990 .831 .368 4e-16 0 0  1.5e-8 4.9e-4 .212 5.89 2e-13 0',
    20: '1.000 1.000 .997 .886 .368 2e-38 0 0  7e-11 3.8e-5 .0843 7.36 3e-35 0',
}


@pytest.mark.parametrize('mu', CLOSENESS)
@pytest.mark.parametrize('side', [1, -1])
def test_closeness(mu, side):
    distances = torch.tensor([0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0], dtype=torch.float64)
    energies = (3 + side * distances).requires_grad_()
    near = closeness(energies, 3, mu)
    near.sum().backward()
    derivatives = (-side * energies.grad)[[0, 1, 2, 4, 5, 6]]
    for ours, number in zip(
        [*near.tolist(), *derivatives.tolist()], CLOSENESS[mu].split(), strict=True
    ):
        # 0 beyond the bound of 2e-19; a derivative is the product with a number below 100
        assert ours == (printed(number) if float(number) > 1e-17 else pytest.approx(0, abs=1e-17))


@pytest.mark.parametrize(
    'mu, bound', [(2, 6.557), (4, 2.561), (10, 1.457), (16, 1.265), (20, 1.207)]
)
def test_closeness_is_0_from_its_bound_on(mu, bound):
    distances = torch.tensor([bound - 0.001, bound + 0.001, 100], dtype=torch.float64)
    near = closeness(3 + distances, 3, mu)
    assert near[0].item() == pytest.approx(math.exp(-43), rel=0.3) and near[1:].eq(0).all()


@pytest.mark.parametrize('variant', ['paper', 'authors'])
@pytest.mark.parametrize('mu', [2, 4, 10])
def test_the_sums_of_whole_energies_come_from_their_counts(mu, variant):
    """Those of a box, whose energies lie between the levels too, from the energies."""
    target_field = torch.randint(6, (4, 3, 50), dtype=torch.float64)
    target_field[..., 7:9] = torch.inf
    sums = [
        sums_of(target_field, target_field, form_of(4, mu, variant=variant, splitter=splitter))[1]
        for splitter in ('A', 'SC')
    ]
    torch.testing.assert_close(*sums, rtol=1e-12, atol=0)


@pytest.mark.parametrize('mu', [2, 4, 6, 10])
def test_the_closeness_of_whole_energies_is_looked_up(mu):
    target_field = torch.tensor([0.0, 1, 2, 3, 4, 5, 6, 7, 8, torch.inf], dtype=torch.float64)
    for tau in range(1, 5):
        looked_up = _closeness_of_target(target_field, tau, form_of(4, mu))
        torch.testing.assert_close(looked_up, closeness(target_field, tau, mu), rtol=1e-12, atol=0)


@pytest.mark.parametrize('mu', [20, 60])
def test_a_wide_kernel_with_a_high_mu_has_a_gradient(mu):
    """With 60 the powers of far energies are inf, from five levels away on."""
    logits = torch.randn(1, 2, 24, 24, requires_grad=True)
    labels = (torch.arange(24) > 11).long().expand(1, 24, 24)
    epl_line_loss(logits.softmax(1), encode(labels, 2), kernel_size=21, mu=mu).backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().max() > 0


@given(scenes(num_logits=(1, 2, 3)))
@pytest.mark.parametrize('form', [epl, reference])
def test_line_loss_agrees_with_the_definition(form, scene):
    options = [
        dict(mu=2),
        dict(kernel_size=5, splitter='C', mu=4, edc='squared', padding='replicate'),
        dict(kernel_size=3, splitter='B', class_weight=[0.5, 2.0, 0.0]),
        dict(kernel_size=3, mu=2, variant='authors'),
    ]
    # Rounding parts the ties of a box, and not those of a loop.
    if scene.kind not in ('uniform', 'saturated'):
        options.append(dict(kernel_size=3, splitter='SC', mu=2))
    for option in options:
        if 'class_weight' in option:
            option['class_weight'] = option['class_weight'][: scene.probs.shape[1]]
        ours = form.epl_line_loss(scene.probs, scene.target, **option)
        theirs = naive.epl_line_loss(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-8, abs=1e-10)


@given(scenes(num_logits=(2, 3)))
def test_the_predicted_region_follows_the_ranks(scene):
    """As large as the true one; unmoved by an increasing map of the energies; the true one itself
    for a perfect prediction."""
    void = ~scene.target.valid
    target_field, energies = (
        scene.target.masked(masks.double()).cumsum(3).masked_fill(void, torch.inf).flatten(2)
        for masks in (scene.target.masks, scene.probs)
    )
    region, chosen = line_regions(target_field, energies, 3)
    assert chosen.sum(-1).equal(region.sum(-1)) and not (chosen & void.flatten(2)).any()
    assert line_regions(target_field, 4 * energies, 3)[1].equal(chosen)
    assert line_regions(target_field, target_field, 3)[1].equal(region)


def test_two_equal_images_cost_as_much_as_one():
    target = encode(REGION.expand(2, 7, 7), 2)
    probs = PREDICTIONS['soft shift'].expand(2, -1, -1, -1)
    for loss in (epl_point_loss, epl_line_loss):
        assert loss(probs, target).item() == pytest.approx(loss(probs[:1], TARGET).item(), rel=1e-9)


@pytest.mark.parametrize('prediction, mu, plain, literal', OTHER_READINGS)
def test_readings_of_algorithm_1_that_are_not_shipped(prediction, mu, plain, literal):
    """As printed, its intersection cancels, so that a shifted line costs as much as a perfect one,
    a faded one less, and one without overlap is NaN. A plain Dice charges a perfect one."""
    values = {'plain': 0, 'literal': 0}
    for d, d_hat in memberships(prediction, mu):
        values['plain'] += 1 - (2 * (d * d_hat).sum() / (d.sum() + d_hat.sum())).item()
        values['literal'] += 1 - naive.literal_edc(d, d_hat)
    assert values['plain'] == pytest.approx(plain, abs=6e-5)
    assert values['literal'] == pytest.approx(literal, abs=6e-5, nan_ok=True)


@pytest.mark.parametrize(
    'd, d_hat, expected',
    [
        ([1], [1], 1 / 2),
        ([1], [0.5], 2 / 1.5**2),
        ([1], [1e-9], 2),
        ([1, 1, 1, 1], [1, 1, 1, 1], 1 / 8),
        ([1, 1], [0.5, 0], 4 / 2.5**2),
        ([1, 1], [0, 0.5], 4 / 2.5**2),
    ],
)
def test_algorithm_1_as_printed_by_hand(d, d_hat, expected):
    """2 G / (G + P)^2: 1 / (2 G) for a perfect match; the most, 2 / G, where P vanishes. It falls
    by 4 G / (G + P)^3, whichever pixels P is made of."""
    assert naive.literal_edc(d, d_hat) == pytest.approx(expected)
    more = [p + 1e-6 * bool(p) for p in d_hat]
    derivative = (naive.literal_edc(d, more) - naive.literal_edc(d, d_hat)) / (
        sum(more) - sum(d_hat)
    )
    assert derivative == pytest.approx(-4 * sum(d) / (sum(d) + sum(d_hat)) ** 3, rel=1e-4)


# --- Both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('splitter', ['A', 'C', 'SC'])
@pytest.mark.parametrize('padding', ['constant', 'replicate'])
def test_a_perfect_prediction_costs_nothing(splitter, padding):
    """Whatever it says at void, with a class absent, and in an image of a single class."""
    labels = torch.stack([REGION, torch.zeros_like(REGION)])
    labels[:, 2:4, 3:6] = 255
    target = encode(labels, 3)
    probs = torch.where(target.valid, target.masks.double(), torch.rand(2, 3, 7, 7).double())
    options = dict(splitter=splitter, padding=padding)
    assert epl_point_loss(probs, target, **options).item() == pytest.approx(0, abs=1e-9)
    for edc in ('paper', 'squared'):
        loss = epl_line_loss(probs, target, edc=edc, mu=2, **options)
        assert loss.item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    'loss',
    [
        lambda probs: epl_point_loss(probs, TARGET),
        lambda probs: epl_point_loss(probs, TARGET, norm='pixel', splitter='C'),
        lambda probs: epl_line_loss(probs, TARGET, mu=2),
        lambda probs: epl_line_loss(probs, TARGET, mu=4, edc='squared', splitter='C'),
        lambda probs: epl_line_loss(probs, TARGET, mu=2, variant='authors'),
    ],
)
def test_gradcheck(loss):
    """Away from rank ties, where the predicted region is locally constant."""
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 7, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x.softmax(1)), logits)


def test_gradient_of_the_point_loss_by_hand():
    """One pixel, kernel 3: E - Ê is Y - P in all directions with zeros, so L = (Y - P)^2."""
    probs = torch.tensor([[[[0.3]]]], requires_grad=True)
    loss = epl_point_loss(probs, encode(torch.tensor([[[1]]]), 1), 3, padding='constant')
    loss.backward()
    assert loss.item() == pytest.approx(0.49) and probs.grad.item() == pytest.approx(-1.4)


# --- Against the reference, which is quick enough for larger images -------------------------------

POINT_OPTIONS = [
    dict(),
    dict(kernel_size=23, splitter='B', norm='l1'),
    dict(kernel_size=13, splitter='C', norm='pixel', padding='constant'),
    dict(splitter='SC', class_weight=[1.0, 3.0, 2.0]),
]
LINE_OPTIONS = [
    dict(),
    dict(kernel_size=23, mu=2),
    dict(kernel_size=13, splitter='B', mu=4, edc='squared', padding='replicate'),
    dict(kernel_size=3, splitter='C', class_weight=[0.5, 2.0, 0.0]),
    dict(splitter='SC', mu=2),
    dict(splitter='SC', mu=4),
    dict(mu=2, variant='authors'),
]


def values_and_gradients(loss, case, **options):
    """The gradient is that of the logits: of probabilities below 1e-19 the squares are 0."""
    case.logits = case.logits.detach().requires_grad_()
    value = loss(case.probs, case.target, **options)
    value.backward()
    return value.detach(), case.logits.grad


@settings(max_examples=20)
@given(scenes(num_logits=(1, 2, 3)), st.sampled_from([torch.float32, torch.float64]))
@pytest.mark.parametrize(
    'name, options',
    [('epl_point_loss', options) for options in POINT_OPTIONS]
    + [('epl_line_loss', options) for options in LINE_OPTIONS],
)
def test_agrees_with_the_reference(name, options, scene, dtype):
    scene.logits = scene.logits.to(dtype)
    if 'class_weight' in options:
        weights = options['class_weight'][: scene.logits.shape[1]]
        options = dict(options, class_weight=weights)
    ours = values_and_gradients(getattr(epl, name), scene, **options)
    theirs = values_and_gradients(getattr(reference, name), scene, **options)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    'name, options',
    [
        ('epl_point_loss', dict(norm='pixel', class_weight=[1.0, 3.0, 2.0])),
        ('epl_line_loss', dict(kernel_size=3, mu=4)),
        ('epl_line_loss', dict(kernel_size=3, mu=4, variant='authors')),
    ],
)
def test_large_images_are_handled_class_by_class(name, options):
    case = scene(3, (2, 200, 220), present=2)
    steps = list(blocks.class_blocks(case.probs))
    assert len(steps) == 6
    ours = values_and_gradients(getattr(epl, name), case, **options)
    theirs = values_and_gradients(getattr(reference, name), case, **options)
    # the gradients are means over 70000 pixels
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize('kind', ['random', 'saturated', 'uniform'])
@pytest.mark.parametrize('kernel_size', [7, 23])
@pytest.mark.parametrize('splitter', SPLITTERS)
def test_the_predicted_region_is_that_of_the_reference(kind, kernel_size, splitter):
    """Pixel by pixel, ties by index, with several classes at once or one by one."""
    case = scene(5, (1, 40, 50), kind)
    h, void = kernel_size // 2, ~case.target.valid
    fields = [
        ray_sums(case.target.masked(masks.float()), Rays(kernel_size, splitter, 'constant'))
        for masks in (case.target.masks, case.probs)
    ]
    for target_field, energies in zip(*fields):
        expected = reference.line_regions(target_field, energies, case.target.valid, h)
        masked = (each.masked_fill(void, torch.inf).flatten(2) for each in (target_field, energies))
        for ours, theirs in zip(line_regions(*masked, h), expected):
            assert ours.view_as(theirs).equal(theirs)


VALID_PIXELS = {
    'one': [(3, 3)],
    'one in a corner': [(0, 0)],
    'a square': [(3, 3), (3, 4), (4, 3), (4, 4)],
    'a row': [(3, 2), (3, 3), (3, 4), (3, 5)],
    'a column at the border': [(0, 0), (1, 0), (2, 0), (3, 0)],
    'scattered': [(0, 0), (0, 7), (7, 0), (7, 7)],
}


@pytest.mark.parametrize('pixels', VALID_PIXELS)
@pytest.mark.parametrize('mu', [2, 4, 10])
@pytest.mark.parametrize('kernel_size', [7, 23])
def test_the_authors_form_on_crops_that_are_all_but_void(pixels, mu, kernel_size):
    """Levels far from all energies of the target had ratios down to -1e16."""
    options = dict(kernel_size=kernel_size, mu=mu, variant='authors')
    for size, classes, kind in product((8, 64), (1, 3), ('random', 'saturated', 'labels')):
        case = scene(classes, (1, size, size), kind)
        case.labels[:] = 255
        case.labels[0][tuple(zip(*VALID_PIXELS[pixels]))] = 1
        if kind == 'labels':
            case.logits = 40 * (2 * case.target.masks.double() - 1)
        if size == 8:
            theirs = values_and_gradients(reference.epl_line_loss, case, **options)
            ours = values_and_gradients(epl_line_loss, case, **options)
            torch.testing.assert_close(ours, theirs)
        case.logits = case.logits.float()
        value, gradient = values_and_gradients(epl_line_loss, case, **options)
        assert -1 <= value <= kernel_size // 2 and gradient.isfinite().all()


@pytest.fixture
def on_device(monkeypatch):
    """The branch of a device, with its kernels as they stand unless a test compiles them."""
    for module in (blocks, epl.line, epl.point, epl.ranks, epl.rays):
        monkeypatch.setattr(module, 'is_queued', lambda tensor: True)
    for module in (epl.line, epl.point):
        monkeypatch.setattr(module, 'kernels_for', lambda probs: partial(blocks.as_it_stands))


@settings(max_examples=5)
@given(scenes(num_logits=(1, 2, 3, 4)), st.sampled_from([torch.float32, torch.float64]))
@pytest.mark.parametrize(
    'name, options',
    [('epl_point_loss', options) for options in POINT_OPTIONS]
    + [('epl_line_loss', options) for options in LINE_OPTIONS]
    + [('epl_line_loss', dict(kernel_size=5, mu=4, padding='replicate'))],
)
@pytest.mark.usefixtures('on_device')
def test_the_kernels_of_a_device_agree_with_the_reference(name, options, scene, dtype):
    scene.logits = scene.logits.to(dtype)
    if 'class_weight' in options:
        weights = [*options['class_weight'], 1.0][: scene.logits.shape[1]]
        options = dict(options, class_weight=weights)
    ours = values_and_gradients(getattr(epl, name), scene, **options)
    theirs = values_and_gradients(getattr(reference, name), scene, **options)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('kind', ['random', 'saturated', 'uniform'])
@pytest.mark.parametrize('splitter', SPLITTERS)
def test_so_they_do_where_energies_tie_and_in_several_blocks(kind, splitter, on_device):
    case = scene(5, (1, 40, 50), kind)
    case.logits = case.logits.float()
    assert [some for _, some in blocks.class_blocks(case.probs)] == [slice(0, 2), slice(2, 5)]
    for loss in ('epl_line_loss', 'epl_point_loss'):
        options = dict(kernel_size=23, splitter=splitter)
        ours = values_and_gradients(getattr(epl, loss), case, **options)
        theirs = values_and_gradients(getattr(reference, loss), case, **options)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures('on_device')
def test_nan_is_not_hidden_on_a_device():
    case = scene(3, (2, 30, 40), void_share=0)
    case.logits[0, :, 0, 0] = torch.nan
    losses = [partial(epl_point_loss, kernel_size=5), partial(epl_line_loss, kernel_size=5, mu=4)]
    assert all(loss(case.probs, case.target).isnan() for loss in losses)
    case.labels[0, 0, 0] = case.void
    assert all(loss(case.probs, case.target).isfinite() for loss in losses)


@pytest.mark.slow  # they are compiled
@pytest.mark.parametrize('name', ['epl_point_loss', 'epl_line_loss'])
def test_the_kernels_of_a_device_take_all_sizes_compiled(name, monkeypatch):
    def compare(case):
        case.logits = case.logits.float()
        ours, theirs = (
            values_and_gradients(getattr(module, name), case, kernel_size=5)
            for module in (epl, reference)
        )
        torch.testing.assert_close(ours, theirs)

    modules = [blocks, epl.line, epl.point, epl.ranks, epl.rays]
    require_one_compilation(monkeypatch, modules, compare)


@pytest.mark.parametrize(
    'classes, images, pixels, blocks_of_one',
    [
        (19, 2, 2**19, [19]),
        (19, 1, 2**19, [9, 10]),
        (150, 4, 2**18, [150]),
        (150, 4, 2**20, [50] * 3),
        (3, 1, 2**19, [3]),
        (5, 1, 2**26, [2, 3]),
        (1, 1, 2**28, [1]),
    ],
)
def test_a_block_on_a_device_is_half_of_the_batch_at_most(classes, images, pixels, blocks_of_one):
    probs = torch.empty(images, classes, pixels // 256, 256, device='meta')
    found = [(n, some.stop - some.start) for n, some in blocks.class_blocks(probs)]
    assert found == [(n, size) for n in range(images) for size in blocks_of_one]


def test_compiled_kernels_agree_with_the_plain_ones(monkeypatch):
    case = scene(3, (2, 30, 40))
    case.logits = case.logits.float()
    runs = [
        (epl_point_loss, dict(kernel_size=5)),
        (epl_line_loss, dict(kernel_size=5, mu=4)),
        (epl_line_loss, dict(kernel_size=5, mu=4, edc='squared')),
        (epl_line_loss, dict(kernel_size=5, mu=4, variant='authors')),
    ]
    plain = [values_and_gradients(loss, case, **options) for loss, options in runs]
    monkeypatch.setattr(compiled, 'LARGE', 0)
    fast = [values_and_gradients(loss, case, **options) for loss, options in runs]
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] > 0
    torch.testing.assert_close(fast, plain)


def test_a_compiled_kernel_takes_all_sizes_and_knows_no_order(monkeypatch):
    """A run that is resumed sees other shapes first, and has to end in the same bits."""
    monkeypatch.setattr(compiled, 'LARGE', 0)
    assert compiled._can_compile('cpu')  # by compiling, once in a process
    shapes = [
        (3, (2, 30, 40)),
        (5, (1, 20, 71)),
        (2, (3, 64, 9)),
        (3, (2, 60, 70)),
        (6, (1, 90, 50)),
    ]
    cases = [scene(num_logits, size) for num_logits, size in shapes]
    for case in cases:
        case.logits = case.logits.float()

    def all_of(cases):
        torch._dynamo.reset()
        compiled.compiled.cache_clear()
        blocks.compiled_forms.clear()
        counters = torch._dynamo.utils.counters['stats']
        before, found, graphs = counters['unique_graphs'], [], []
        for case in cases:
            found.append(values_and_gradients(epl_line_loss, case, kernel_size=5, mu=4))
            graphs.append(counters['unique_graphs'] - before)
        return found, graphs

    first, graphs = all_of(cases)
    # two kinds of images: those of up to 4096 pixels, and larger ones
    assert graphs[0] == graphs[1] == graphs[2] > 0 and graphs[3] == graphs[4] == 2 * graphs[0]
    again, _ = all_of(cases[::-1])
    for (value, gradient), (other, its_gradient) in zip(first, again[::-1]):
        assert value.equal(other) and gradient.equal(its_gradient)
    monkeypatch.undo()
    plain = [values_and_gradients(epl_line_loss, each, kernel_size=5, mu=4) for each in cases]
    torch.testing.assert_close(first, plain)


def test_when_torch_gives_up_a_line_says_so(monkeypatch):
    def fails(*args):
        raise RuntimeError('no more variants\nof a kernel')

    monkeypatch.setattr(torch, 'compile', lambda kernel, **options: fails)
    compiled.compiled.cache_clear()
    double = compiled.compiled(lambda x: 2 * x, 'a form')
    with pytest.warns(UserWarning, match=r'given up .* \(RuntimeError: no more variants\)\.'):
        assert double(torch.ones(2)).tolist() == [2, 2]
    with warnings.catch_warnings(action='error'):  # once is enough
        assert double(torch.ones(2)).tolist() == [2, 2]
    compiled.compiled.cache_clear()


@pytest.mark.parametrize(
    'shape, least, compiles',
    [
        ((1, 1, 1024, 1024), 2**20, True),
        ((1, 1, 1024, 1023), 2**20, False),
        ((1, 2, 3, 4), 0, True),
        ((1, 2, 3, 1), 0, False),
        ((0, 2, 3, 4), 0, False),
    ],
)
def test_which_kernel_runs_follows_from_shape_and_setting(shape, least, compiles, monkeypatch):
    monkeypatch.setattr(compiled, 'LARGE', 2**20)
    monkeypatch.setattr(compiled, '_can_compile', lambda device: True)
    if least != compiled.LARGE:
        compiled.compile_from(least)
    monkeypatch.delenv('TORCHDYNAMO_DISABLE', raising=False)
    assert compiled.is_compiled(torch.empty(shape)) is compiles
    monkeypatch.setenv('TORCHDYNAMO_DISABLE', '1')
    assert not compiled.is_compiled(torch.empty(shape))


@pytest.mark.parametrize('loss', [epl_point_loss, epl_line_loss])
def test_half_types_and_autocast_change_nothing(loss):
    case = scene(3, (1, 20, 30))
    for dtype in (torch.float16, torch.bfloat16):
        probs = case.probs.to(dtype).requires_grad_()
        value = loss(probs, case.target)
        value.backward()
        assert value.dtype == torch.float32 and probs.grad.dtype == dtype
        assert value == loss(probs.float(), case.target)
        with torch.autocast('cpu', dtype):
            assert value == loss(probs.float(), case.target)


@pytest.mark.parametrize('loss', [epl_point_loss, epl_line_loss])
@pytest.mark.parametrize('shape', [(1, 2, 7, 6), (2, 2, 7, 7), (1, 3, 7, 7), (1, 1, 7, 7)])
def test_probabilities_of_another_shape_are_refused(loss, shape):
    with pytest.raises(ValueError, match=r'the target is \(1, 2, 7, 7\); give'):
        loss(torch.full(shape, 0.5), TARGET)


@pytest.mark.parametrize('large', [2**20, 0], ids=['plain', 'compiled'])
def test_nan_is_not_hidden(monkeypatch, large):
    """A NaN has no rank, and so no region; the value tells. Void may hold anything."""
    monkeypatch.setattr(compiled, 'LARGE', large)
    case = scene(3, (2, 30, 40), void_share=0)
    case.logits = case.logits.float()
    case.logits[0, :, 0, 0] = torch.nan
    losses = [partial(epl_point_loss, kernel_size=5), partial(epl_line_loss, kernel_size=5, mu=4)]
    assert all(loss(case.probs, case.target).isnan() for loss in losses)
    case.labels[0, 0, 0] = case.void
    assert all(loss(case.probs, case.target).isfinite() for loss in losses)

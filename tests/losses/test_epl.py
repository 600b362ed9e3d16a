"""EPL against the numbers worked by hand, and against the double loops of `naive`.

The hand-worked scene: 7 x 7, class 1 in rows 1-5 and columns 2-4 and at (3, 5), class 0 elsewhere.
"""

import math

import naive
import pytest
import torch
from hypothesis import given
from scenes import scenes

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import epl_line_loss, epl_point_loss
from mmseg_boundary.losses.epl import authors_line_terms, closeness, line_regions, line_terms

REGION = torch.zeros(7, 7, dtype=torch.long)
REGION[1:6, 2:5] = 1
REGION[3, 5] = 1
TARGET = encode(REGION[None], 2)
TRUTH = TARGET.planes.double()
SHIFTED = TRUTH.roll(1, 3)
PREDICTIONS = {
    'perfect': TRUTH,
    'soft': 0.1 + 0.8 * TRUTH,
    'shift': SHIFTED,
    'soft shift': 0.1 + 0.8 * SHIFTED,
    'uniform': torch.full_like(TRUTH, 0.5),
}


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


def test_point_loss_of_one_row_by_hand():
    """Kernel 3, zeros beyond the row. Along it, forth: E = 0 0 1 2 1 and 0 0 .5 1.5 1.5, squares
    0 0 .25 .25 .25; back: E = 0 1 2 1 0 and 0 .5 1.5 1.5 .5, squares 0 .25 .25 .25 .25; across:
    the row itself, twice, squares 0 0 .25 0 .25. Over 4 directions x 5 pixels.
    """
    target = encode(torch.tensor([[[0, 0, 1, 1, 0]]]), 1)
    probs = torch.tensor([[[[0, 0, 0.5, 1, 0.5]]]])
    loss = epl_point_loss(probs, target, 3, padding='constant')
    assert loss.item() == pytest.approx((0.75 + 1.0 + 2 * 0.5) / (4 * 5))


@pytest.mark.parametrize('classes, expected', [(21, 0.7256), (19, 0.7978)])
def test_point_loss_of_the_uniform_start(classes, expected):
    target = encode(torch.zeros(1, 9, 9, dtype=torch.long), classes)
    probs = torch.full((1, classes, 9, 9), 1 / classes)
    assert epl_point_loss(probs, target).item() == pytest.approx(expected, abs=5e-5)


def test_doubled_scene_with_the_scaled_kernel_costs_more():
    """The terms are not scale-free: the same picture at twice the size, kernel 7 -> 15."""
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[:, 4:12, 4:12] = 1
    large = labels.repeat_interleave(2, 1).repeat_interleave(2, 2)

    def value(labels, shift, loss, kernel_size):
        target = encode(labels, 2)
        return loss(target.planes.float().roll(shift, 3), target, kernel_size).item()

    point = [value(labels, 1, epl_point_loss, 7), value(large, 2, epl_point_loss, 15)]
    line = [value(labels, 1, epl_line_loss, 7), value(large, 2, epl_line_loss, 15)]
    assert point[1] > 3 * point[0] and line[1] > 2 * line[0]


@given(scenes(fields=(1, 2, 3)))
def test_point_loss_agrees_with_the_definition(scene):
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
        ours = epl_point_loss(scene.probs, scene.target, **option, pixel_weight=weight)
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
# prediction, mu, EDC of the levels 1 to 3, and the loss: as mended, squared, the authors' form
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


def as_row(energies):
    return torch.tensor(energies, dtype=torch.float64).view(1, 1, 1, -1)


@pytest.mark.parametrize('prediction, mu, edc, paper, squared, authors', ROW_TABLE)
def test_line_terms_of_one_row(prediction, mu, edc, paper, squared, authors):
    truth, energies = as_row(ROW), as_row(ROWS[prediction])
    valid = torch.ones_like(truth, dtype=torch.bool)
    region, chosen = line_regions(truth, energies, valid, 3)

    def value(*options):
        return line_terms(truth, energies, region, chosen, *options).item()

    assert 3 - sum(edc) == pytest.approx(paper, abs=2e-4)  # the table agrees with itself
    assert value(3, mu, 'paper') == pytest.approx(paper, abs=6e-5)
    assert value(3, mu, 'squared') == pytest.approx(squared, abs=6e-5)
    terms = authors_line_terms(truth, energies, region, chosen, valid, 3, mu)
    assert terms.item() == pytest.approx(authors, abs=6e-5)
    levels = naive.line_edcs(truth[0, 0], energies[0, 0].tolist(), valid[0, 0].tolist(), 3, mu)
    assert [levels[tau] for tau in (1, 2, 3)] == pytest.approx(edc, abs=6e-5)


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
    truth = as_row(ROW)
    region, chosen = line_regions(truth, as_row(ROWS[prediction]), truth >= 0, 3)
    assert set(region[0, 0, 0].nonzero().flatten().tolist()) == {1, 2, 3, 7, 8, 9}
    assert set(chosen[0, 0, 0].nonzero().flatten().tolist()) == columns


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


def test_flips_and_transposes_matter_where_energies_tie():
    """The hard shift again: 1.0463, and 1.0352 mirrored, 1.0684 transposed."""
    for turn, expected in (
        (lambda x: x.flip(-1), 1.0352),
        (lambda x: x.transpose(-1, -2), 1.0684),
    ):
        target = encode(turn(REGION[None]), 2)
        assert epl_line_loss(turn(SHIFTED), target).item() == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    'mu, values',
    [
        (2, (0.939, 0.779, 0.368, 0.0183)),
        (4, (0.996, 0.939, 0.368, 1.1e-7)),
        (10, (1, 0.999, 0.368, 0)),
        (20, (1, 1, 0.368, 0)),
    ],
)
def test_closeness(mu, values):
    energies = torch.tensor([0.25, 0.5, 1.0, 2.0], dtype=torch.float64)
    for sign in (1, -1):
        near = closeness(3 + sign * energies, 3, mu)
        assert near.tolist() == pytest.approx(values, rel=5e-2, abs=6e-4)


def test_closeness_far_away_has_a_finite_gradient():
    """100^20 is beyond float32, and its gradient would be inf x 0."""
    energies = torch.tensor([0.0, 100.0], requires_grad=True)
    closeness(energies, 3, 20).sum().backward()
    assert energies.grad.isfinite().all()


def test_a_wide_kernel_with_a_high_mu_has_a_gradient():
    logits = torch.randn(1, 2, 24, 24, requires_grad=True)
    labels = (torch.arange(24) > 11).long().expand(1, 24, 24)
    epl_line_loss(logits.softmax(1), encode(labels, 2), kernel_size=21, mu=20).backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().max() > 0


@given(scenes(fields=(1, 2, 3)))
def test_line_loss_agrees_with_the_definition(scene):
    options = [
        dict(mu=2),
        dict(kernel_size=5, splitter='C', mu=4, edc='squared', padding='replicate'),
        dict(kernel_size=3, splitter='B', class_weight=[0.5, 2.0, 0.0]),
        dict(kernel_size=3, mu=2, variant='authors'),
    ]
    if scene.kind != 'uniform':  # with it, rounding would part the ties of a box, and not of a loop
        options.append(dict(kernel_size=3, splitter='SC', mu=2))
    for option in options:
        if 'class_weight' in option:
            option['class_weight'] = option['class_weight'][: scene.probs.shape[1]]
        ours = epl_line_loss(scene.probs, scene.target, **option)
        theirs = naive.epl_line_loss(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-8, abs=1e-10)


@given(scenes(fields=(2, 3)))
def test_the_predicted_region_follows_the_ranks(scene):
    """As large as the true one; unmoved by an increasing map of the energies; the true one itself
    for a perfect prediction."""
    truth = scene.target.planes.double().cumsum(3)
    energies = scene.target.masked(scene.probs).cumsum(3)
    region, chosen = line_regions(truth, energies, scene.target.valid, 3)
    assert chosen.sum((2, 3)).equal(region.sum((2, 3)))
    assert line_regions(truth, energies**3, scene.target.valid, 3)[1].equal(chosen)
    assert line_regions(truth, truth, scene.target.valid, 3)[1].equal(region)


def test_two_equal_images_cost_as_much_as_one():
    target = encode(REGION.expand(2, 7, 7), 2)
    probs = PREDICTIONS['soft shift'].expand(2, -1, -1, -1)
    for loss in (epl_point_loss, epl_line_loss):
        assert loss(probs, target).item() == pytest.approx(loss(probs[:1], TARGET).item(), rel=1e-9)


def test_algorithm_1_as_printed_rewards_a_fading_prediction():
    """Why `epl_line_loss` departs from it: its intersection cancels, so that a shifted line costs
    as much as a perfect one, a faded one less, and one without overlap is no number."""

    def printed(prediction, mu):
        truth, energies = ROW, ROWS[prediction]
        valid = [[True] * 12]
        chosen = naive.line_membership([energies], [truth], valid, 7)[0]
        losses = []
        for tau in (1, 2, 3):
            d = [math.exp(-(abs(e - tau) ** mu)) * (1 <= e <= 3) for e in truth]
            d_hat = [
                math.exp(-(abs(e - tau) ** mu)) * c for e, c in zip(energies, chosen, strict=True)
            ]
            losses.append(1 - naive.literal_edc(d, d_hat))
        return sum(losses)

    assert printed('perfect', 2) == pytest.approx(2.4953, abs=6e-5)
    assert printed('shift 1', 2) == pytest.approx(printed('perfect', 2))
    assert printed('0.5 E', 2) == pytest.approx(2.1100, abs=6e-5)
    assert printed('zero', 2) == pytest.approx(1.5141, abs=6e-5)
    assert math.isnan(printed('shift 2', 10))


# --- Both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('splitter', ['A', 'C', 'SC'])
@pytest.mark.parametrize('padding', ['constant', 'replicate'])
def test_a_perfect_prediction_costs_nothing(splitter, padding):
    """Whatever it says at void, with a class absent, and in an image of a single class."""
    labels = torch.stack([REGION, torch.zeros_like(REGION)])
    labels[:, 2:4, 3:6] = 255
    target = encode(labels, 3)
    probs = torch.where(target.valid, target.planes.double(), torch.rand(2, 3, 7, 7).double())
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

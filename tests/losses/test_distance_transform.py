"""The distance-transform loss against the numbers worked by hand, the thesis' Table 3.1, and the
double loops."""

import math

import pytest
import torch
from hypothesis import given

from mmseg_boundary.geometry.distance import distances_between
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import (
    boundary_weighted_ce_loss,
    distance_transform_loss,
    jaccard_loss,
    soft_dice_loss,
)
from mmseg_boundary.losses.distance_transform import nearness_to_boundary
from tests.support import naive
from tests.support.engines import as_on_a_device
from tests.support.scenes import scenes

SQUARE = torch.zeros(1, 7, 7, dtype=torch.long)
SQUARE[:, 1:6, 1:6] = 1
TARGET = encode(SQUARE, 1)
MASKS = TARGET.masks.double()


def without(rows, columns):
    prediction = MASKS.clone()
    prediction[..., rows, columns] = 0
    return prediction


def nr_map(target, metric='euclidean'):
    _, inside = target.cached(distances_between, metric)
    return nearness_to_boundary(target.masks, inside)


def test_the_nr_map_by_hand():
    """A square of 5 x 5: its outer ring 1, its second .5, its center 0."""
    q = nr_map(TARGET)[0, 0]
    assert q[3].tolist() == pytest.approx([0, 1, 0.5, 0, 0.5, 1, 0], abs=1e-3)
    assert q.sum().item() == pytest.approx(20, abs=1e-3)


ERODED = torch.zeros_like(MASKS)
ERODED[..., 2:5, 2:5] = 1


@pytest.mark.parametrize(
    'prediction, expected',
    [
        (MASKS, 0),
        (without(3, 3), 0),
        (torch.ones_like(MASKS), 0.545455),
        (ERODED, 0.8),
        (torch.full_like(MASKS, 0.5), 0.6875),
    ],
    ids=['perfect', 'center missing', 'all ones', 'eroded', 'uniform'],
)
def test_values_by_hand(prediction, expected):
    assert distance_transform_loss(prediction, TARGET).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('metric', ['euclidean', 'chessboard', 'taxicab'])
@given(scene=scenes(num_logits=(1, 3)))
def test_the_nr_map_is_1_at_the_boundary(metric, scene):
    q = nr_map(scene.target, metric)
    masks, valid = scene.target.masks, scene.target.valid
    others = torch.nn.functional.pad(valid & ~masks, (1, 1, 1, 1))
    beside = others[..., 2:, 1:-1] | others[..., :-2, 1:-1] | others[..., 1:-1, 2:]
    beside = (beside | others[..., 1:-1, :-2]) & masks
    assert q.min() >= 0 and q.max() <= 1
    assert (q[beside] > 1 - 1e-3).all() and (q[~masks] == 0).all()


@pytest.mark.parametrize(
    'rows, columns',
    [
        (slice(2, 3), slice(3, 4)),  # a pixel
        (slice(2, 3), slice(0, 7)),  # a line
        (slice(2, 4), slice(0, 7)),  # two lines
        (slice(0, 7), slice(0, 7)),  # nothing beside it
    ],
)
def test_without_depth_all_pixels_count_fully(rows, columns):
    labels = torch.zeros(1, 7, 7, dtype=torch.long)
    labels[:, rows, columns] = 1
    target = encode(labels, 1)
    assert nr_map(target).equal(target.masks.float())
    probs = torch.rand(1, 1, 7, 7, requires_grad=True)
    distance_transform_loss(probs, target).backward()
    assert probs.grad.isfinite().all() and probs.grad.abs().max() > 0


def test_the_noise_of_distances_is_no_depth():
    """Scaled to 1, a thousandth of a pixel would part pixels that are all at the boundary."""
    target = encode(torch.ones(1, 2, 3, dtype=torch.long), 1)
    inside = 1 + torch.tensor([[0, 1e-4, 5e-4], [1e-3, 0, 2e-4]]).view(1, 1, 2, 3)
    assert nearness_to_boundary(target.masks, inside).eq(1).all()


def test_the_analytic_gradient():
    """-q / size on the class, sum q p / size^2 beside it: 0 at its deepest pixel and at void."""
    labels = SQUARE.clone()
    labels[0, 0] = 255
    target = encode(labels, 1)
    probs = torch.rand(1, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    distance_transform_loss(probs, target).backward()
    q, others = nr_map(target).double(), target.valid & ~target.masks
    size = q.sum() + probs[others].sum()
    expected = torch.where(others, (q * probs).sum() / size**2, -q / size)
    assert probs.grad.allclose(target.masked(expected), rtol=0, atol=1e-9)
    assert probs.grad[..., 3, 3] == 0 and (probs.grad[..., 0, :] == 0).all()


def test_the_literal_sum_over_the_classes():
    target = encode(SQUARE, 2)
    probs = target.masks.double()
    assert distance_transform_loss(probs, target).item() == pytest.approx(0, abs=1e-6)
    literal = distance_transform_loss(probs, target, class_reduction='sum')
    assert literal.item() == pytest.approx(-1, abs=1e-6)


@given(scenes(num_logits=(1, 2, 3)))
def test_agrees_with_the_definition(scene):
    options = [
        dict(metric='taxicab', per_image=False),
        dict(class_weight=[0.5, 2.0, 0.0][: scene.probs.shape[1]]),
        dict(metric='chessboard', class_reduction='sum'),
        dict(class_reduction='sum', per_image=False),
    ]
    for option in options:
        ours = distance_transform_loss(scene.probs, scene.target, **option)
        theirs = naive.distance_transform_loss(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-4, abs=1e-6)


@given(scenes(num_logits=(1, 2, 3)))
def test_a_device_agrees_with_the_definition(scene):
    for option in (dict(), dict(class_reduction='sum', per_image=False)):
        with as_on_a_device():
            ours = distance_transform_loss(scene.probs, scene.target, **option)
        theirs = naive.distance_transform_loss(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-4, abs=1e-6)


# --- The thesis' Table 3.1 ------------------------------------------------------------------------

HEIGHT, WIDTH = 400, 600
DOWN, RIGHT = (HEIGHT - 1) / 2, (WIDTH - 1) / 2
ROWS = torch.arange(HEIGHT, dtype=torch.float64).view(-1, 1) - DOWN
COLUMNS = torch.arange(WIDTH, dtype=torch.float64).view(1, -1) - RIGHT
# An ellipse of 0.351 of the image, 1.15 times as wide as high.
HIGH = math.sqrt(0.351 * HEIGHT * WIDTH / (math.pi * 1.15))
WIDE = 1.15 * HIGH


def polygon(corners):
    """The ellipse's inscribed polygon: inside of all of its sides."""
    inside = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    apothem = math.cos(math.pi / corners)
    for side in range(corners):
        angle = 2 * math.pi * (side + 0.5) / corners
        inside &= ROWS / HIGH * math.sin(angle) + COLUMNS / WIDE * math.cos(angle) <= apothem
    return inside


def box(scale):
    return (ROWS.abs() <= scale * HIGH) & (COLUMNS.abs() <= scale * WIDE)


# prediction: its columns CE, IoU, Dice and the thesis' own loss
TABLE = {
    'Prediction 1': (polygon(13), 0.565, 0.037, 0.019, 0.056),
    'Prediction 2': (box(1.0), 0.619, 0.214, 0.120, 0.296),
    'Prediction 3': (box(0.927), 0.597, 0.166, 0.091, 0.238),
}


def row_of(prediction):
    target = encode(((ROWS / HIGH) ** 2 + (COLUMNS / WIDE) ** 2 <= 1).long()[None], 1)
    probs = prediction.double()[None, None]
    # The thesis' CE column takes the masks for logits.
    cross_entropy = boundary_weighted_ce_loss(probs, target, boundary_weight=0, one_vs_rest=True)
    losses = (jaccard_loss, soft_dice_loss, distance_transform_loss)
    return [cross_entropy.item(), *(loss(probs, target).item() for loss in losses)]


@pytest.mark.parametrize('prediction', TABLE)
def test_table_3_1(prediction):
    mask, *columns = TABLE[prediction]
    assert row_of(mask) == pytest.approx(columns, abs=0.01)


def test_the_order_of_table_3_1():
    rows = [row_of(TABLE[f'Prediction {number}'][0]) for number in (1, 3, 2)]
    for column in zip(*rows):
        assert list(column) == sorted(column)

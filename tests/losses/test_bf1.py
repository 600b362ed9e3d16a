"""BF1 against the numbers worked by hand, and against the double loops.

The hand-worked scene: 9 x 9, class 1 in rows and columns 2-6, class 0 elsewhere.
"""

import naive
import pytest
import torch
from hypothesis import given
from scenes import scenes

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import bf1_loss
from mmseg_boundary.losses.bf1 import inner_boundary, window_max

SQUARE = torch.zeros(1, 9, 9, dtype=torch.long)
SQUARE[:, 2:7, 2:7] = 1
TARGET = encode(SQUARE, 2)
TRUTH = TARGET.planes.double()
FIRST = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 9, 9)

# prediction, theta, precision and recall of the classes 0 and 1, loss, loss of class 1 alone
TABLE = [
    ('perfect', 3, (1, 1), (1, 1), 0, 0),
    ('perfect', 5, (1, 1), (1, 1), 0, 0),
    ('shift by 1', 3, (1, 1), (1, 1), 0, 0),
    ('shift by 1', 5, (1, 1), (1, 1), 0, 0),
    ('shift by 3', 3, (0.875, 0.5625), (0.875, 0.5625), 0.281250, 0.4375),
    ('shift by 3', 5, (0.958333, 1), (0.958333, 1), 0.020833, 0),
    ('soft', 3, (1, 1), (0.8, 0.8), 0.111111, 0.111111),
    ('soft', 5, (1, 1), (0.8, 0.8), 0.111111, 0.111111),
    ('uniform', 3, (0, 0), (0, 0), 1, 1),
    ('uniform', 5, (0, 0), (0, 0), 1, 1),
    ('empty', 3, (0, 0), (0, 0), 1, 1),
    ('all ones', 3, (0, 0), (0, 0), 1, 1),
]
PREDICTIONS = {
    'perfect': TRUTH,
    'shift by 1': TRUTH.roll(1, 3),
    'shift by 3': TRUTH.roll(3, 3),
    'soft': 0.1 + 0.8 * TRUTH,
    'uniform': torch.full_like(TRUTH, 0.5),
    'empty': FIRST,
    'all ones': 1 - FIRST,
}


@pytest.mark.parametrize('prediction, theta, precision, recall, loss, of_class_1', TABLE)
def test_values_by_hand(prediction, theta, precision, recall, loss, of_class_1):
    probs = PREDICTIONS[prediction]
    truth, soft = inner_boundary(TRUTH, 3), inner_boundary(probs, 3)
    hits = (soft * window_max(truth, theta)).sum((0, 2, 3))
    assert (hits / (soft.sum((0, 2, 3)) + 1e-7)).tolist() == pytest.approx(precision, abs=1e-6)
    hits = (truth * window_max(soft, theta)).sum((0, 2, 3))
    assert (hits / truth.sum((0, 2, 3))).tolist() == pytest.approx(recall, abs=1e-6)
    assert bf1_loss(probs, TARGET, theta=theta).item() == pytest.approx(loss, abs=1e-6)
    alone = bf1_loss(probs, TARGET, theta=theta, class_weight=[0, 1])
    assert alone.item() == pytest.approx(of_class_1, abs=1e-6)


def test_the_boundary_by_hand():
    """Class 1: its outer ring, 16 px. Class 0: the ring around it with its corners, 24 px."""
    assert inner_boundary(TRUTH, 3).sum((2, 3)).tolist() == [[24, 16]]


def test_the_image_border_is_no_boundary():
    assert inner_boundary(torch.ones(1, 1, 4, 5), 3).eq(0).all()


@pytest.mark.parametrize(
    'labels, classes',
    [
        (torch.zeros(1, 9, 9, dtype=torch.long), 2),  # one class everywhere, the other absent
        (torch.full((1, 9, 9), 255), 2),
    ],
)
def test_without_boundaries_nothing_enters(labels, classes):
    probs = torch.rand(1, classes, 9, 9, requires_grad=True)
    loss = bf1_loss(probs, encode(labels, classes))
    loss.backward()
    assert loss.item() == 0 and probs.grad.eq(0).all()


def test_an_absent_class_does_not_enter():
    probs = torch.cat([PREDICTIONS['soft'], torch.zeros(1, 1, 9, 9)], 1)
    assert bf1_loss(probs, encode(SQUARE, 3)).item() == pytest.approx(0.111111, abs=1e-6)


@given(scenes(fields=(1, 2, 3)))
def test_agrees_with_the_definition(scene):
    options = [
        dict(theta0=5, theta=1),
        dict(theta=7, class_weight=[0.5, 2.0, 0.0][: scene.probs.shape[1]]),
        dict(theta=3, per_image=False),
    ]
    for option in options:
        ours = bf1_loss(scene.probs, scene.target, **option)
        theirs = naive.bf1_loss(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-8, abs=1e-10)

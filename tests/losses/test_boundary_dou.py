"""The boundary difference over union against numbers worked by hand, the printed equation, the
published form, and the double loops."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import BoundaryDoULoss, boundary_dou_loss
from tests.support import naive
from tests.support.scenes import scene, scenes
from tests.support.worked_example import BINARY_LABELS, BINARY_LOGITS, LABELS, LOGITS

TARGET, BINARY = encode(LABELS, 3), encode(BINARY_LABELS, 1)
PROBS = LOGITS.softmax(1)
# The sums of each class of the example: y probs, probs^2 and y
SHARED, SQUARES, AREAS = (5.715577, 5.309909, 2.539503), (4.604805, 5.805226, 3.270118), (10, 9, 4)


def printed(alpha, k):
    """(Z + S - 2 I) / (Z + S - (1 + alpha) I)"""
    both = SQUARES[k] + AREAS[k]
    return (both - 2 * SHARED[k]) / (both - (1 + alpha) * SHARED[k])


@pytest.mark.parametrize(
    'k, c, alpha, term', [(0, 4, 0.2, 0.409709), (1, 4, 1 / 9, 0.469989), (2, 4, 0, 0.463177)]
)
def test_the_terms_by_hand(k, c, alpha, term):
    """C of S pixels lie on the boundary; the void pixel bounds nothing."""
    assert alpha == pytest.approx(max(0, 1 - 2 * c / AREAS[k]))
    assert printed(alpha, k) == pytest.approx(term, abs=1e-6)
    one = [float(k == each) for each in range(3)]
    value = boundary_dou_loss(PROBS, TARGET, class_weight=one)
    assert value.item() == pytest.approx(term, abs=1e-6)


def test_values_by_hand():
    assert boundary_dou_loss(PROBS, TARGET).item() == pytest.approx(0.447625, abs=1e-6)
    one_logit = boundary_dou_loss(BINARY_LOGITS.sigmoid(), BINARY)
    assert one_logit.item() == pytest.approx(0.370104, abs=1e-6)


def test_the_published_alpha_is_another_one():
    """Its code counts the image border, where it pads with zeros, and does not clip below."""
    cross = torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.float64).view(1, 1, 3, 3)
    terms = []
    for k, alpha in enumerate((-0.8, -0.777778, -1.0)):
        y = TARGET.masks[:, k : k + 1].double()
        c = ((F.conv2d(y, cross, padding=1) < 5) & (y == 1)).sum().item()
        assert 1 - 2 * c / AREAS[k] == pytest.approx(alpha, abs=1e-6)
        terms.append(printed(1 - 2 * c / AREAS[k], k))
    assert terms == pytest.approx([0.235755, 0.307181, 0.301387], abs=1e-6)
    assert sum(terms) / 3 == pytest.approx(0.281441, abs=1e-6)


def test_a_square_by_hand():
    """10 x 10 pixels, of which 36 are on the boundary: alpha = .28. At p = 1/2 in it and 0 beside
    it, D = 25 and I = 50: 25 / (25 + .72 x 50)."""
    labels = torch.zeros(1, 14, 14, dtype=torch.long)
    labels[:, 2:12, 2:12] = 1
    target = encode(labels, 1)
    value = boundary_dou_loss(target.masks / 2, target)
    assert value.item() == pytest.approx(25 / (25 + 0.72 * 50))


@pytest.mark.parametrize('beside', [255, None], ids=['void', 'the image border'])
def test_void_and_the_image_border_are_no_boundary(beside):
    """A class without a boundary has the largest alpha: D = 4, I = 8 of 16 pixels at 1/2."""
    labels = torch.ones(1, 4, 4, dtype=torch.long)
    if beside is not None:
        labels = F.pad(labels, (1, 1, 1, 1), value=beside)
    target = encode(labels, 1)
    half = torch.full(target.masks.shape, 0.5)
    for max_alpha in (0.8, 0.3):
        value = boundary_dou_loss(half, target, max_alpha)
        assert value.item() == pytest.approx(4 / (4 + (1 - max_alpha) * 8))


def test_thin_objects_have_the_alpha_of_a_jaccard_loss():
    """All of a line is boundary: alpha would be -1."""
    labels = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]])
    target = encode(labels, 1)
    value = boundary_dou_loss(torch.full((1, 1, 3, 4), 0.5), target)
    assert value.item() == pytest.approx(3 / (3 + 2))  # D = 12 x 1/4, I = 4 x 1/2


def test_the_batch_is_pooled_on_request():
    """Class 1 has C = 2 of S = 2 pixels in one image and fills the other, S = 6: alpha = .5 of both
    together."""
    labels = torch.tensor([[[0, 0, 1], [0, 0, 1]], [[1, 1, 1], [1, 1, 1]]])
    target = encode(labels, 1)
    probs = torch.full((2, 1, 2, 3), 0.5)
    pooled = boundary_dou_loss(probs, target, per_image=False)
    assert pooled.item() == pytest.approx(3 / (3 + 0.5 * 4))
    each = boundary_dou_loss(probs, target)
    assert each.item() == pytest.approx((1.5 / (1.5 + 1) + 1.5 / (1.5 + 0.2 * 3)) / 2)


def test_a_nearly_perfect_prediction_is_neither_negative_nor_0():
    """The printed numerator, in float32, is the difference of numbers near 131,072."""
    large = scene(3, (1, 256, 512), 'labels', void_share=0, seed=1)
    probs = (large.logits.sign() * 8).float().softmax(1)
    value, exact = (boundary_dou_loss(x, large.target).item() for x in (probs, probs.double()))
    assert 0 < exact < 1e-5 and value == pytest.approx(exact, rel=1e-4)
    assert boundary_dou_loss(large.target.masks.float(), large.target) == 0
    nothing = torch.zeros(large.target.masks.shape)
    assert boundary_dou_loss(nothing, large.target) == 1


@given(scenes(num_logits=(1, 2, 3)))
def test_agrees_with_the_definition(scene):
    options = [
        dict(max_alpha=0.25),
        dict(per_image=False),
        dict(class_weight=[0.5, 2.0, 0.0][: scene.probs.shape[1]]),
    ]
    for option in options:
        ours = boundary_dou_loss(scene.probs, scene.target, **option)
        theirs = naive.boundary_dou_loss(scene.probs, scene.labels, scene.void, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize('max_alpha', [-0.1, 1, float('nan')])
def test_another_alpha_is_refused(max_alpha):
    words = rf'max_alpha is {max_alpha}; give 0 or more and less than 1'
    with pytest.raises(ValueError, match=words):
        BoundaryDoULoss(max_alpha=max_alpha)
    with pytest.raises(ValueError, match=words):
        boundary_dou_loss(PROBS, TARGET, max_alpha)

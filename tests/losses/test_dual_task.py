"""The dual-task loss against numbers worked by hand, its invariants, and its noise."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import DualTaskLoss, dual_task, dual_task_loss
from mmseg_boundary.losses.dual_task import boundary_maps, gumbel_like, smoothed
from tests.support import naive
from tests.support.scenes import scene, scenes


def sure(labels, num_logits, odds=200.0):
    """Logits that predict these labels."""
    masks = encode(labels, num_logits).masks
    return odds * (2 * masks.double() - 1)


def step(columns, place, void=()):
    """(1, 5, columns): class 1 from `place` on, and columns of void."""
    labels = (torch.arange(columns) >= place).long().repeat(1, 5, 1)
    labels[..., list(void)] = 255
    return labels


def test_a_step_by_hand():
    """With radius 1 a step from 0 to 1 becomes 0, 1/4, 3/4, 1, whose differences are 1/8, 3/8, 3/8
    and 1/8: far from the image border, the same in each row."""
    target = encode(step(12, 6), 2)
    maps, near = boundary_maps(target.masks.double(), target.valid, 1)
    strengths = [math.sqrt(each**2 + 1e-6) - 1e-3 for each in (1 / 8, 3 / 8)]
    expected = torch.zeros(12, dtype=torch.float64)
    expected[[4, 7]] = strengths[0] / strengths[1]
    expected[[5, 6]] = 1.0
    torch.testing.assert_close(maps, expected.expand(1, 2, 5, 12))
    assert near.equal((expected > 0).expand_as(near))


def test_a_shifted_step_by_hand():
    """The boundaries of prediction and label, 6 columns apart, share no pixel: all differences are
    those of one of them alone, and so are both means."""
    labels, pred = step(20, 6), step(20, 12)
    value = dual_task_loss(sure(pred, 2), encode(labels, 2), radius=1).item()
    strengths = [math.sqrt(each**2 + 1e-6) - 1e-3 for each in (1 / 8, 3 / 8)]
    assert value == pytest.approx((strengths[0] / strengths[1] + 1) / 2)


def test_without_a_boundary_nothing_differs():
    """Of neither: an image of one class, predicted as another."""
    labels, pred = torch.zeros(1, 6, 7).long(), torch.ones(1, 6, 7).long()
    assert dual_task_loss(sure(pred, 3), encode(labels, 3)).item() == 0


def test_a_boundary_where_the_label_has_none_costs():
    """The label's set is empty, and counts 0; of the predicted one all is wrong."""
    labels = torch.zeros(1, 5, 20).long()
    value = dual_task_loss(sure(step(20, 12), 2), encode(labels, 2), radius=1).item()
    strengths = [math.sqrt(each**2 + 1e-6) - 1e-3 for each in (1 / 8, 3 / 8)]
    assert value == pytest.approx((strengths[0] / strengths[1] + 1) / 4)


@pytest.mark.parametrize('radius', [1, 4])
@pytest.mark.parametrize('num_logits', [1, 2, 3])
def test_the_label_itself_costs_nothing(num_logits, radius):
    """Void or not."""
    one = scene(num_logits, (2, 12, 14), kind='labels', seed=3)
    value = dual_task_loss(one.logits, one.target, radius=radius, one_vs_rest=num_logits == 1)
    assert value.item() == pytest.approx(0, abs=1e-9)


def test_void_makes_no_boundary():
    """Within a class; between two classes, the filter sees the one from the other's side."""
    target = encode(step(16, 16, void=(7, 8)), 2)
    maps, near = boundary_maps(target.masks.double(), target.valid, 4)
    assert maps.eq(0).all() and not near.any()
    target = encode(step(16, 8, void=(7, 8)), 2)
    maps, near = boundary_maps(target.masks.double(), target.valid, 4)
    columns = near[0, 0, 0]
    assert columns[[5, 6, 9, 10]].all() and not columns[[0, 1, 7, 8, 14, 15]].any()
    assert maps.amax() == 1


def test_the_image_border_is_no_boundary():
    """And what is beyond it counts as void does."""
    labels = torch.ones(1, 6, 7).long()
    maps, near = boundary_maps(torch.ones(1, 1, 6, 7), encode(labels, 1).valid, 4)
    assert maps.eq(0).all() and not near.any()
    one = scene(3, (1, 9, 10), seed=4)
    padded = torch.nn.functional.pad(one.labels, (5, 5, 5, 5), value=255)
    logits = torch.nn.functional.pad(one.logits, (5, 5, 5, 5), value=9.0)
    value, wider = (
        dual_task_loss(each, encode(given, 3)).item()
        for each, given in ((one.logits, one.labels), (logits, padded))
    )
    assert value == pytest.approx(wider)


def test_the_filter_is_a_triangle():
    """1 2 3 2 1 in both directions, of a sum of 81."""
    maps = torch.zeros(1, 1, 9, 9)
    maps[..., 4, 4] = 81.0
    found = smoothed(maps, torch.ones(1, 1, 9, 9, dtype=torch.bool), 2)[0, 0, 1:-1, 1:-1]
    row = torch.tensor([0.0, 0, 1, 2, 3, 2, 1, 0, 0])
    torch.testing.assert_close(found, row[:, None] * row)


@given(scenes(), st.sampled_from([dict(), dict(radius=1), dict(tau=2, radius=2)]), st.booleans())
def test_it_is_the_double_loop(scene, options, one_vs_rest):
    one_vs_rest |= scene.logits.shape[1] == 1
    value = dual_task_loss(scene.logits, scene.target, **options, one_vs_rest=one_vs_rest).item()
    expected = naive.dual_task_loss(
        scene.logits, scene.labels, scene.void, **options, one_vs_rest=one_vs_rest
    )
    assert value == pytest.approx(expected, 1e-8, 1e-10)


def test_absent_classes_count_where_they_are_predicted():
    """A class without a pixel has no boundary, so that one that is predicted is wrong."""
    labels = step(20, 6)
    logits = sure(labels, 3)
    right = dual_task_loss(logits, encode(labels, 3), radius=1).item()
    logits[:, 2, 2, 14] = 400.0
    assert right == pytest.approx(0, abs=1e-9)
    assert dual_task_loss(logits, encode(labels, 3), radius=1).item() > 0.03


def test_each_image_weighs_alike():
    """Whatever the number of its valid pixels; one of void alone not at all."""
    one = scene(3, (3, 8, 9), seed=5)
    labels = one.labels.clone()
    labels[1, :4] = 255
    labels[2] = 255
    first, second = (
        dual_task_loss(one.logits[n : n + 1], encode(labels[n : n + 1], 3)) for n in (0, 1)
    )
    batch = dual_task_loss(one.logits, encode(labels, 3))
    torch.testing.assert_close(batch, (first + second) / 2)


# --- Noise ----------------------------------------------------------------------------------------


def test_noise_is_added_to_the_logits():
    one = scene(3, seed=6)
    noise = torch.randn_like(one.logits)
    noisy = dual_task_loss(one.logits, one.target, noise=noise)
    assert noisy.equal(dual_task_loss(one.logits + noise, one.target))


def test_gumbels_distribution():
    """Its mean is Euler's constant, its variance pi^2 / 6; and the largest of logits with such
    noise is drawn by their softmax."""
    torch.manual_seed(0)
    noise = gumbel_like(torch.empty(200_000, dtype=torch.float64))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.03)
    logits = torch.tensor([0.0, 1.0, 2.0]).expand(100_000, 3)
    shares = (logits + gumbel_like(logits)).argmax(1).bincount() / 100_000
    torch.testing.assert_close(shares, logits[0].softmax(0), atol=0.01, rtol=0)


@pytest.mark.parametrize('num_logits', [1, 3])
def test_the_module_draws_in_training_alone(num_logits):
    one = scene(num_logits, seed=7)
    loss, plain = DualTaskLoss(gumbel=True), DualTaskLoss()
    values = {loss(one.logits, one.labels).item() for _ in range(3)}
    assert len(values) == 3
    torch.manual_seed(1)
    value = loss(one.logits, one.labels)
    torch.manual_seed(1)
    assert loss(one.logits, one.labels).equal(value)
    assert loss.eval()(one.logits, one.labels).equal(plain(one.logits, one.labels))


@pytest.mark.parametrize(
    'num_logits, use_sigmoid, deviation',
    [(1, False, math.pi / math.sqrt(3)), (2, True, math.pi / math.sqrt(3)), (2, False, 1.2825)],
)
def test_noise_of_a_sigmoid_is_the_difference_of_two(
    monkeypatch, num_logits, use_sigmoid, deviation
):
    """As in a softmax of two logits, of which the first is 0: a logistic distribution."""
    seen = []
    monkeypatch.setattr(
        dual_task, 'dual_task_loss', lambda logits, *_, noise, **__: seen.append(noise) or logits
    )
    torch.manual_seed(2)
    logits = torch.zeros(1, num_logits, 200, 200, dtype=torch.float64)
    DualTaskLoss(gumbel=True, use_sigmoid=use_sigmoid)(logits, torch.zeros(1, 200, 200).long())
    (noise,) = seen
    assert noise.shape == logits.shape and noise.std().item() == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(tau=0), 'tau is 0; give a number above 0.'),
        (dict(tau=math.inf), 'tau is inf; give'),
        (dict(radius=0), 'radius is 0; give a whole number of pixels, 1 or more.'),
        (dict(radius=1.5), 'radius is 1.5; give a whole number'),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DualTaskLoss(**options)
    with pytest.raises(ValueError, match=message):
        dual_task_loss(torch.zeros(1, 2, 4, 4), encode(torch.zeros(1, 4, 4).long(), 2), **options)

"""The Hausdorff loss against the numbers worked by hand, the double loops, MONAI's value and the
loss of nearly that name in MMSegmentation."""

import re
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from mmseg_boundary import compiled
from mmseg_boundary.geometry import distance
from mmseg_boundary.geometry.distance import distances_between
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import HausdorffDTLoss, hausdorff, hausdorff_dt_loss
from mmseg_boundary.losses.hausdorff import predicted_masks, squared_distances
from tests.support import naive
from tests.support.engines import as_on_a_device
from tests.support.scenes import scene, scenes
from tests.support.skips import needs_gpu
from tests.support.worked_example import (
    BINARY_LABELS,
    BINARY_LOGITS,
    LABELS,
    LOGITS,
    PRED,
)

VALUE, MMSEGS = 0.548017, 2.968684
ROW = torch.tensor([[[0, 0, 1, 1]]])


def one_class(k):
    return [float(k == each) for each in range(3)]


def test_the_worked_example():
    assert HausdorffDTLoss()(LOGITS, LABELS).item() == pytest.approx(VALUE, abs=1e-6)
    for k, term in enumerate((0.647189, 0.706651, 0.290210)):
        alone = HausdorffDTLoss(class_weight=one_class(k))
        assert alone(LOGITS, LABELS).item() == pytest.approx(term, abs=1e-6)
    binary = HausdorffDTLoss()(BINARY_LOGITS, BINARY_LABELS)
    assert binary.item() == pytest.approx(0.575861, abs=1e-6)


def test_the_distances_of_the_worked_example():
    """Of class 1 in the label and in the prediction, without the one void pixel."""
    target = encode(LABELS, 3)
    of_label = squared_distances(target.masks, *distances_between(target.masks))[0, 1]
    predicted = predicted_masks(LOGITS, target.valid, one_vs_rest=False)
    assert predicted[0, 1].equal((PRED == 1) & (LABELS[0] != 255))
    of_pred = squared_distances(predicted, *distances_between(predicted))[0, 1]
    assert of_label[0].tolist() == [9, 4, 1, 1, 4, 8]
    assert of_label[2].tolist() == [10, 5, 2, 1, 1, 4]
    assert of_pred[0].tolist() == [4, 1, 1, 4, 4, 5]


def test_a_row_by_hand():
    """y = 0 0 1 1 at distances 2 1 1 2, predicted as 0 1 1 1 at distances 1 1 2 3. Both classes are
    0.75 off at the second pixel and 0.5 at the fourth, and their distances are the same."""
    of_1 = torch.tensor([0, 0.75, 1, 0.5 + 1e-9], dtype=torch.float64)
    probs, target = torch.stack([1 - of_1, of_1]).view(1, 2, 1, 4), encode(ROW, 2)
    second, fourth = 0.75**2, 0.5**2
    cases = {
        2: second * (1 + 1) + fourth * (4 + 9),
        1: second * (1 + 1) + fourth * (2 + 3),
    }
    for alpha, expected in cases.items():
        loss = hausdorff_dt_loss(probs, target, alpha)
        assert loss.item() == pytest.approx(expected / 4, abs=1e-8)
    one_sided = hausdorff_dt_loss(probs, target, one_sided=True)
    assert one_sided.item() == pytest.approx((second * 1 + fourth * 4) / 4, abs=1e-8)
    diagonal = hausdorff_dt_loss(probs, target, spacing='diagonal')
    assert diagonal.item() == pytest.approx(cases[2] / 4 / (1 + 16), abs=1e-8)


def test_the_class_of_equal_probabilities_is_the_first():
    """As in MMSegmentation's prediction; with sigmoids, 0.5 is not enough."""
    target = encode(ROW, 3)
    probs = torch.tensor([0.3, 0.4, 0.4]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    masks = predicted_masks(probs, target.valid, one_vs_rest=False)
    assert masks.flatten(1).tolist() == [[False] * 4 + [True] * 4 + [False] * 4]
    probs = torch.tensor([0.5, 0.6, 0.7]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    masks = predicted_masks(probs, target.valid, one_vs_rest=True)
    assert masks.flatten(1).tolist() == [[False] * 4 + [True] * 8]


@pytest.mark.parametrize('label', [0, 1, 255])
@pytest.mark.parametrize('num_logits', [1, 2])
def test_without_a_boundary_there_are_no_distances(label, num_logits):
    """Neither in the label, of one class, nor in the prediction."""
    logits = torch.randn(1, num_logits, 5, 6).abs()
    logits[:, : num_logits - 1] = -logits[:, : num_logits - 1]
    logits.requires_grad_()
    for absent in (False, True):
        loss = HausdorffDTLoss(absent=absent)(logits, torch.full((1, 5, 6), label))
        loss.backward()
        assert loss.item() == 0 and logits.grad.eq(0).all()


def test_false_objects_of_an_absent_class_cost_if_asked_for():
    """Class 2 is absent. Predicted at one end of the row, it is f_q = 1 1 2 3 away; predicted
    nowhere, it is no part of the mean."""
    target = encode(ROW, 3)
    predicted = torch.tensor([2, 0, 1, 1])
    probs = torch.nn.functional.one_hot(predicted, 3).double().T.view(1, 3, 1, 4)
    # class 0 misses its first pixel: f_y = 2, f_q = 1
    of_0, of_2 = (2**2 + 1**2) / 4, 1 / 4
    loss = hausdorff_dt_loss(probs, target)
    assert loss.item() == pytest.approx(of_0 / 2, abs=1e-6)
    loss = hausdorff_dt_loss(probs, target, absent=True)
    assert loss.item() == pytest.approx((of_0 + of_2) / 3, abs=1e-6)
    perfect = target.masks.double()
    perfect[..., 0] = torch.tensor([0.9, 0.0, 0.1]).view(1, 3, 1)
    with_it, without = (hausdorff_dt_loss(perfect, target, absent=each) for each in (True, False))
    assert with_it == without > 0


def test_void_moves_no_boundary():
    """Between the two classes lies void, and beyond it others: distances reach across."""
    target = encode(torch.tensor([[[0, 0, 255, 255, 1]]]), 2)
    squares = squared_distances(target.masks, *distances_between(target.masks))
    assert squares[0, 1, 0, [0, 1, 4]].tolist() == [16, 9, 9]


@pytest.mark.parametrize('where', [nullcontext, as_on_a_device])
@given(scene=scenes(num_logits=(1, 2, 3)))
def test_agrees_with_the_definition(where, scene):
    weight = torch.rand(scene.labels.shape, dtype=torch.float64)
    num_logits = scene.probs.shape[1]
    options = [
        dict(weight=weight),
        dict(alpha=0.7, spacing='diagonal', absent=True),
        dict(one_sided=True, class_weight=[0.5, 2.0, 0.0][:num_logits]),
    ]
    for option in options:
        theirs = naive.hausdorff_dt_loss(scene.probs, scene.labels, scene.void, **option)
        option['pixel_weight'] = option.pop('weight', None)
        with where():
            ours = hausdorff_dt_loss(scene.probs, scene.target, **option)
        assert ours.item() == pytest.approx(theirs, rel=1e-12, abs=1e-12)


@given(scenes(num_logits=(2, 3, 5)))
def test_sigmoids_agree_with_the_definition(scene):
    """Predicted masks that overlap, and pixels that are of none."""
    probs = scene.logits.sigmoid()
    for absent in (False, True):
        options = dict(one_vs_rest=True, absent=absent)
        theirs = naive.hausdorff_dt_loss(probs, scene.labels, scene.void, **options)
        ours = hausdorff_dt_loss(probs, scene.target, **options)
        assert ours.item() == pytest.approx(theirs, rel=1e-12, abs=1e-12)
        module = HausdorffDTLoss(use_sigmoid=True, absent=absent)
        assert module(scene.logits, scene.labels).item() == ours.item()


def test_the_analytic_gradient():
    """dL/dp = 2 (p - y) (f_y^2 + f_q^2) / (n_valid pairs): nothing comes through the distances."""
    one = scene(3, (1, 9, 8), seed=2)
    probs = one.probs.requires_grad_()
    target = one.target
    hausdorff_dt_loss(probs, target).backward()
    predicted = predicted_masks(probs, target.valid, one_vs_rest=False)
    squares = sum(
        squared_distances(masks, *distances_between(masks)) for masks in (target.masks, predicted)
    )
    pairs = target.valid.sum() * target.present.sum()
    expected = target.masked(2 * (probs - target.masks.double()) * squares) / pairs
    assert probs.grad.allclose(expected.detach(), rtol=0, atol=1e-12)


@given(scenes(num_logits=(1, 2, 3)))
def test_a_device_has_the_gradients_of_the_host(scene):
    """And their own; with what is no number at void."""
    logits = scene.logits.masked_fill(scene.labels.unsqueeze(1) == scene.void, torch.nan)
    weight = torch.rand(scene.labels.shape, dtype=torch.float64)

    def derivatives():
        leaf = logits.clone().requires_grad_()
        probs = leaf.sigmoid() if leaf.shape[1] == 1 else leaf.softmax(1)
        loss = hausdorff_dt_loss(probs, scene.target, 1.5, pixel_weight=weight)
        (alone,) = torch.autograd.grad(loss, probs, retain_graph=True)
        (first,) = torch.autograd.grad(loss, probs, create_graph=True)
        assert first.equal(alone)
        (second,) = torch.autograd.grad(scene.target.masked(first).square().sum(), probs)
        return loss, first, second

    *on_the_host, second = derivatives()
    with as_on_a_device():
        *found, seconds = derivatives()
    assert all(map(torch.equal, found, on_the_host))
    torch.testing.assert_close(seconds, second)


@pytest.mark.slow  # it compiles
@pytest.mark.parametrize('num_logits', [1, 3])
def test_compiled_kernels_agree_with_the_plain_ones(num_logits, monkeypatch):
    one = scene(num_logits, (2, 40, 50), seed=4)

    def value_and_gradient():
        probs = one.probs.detach().requires_grad_()
        loss = hausdorff_dt_loss(probs, one.target, 1.5, spacing='diagonal')
        loss.backward()
        return loss, probs.grad

    expected = value_and_gradient()
    monkeypatch.setattr(compiled, 'LARGE', 0)
    monkeypatch.setattr(compiled, '_warn', pytest.fail)
    for module in (distance, hausdorff):
        monkeypatch.setattr(module, 'is_queued', lambda tensor: True)
    torch.testing.assert_close(value_and_gradient(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_the_labels_distances_are_shared_and_one_side_needs_no_others(use_sigmoid, monkeypatch):
    one, calls = scene(3, (1, 12, 14)), []
    engine = distance.distance_to
    monkeypatch.setattr(distance, 'distance_to', lambda mask: calls.append(mask) or engine(mask))
    for options, added in (({}, 2), (dict(one_sided=True), 0), (dict(spacing='diagonal'), 1)):
        before = len(calls)
        HausdorffDTLoss(use_sigmoid=use_sigmoid, **options)(one.logits, one.labels)
        assert len(calls) - before == added


def test_the_engines_agree_to_the_last_digit(monkeypatch):
    """Rounded squares of distances leave nothing of OpenCV's, scipy's and torch's noise."""
    one = scene(4, (1, 90, 110), seed=3)
    by_opencv = hausdorff_dt_loss(one.probs, one.target, 1.5)
    monkeypatch.setattr(distance, 'distance_to', distance.torch_distance_to)
    assert hausdorff_dt_loss(one.probs, one.target, 1.5).equal(by_opencv)


@needs_gpu
def test_cuda_has_the_value_of_the_cpu_to_the_last_digits():
    one = scene(4, (2, 90, 110), seed=3)
    on_cpu = HausdorffDTLoss(alpha=1.5)(one.logits, one.labels)
    on_gpu = HausdorffDTLoss(alpha=1.5)(one.logits.cuda(), one.labels.cuda())
    assert on_gpu.item() == pytest.approx(on_cpu.item(), rel=1e-12)


def test_the_largest_exponent_fits_into_float32():
    """6,000 px apart, in every pixel."""
    labels = torch.zeros(1, 1, 6000, dtype=torch.long)
    labels[..., -1] = 1
    logits = torch.zeros(1, 2, 1, 6000)
    assert HausdorffDTLoss(alpha=6)(logits, labels).isfinite()


@pytest.mark.parametrize(
    'options, said',
    [
        (dict(alpha=0), 'alpha is 0; give a positive number, at most 6'),
        (dict(alpha=-2.0), 'alpha is -2.0; give'),
        (dict(alpha=6.5), 'alpha is 6.5; give'),
        (dict(alpha=float('nan')), 'alpha is nan; give'),
        (dict(spacing='mm'), "spacing is 'mm'; choose one of 'pixel', 'diagonal'"),
        (dict(absent=True, one_sided=True), 'absent=True has no meaning with one_sided=True'),
    ],
)
def test_refusals(options, said):
    for given_options in (HausdorffDTLoss, lambda **each: hausdorff_dt_loss(*GIVEN, **each)):
        with pytest.raises(ValueError, match=re.escape(said)):
            given_options(**options)


GIVEN = torch.rand(1, 2, 1, 4), encode(ROW, 2)


# --- Others of the name ---------------------------------------------------------------------------


def test_monais_value():
    """Its `HausdorffDTLoss`, of version 1.6.1, takes p > 0.5 for the prediction whatever the
    activation, and knows no void: of the example with class 1 at void it gives 0.514268."""
    target = encode(LABELS.where(LABELS != 255, 1), 3)
    loss = hausdorff_dt_loss(LOGITS.softmax(1), target, one_vs_rest=True)
    assert loss.item() == pytest.approx(0.514268, abs=1e-6)


def mmsegs(logits, labels):
    register_all_modules()
    return MODELS.build(dict(type='HuasdorffDisstanceLoss'))(logits, labels).item()


def test_mmsegs_value_is_another_one():
    """By hand: one field of all classes but 0 (void is 0), inside of it alone, and
    (p_k - number of the class)^2, over the classes 1 and 2, divided by 3."""
    assert mmsegs(LOGITS, LABELS) == pytest.approx(MMSEGS, abs=1e-6)
    numbers = LABELS.where(LABELS != 255, 0)
    fields = []
    for numbered in (numbers, PRED[None]):
        inside = distance.distance_to(numbered == 0)
        fields.append(inside.square())
    far = sum(fields)
    probs = LOGITS.softmax(1)
    terms = [((probs[:, k] - numbers) ** 2 * far).mean() for k in (1, 2)]
    assert (sum(terms) / 3).item() == pytest.approx(MMSEGS, abs=1e-4)

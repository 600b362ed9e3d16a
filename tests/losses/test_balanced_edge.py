"""The class-balanced cross-entropy of edges against numbers worked by hand, MMSegmentation's, and
the double loop."""

import math

import pytest
import torch
from hypothesis import given
from mmseg.models.losses import BoundaryLoss

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import balanced_edge_loss
from mmseg_boundary.losses.balanced_edge import BalancedEdgeLoss
from tests.support import naive
from tests.support.scenes import scene, scenes
from tests.support.skips import needs_gpu


def test_by_hand():
    """One edge among 4 valid pixels, with logits of 0: (3/4 + 3 x 1/4) log 2 / 4."""
    labels = torch.tensor([[[1, 0, 0, 0, 255]]])
    value = balanced_edge_loss(torch.zeros(1, 1, 1, 5, dtype=torch.float64), encode(labels, 1))
    assert value.item() == pytest.approx(1.5 * math.log(2) / 4)


@given(scenes(num_logits=(1,)))
def test_it_is_the_double_loop(scene):
    value = balanced_edge_loss(scene.logits, scene.target).item()
    expected = naive.balanced_edge_loss(scene.logits, scene.labels, scene.void)
    assert value == pytest.approx(expected, 1e-8, 1e-10)


def test_without_void_it_is_mmsegmentations():
    one = scene(1, (2, 12, 14), void_share=0)
    theirs = BoundaryLoss()(one.logits.float(), one.labels)
    assert balanced_edge_loss(one.logits, one.target).item() == pytest.approx(theirs.item())


def test_several_logits_have_a_loss_each():
    one = scene(3, (2, 12, 14), seed=1)
    parts = []
    for k in range(3):
        edges = (one.labels == k).long().masked_fill(one.labels == 255, 255)
        parts.append(balanced_edge_loss(one.logits[:, k : k + 1], encode(edges, 1)))
    torch.testing.assert_close(balanced_edge_loss(one.logits, one.target), sum(parts) / 3)


def test_the_module_has_a_weight_and_takes_half_types():
    one = scene(1, (2, 12, 14), seed=4)
    logits = one.logits.bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        value = BalancedEdgeLoss(loss_weight=20.0)(logits, one.labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, 20 * balanced_edge_loss(logits.float(), one.target))


@pytest.mark.parametrize('label', [0, 1, 255])
def test_of_one_kind_alone_it_is_a_zero_with_a_graph(label):
    logits = torch.randn(2, 1, 5, 6, requires_grad=True)
    value = balanced_edge_loss(logits, encode(torch.full((2, 5, 6), label), 1))
    value.backward()
    assert value.item() == 0 and logits.grad.eq(0).all()


def test_a_large_image_in_float32():
    """Counts whose product is no float32 exactly."""
    labels = torch.zeros(1, 1200, 1600).long()
    labels[:, :, :797] = 1
    logits = torch.randn(1, 1, 1200, 1600, dtype=torch.float64)
    values = [balanced_edge_loss(each, encode(labels, 1)) for each in (logits, logits.float())]
    assert values[1].item() == pytest.approx(values[0].item(), rel=1e-5)


def test_gradcheck():
    one = scene(1, (2, 4, 5), seed=2)
    logits = one.logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda given: balanced_edge_loss(given, one.target), logits)


@needs_gpu
def test_nothing_waits_for_the_gpu():
    one = scene(1, (2, 24, 30), seed=3)
    target, logits = encode(one.labels.cuda(), 1), one.logits.cuda().requires_grad_()
    balanced_edge_loss(logits, target).backward()
    torch.cuda.set_sync_debug_mode('error')
    try:
        balanced_edge_loss(logits, target).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')

"""The losses of a head measure their labels once."""

import gc

import pytest
import torch
from heads import head, samples
from mmseg.registry import MODELS

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.geometry import distance
from mmseg_boundary.losses.decode_head_loss import SharedTarget, shared_target

LOSSES = [
    dict(type='KervadecBoundaryLoss'),
    dict(type='KervadecBoundaryLoss', normalize='max', loss_name='loss_kervadec_max'),
    dict(type='DistanceTransformLoss'),
    dict(type='DistanceTransformLoss', per_image=False, loss_name='loss_dt_pooled'),
]


@pytest.fixture
def calls(monkeypatch):
    """Every set of masks that distances are computed of."""
    masks = []
    engine = distance.distance_to

    def counted(mask, *arguments):
        masks.append(mask)
        return engine(mask, *arguments)

    monkeypatch.setattr(distance, 'distance_to', counted)
    return masks


def test_once_per_head_and_iteration(calls):
    decode_head = head(LOSSES)
    for iteration in range(1, 4):
        labels = torch.randint(3, (2, 16, 20))
        losses = decode_head.loss([torch.randn(2, 4, 4, 5)], samples(labels), train_cfg={})
        assert len(calls) == iteration
        sum(losses[each] for each in losses if each.startswith('loss_')).backward()


def test_changed_labels_are_measured_anew(calls):
    loss = MODELS.build(dict(type='KervadecBoundaryLoss'))
    logits, labels = torch.randn(1, 3, 8, 8), torch.randint(3, (1, 8, 8))
    loss(logits, labels)
    before = loss(logits, labels)
    assert len(calls) == 1
    labels[:, :4] = 255
    after = loss(logits, labels)
    assert len(calls) == 2 and after != before


def test_classes_and_void_are_part_of_the_key():
    shared = SharedTarget()
    labels = torch.randint(2, (1, 4, 4))
    first = shared(labels, 2, 255)
    assert shared(labels, 2, 255) is first
    assert shared(labels, 3, 255).planes.shape[1] == 3
    assert not shared(labels, 3, 1).valid.all()
    assert shared(labels.clone(), 3, 1) is not shared(labels, 3, 1)


def test_maps_die_with_their_labels():
    labels = torch.randint(2, (1, 4, 4))
    shared_target(labels, 2, 255).measured(distance.distances_between, 'euclidean')
    assert shared_target._target is not None
    del labels
    gc.collect()
    assert shared_target._target is None


def test_inference_tensors_are_not_remembered():
    shared = SharedTarget()
    with torch.inference_mode():
        labels = torch.randint(2, (1, 4, 4))
        assert shared(labels, 2, 255) is not shared(labels, 2, 255)

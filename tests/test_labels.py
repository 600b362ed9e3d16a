import inspect

import numpy as np
import pytest
import torch

from mmseg_boundary import losses
from mmseg_boundary.labels import (
    as_tensor,
    encode,
    encode_pair,
    is_void,
)
from mmseg_boundary.metrics import count_boundary_iou, count_trimap_iou
from mmseg_boundary.metrics.contour_errors import count_contour_errors

VOID = 255


def test_masks_are_empty_at_void():
    target = encode(torch.tensor([[[0, 1, VOID]]]), 2)
    assert target.valid.tolist() == [[[[True, True, False]]]]
    assert target.masks.tolist() == [[[[True, False, False]], [[False, True, False]]]]


def test_one_logit_means_class_1_against_class_0():
    target = encode(torch.tensor([[[0, 1, VOID]]]), 1)
    assert target.masks.tolist() == [[[[False, True, False]]]]


def test_void_may_be_the_index_of_a_class():
    target = encode(torch.tensor([[[0, 1, 2]]]), 3, ignore_index=0)
    assert target.masks[0, 0].any().item() is False
    assert target.valid.tolist() == [[[[False, True, True]]]]


def test_masked_maps_are_zero_at_void_whatever_they_held():
    target = encode(torch.tensor([[[0, VOID]]]), 1)
    assert target.masked(torch.tensor([[[[3.0, torch.nan]]]])).tolist() == [[[[3.0, 0.0]]]]


@pytest.mark.parametrize('unknown', [-1, 2, 254])
def test_labels_outside_the_classes_are_named(unknown):
    with pytest.raises(ValueError, match=rf'labels hold \[{unknown}\].*2 classes.*void is 255'):
        encode(torch.tensor([[[0, 1, unknown]]]), 2)


@pytest.mark.parametrize(
    'labels',
    [
        torch.zeros(1, 2, 2),
        torch.zeros(2, 2, dtype=torch.long),
        torch.zeros(1, 2, 2) > 0,
        torch.zeros(1, 2, 2, dtype=torch.complex64),
    ],
)
def test_other_tensors_than_label_maps_are_refused(labels):
    with pytest.raises(ValueError, match='give class indices of shape'):
        encode(labels, 2)
    if labels.dtype != torch.long:
        with pytest.raises(ValueError, match='pred is .* of an integer type'):
            encode_pair(labels[0], labels[0], 2)


INTEGERS = [torch.uint8, torch.int16, torch.int32, torch.int64]
INTEGERS += [torch.uint16, torch.uint32, torch.uint64]


@pytest.mark.parametrize('dtype', INTEGERS)
def test_integer_types_agree(dtype):
    labels = torch.tensor([[[0, 1, VOID]]])
    ours, expected = encode(labels.to(dtype), 2), encode(labels, 2)
    assert ours.masks.equal(expected.masks) and ours.valid.equal(expected.valid)
    with pytest.raises(ValueError, match=r'labels hold \[7\]'):
        encode(torch.full((1, 1, 1), 7).to(dtype), 2)


# (type, void, the class that void would become if it were wrapped to the type)
WRAPPED = [
    (torch.uint8, -100, 156),
    (torch.uint8, -1, 255),
    (torch.uint8, 256, 0),
    (torch.uint8, 300, 44),
    (torch.int8, 256, 0),
    (torch.int16, 65536, 0),
    (torch.uint16, -1, 65535),
]


@pytest.mark.parametrize('dtype, void, number', WRAPPED)
def test_void_that_a_narrow_type_cannot_hold_is_nowhere(dtype, void, number):
    labels = torch.tensor([[[number]]]).to(dtype)
    classes = number + 2 if number < 1000 else 2
    if number < classes:
        target = encode(labels, classes, void)
        assert target.valid.all() and target.masks[0, number].all()
    else:
        with pytest.raises(ValueError, match=rf'labels hold \[{number}\].*void is {void}'):
            encode(labels, classes, void)
    assert not is_void(labels, void).any()


def test_a_negative_label_is_not_void_255():
    """255 of a uint8 file is -1 in int8."""
    labels = torch.tensor([[[0, 255]]], dtype=torch.uint8).view(torch.int8)
    with pytest.raises(ValueError, match=r'labels hold \[-1\]'):
        encode(labels, 2)
    assert encode(labels, 2, -1).valid.tolist() == [[[[True, False]]]]


@pytest.mark.parametrize('dtype, void, number', WRAPPED)
def test_it_is_nowhere_in_the_metrics_either(dtype, void, number):
    wide = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
    wide = wide.where(wide != 0, number)
    label, pred, classes = wide.to(dtype), torch.zeros_like(wide), number + 2
    for count in (
        lambda label: count_contour_errors(pred, label, void),
        lambda label: count_trimap_iou(pred, label, classes, (1, 2), void),
        lambda label: count_trimap_iou(pred, label, classes, (1, 2), void, True),
        lambda label: count_boundary_iou(pred, label, classes, (1, 2), void),
    ):
        assert count(label).equal(count(wide)) and count(label).any()


def test_results_are_cached_by_function_and_options():
    target = encode(torch.tensor([[[0, 1, VOID]]]), 2)

    def times(masks, factor):
        return factor * masks.float()

    assert target.cached(times, 3).amax() == 3
    assert target.cached(times, 2).amax() == 2
    assert target.cached(times, 2) is target.cached(times, 2)


# --- Arrays ---------------------------------------------------------------------------------------

MODULES = [name for name in losses.__all__ if inspect.isclass(getattr(losses, name))]
FUNCTIONS = [name for name in losses.__all__ if name not in MODULES]
LOGITS, LABELS = np.zeros((2, 3, 8, 8), np.float32), np.zeros((2, 8, 8), np.int64)


@pytest.mark.parametrize('name', MODULES)
@pytest.mark.parametrize('arrays', ['logits', 'labels', 'weight'])
def test_a_loss_names_the_array_that_it_was_given(name, arrays):
    """Its gradient would go nowhere."""
    given = dict(logits=torch.tensor(LOGITS), labels=torch.tensor(LABELS), weight=None)
    given[arrays] = dict(logits=LOGITS, labels=LABELS, weight=LABELS)[arrays]
    said = f'{arrays} came as a NumPy array; give a tensor, such as torch.from_numpy'
    with pytest.raises(ValueError, match=rf'^{said}\({arrays}\)\.$'):
        getattr(losses, name)()(*given.values())


@pytest.mark.parametrize('name', FUNCTIONS)
def test_so_does_a_pure_function(name):
    with pytest.raises(ValueError, match=r'came as a NumPy array; .* torch.from_numpy\('):
        getattr(losses, name)(LOGITS, encode(torch.tensor(LABELS), 3))


def test_labels_that_are_no_tensor_are_refused():
    with pytest.raises(ValueError, match=r'^labels came as a NumPy array; .*from_numpy\(labels\)'):
        encode(LABELS, 3)
    with pytest.raises(ValueError, match=r'^labels came as a list; .* torch.as_tensor\(labels\)'):
        encode(LABELS.tolist(), 3)


@pytest.mark.parametrize('kind', ['u1', 'u2', 'u4', 'u8', 'i1', 'i2', 'i4', 'i8', '?'])
def test_an_array_becomes_a_tensor_of_its_own(kind):
    """Torch before 2.3 has no wide unsigned type."""
    array = np.array([[0, 1], [1, 0]], kind)
    tensor = as_tensor(array)
    assert tensor.tolist() == array.tolist()
    assert tensor.dtype == {'?': torch.bool, 'u1': torch.uint8}.get(kind, tensor.dtype)
    assert tensor.dtype in (torch.int64, torch.int32, torch.int16, torch.int8) or kind in (
        '?',
        'u1',
    )
    tensor.fill_(0)
    assert array.any() and as_tensor(tensor) is tensor

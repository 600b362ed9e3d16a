import math

import pytest
import torch

from mmseg_boundary.labels import as_class_weight, encode, mean_over, require_class_weight

VOID = 255


def test_planes_are_empty_at_void():
    target = encode(torch.tensor([[[0, 1, VOID]]]), 2)
    assert target.valid.tolist() == [[[[True, True, False]]]]
    assert target.planes.tolist() == [[[[True, False, False]], [[False, True, False]]]]


def test_one_logit_means_class_1_against_class_0():
    target = encode(torch.tensor([[[0, 1, VOID]]]), 1)
    assert target.planes.tolist() == [[[[False, True, False]]]]


def test_void_may_be_the_index_of_a_class():
    target = encode(torch.tensor([[[0, 1, 2]]]), 3, ignore_index=0)
    assert target.planes[0, 0].any().item() is False
    assert target.valid.tolist() == [[[[False, True, True]]]]


def test_masked_fields_are_zero_at_void_whatever_stood_there():
    target = encode(torch.tensor([[[0, VOID]]]), 1)
    assert target.masked(torch.tensor([[[[3.0, torch.nan]]]])).tolist() == [[[[3.0, 0.0]]]]


@pytest.mark.parametrize('stranger', [-1, 2, 254])
def test_labels_outside_the_classes_are_named(stranger):
    with pytest.raises(ValueError, match=rf'labels hold \[{stranger}\].*2 classes.*void is 255'):
        encode(torch.tensor([[[0, 1, stranger]]]), 2)


@pytest.mark.parametrize(
    'labels', [torch.zeros(1, 2, 2), torch.zeros(2, 2, dtype=torch.long), torch.zeros(1, 2, 2) > 0]
)
def test_what_is_no_label_map_is_refused(labels):
    with pytest.raises(ValueError, match='give class indices of shape'):
        encode(labels, 2)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64])
def test_integer_types_agree(dtype):
    labels = torch.tensor([[[0, 1, VOID]]])
    assert encode(labels.to(dtype), 2).planes.equal(encode(labels, 2).planes)


def test_mean_over_the_eligible_weighted_by_class():
    """(1 x 2 + 3 x 4) / (1 + 3); the third pair is not eligible, however large."""
    values = torch.tensor([[2.0, 4.0, 100.0]])
    eligible = torch.tensor([[True, True, False]])
    weights = torch.tensor([1.0, 3.0, 5.0])
    assert mean_over(eligible, values, weights).item() == pytest.approx(3.5)
    assert mean_over(eligible, values).item() == 3


def test_mean_over_nothing_is_a_zero_with_a_graph():
    values = torch.ones(1, 2, requires_grad=True)
    mean = mean_over(torch.zeros(1, 2, dtype=torch.bool), values)
    mean.backward()
    assert mean.item() == 0 and values.grad.eq(0).all()


def test_class_weights_have_one_entry_per_logit():
    fields = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    assert as_class_weight([1, 2], fields).dtype == torch.float64
    for weights in ([1, 2, 3], [1]):
        with pytest.raises(ValueError, match=f'{len(weights)} entries for 2 logits'):
            as_class_weight(weights, fields)


@pytest.mark.parametrize('weight', [-1.0, math.inf, math.nan, None])
def test_class_weights_are_finite_and_not_negative(weight):
    with pytest.raises(ValueError, match='give a list of non-negative numbers'):
        require_class_weight([1.0, weight])


def test_what_is_measured_is_kept_by_ruler_and_options():
    target = encode(torch.tensor([[[0, 1, VOID]]]), 2)

    def times(regions, factor):
        return factor * regions.float()

    assert target.measured(times, 3).amax() == 3
    assert target.measured(times, 2).amax() == 2
    assert target.measured(times, 2) is target.measured(times, 2)

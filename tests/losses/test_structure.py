"""The structure loss against numbers worked by hand, the losses that it contains, the published
form, and the double loops."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mmseg_boundary.labels import encode
from mmseg_boundary.losses import (
    StructureLoss,
    boundary_weighted_ce_loss,
    jaccard_loss,
    soft_dice_loss,
    structure_loss,
)
from mmseg_boundary.losses.structure import count_around, surroundings_weight
from tests.support import naive
from tests.support.scenes import scenes
from tests.support.worked_example import BINARY_LABELS, BINARY_LOGITS, LABELS, LOGITS

TARGET, BINARY = encode(LABELS, 3), encode(BINARY_LABELS, 1)


def plain_ce(logits, target, **options):
    return boundary_weighted_ce_loss(logits, target, boundary_weight=0, **options)


def test_the_weights_by_hand():
    """1 + 5 x the others of the valid pixels in 3 x 3: of (0, 2), 2 of 6; of (2, 2), 5 of 9; of
    (2, 4), 2 of 8, since one is void."""
    w = surroundings_weight(TARGET, 3, 5.0)[0, 0]
    expected = {(0, 2): 2 / 6, (1, 2): 4 / 9, (2, 2): 5 / 9, (2, 4): 2 / 8, (3, 4): 2 / 5}
    for (row, column), share in expected.items():
        assert w[row, column].item() == pytest.approx(1 + 5 * share)
    assert w[0, 0] == 1 and w[3, 5] == 0


def test_values_by_hand():
    def value(**options):
        return structure_loss(LOGITS, TARGET, window=3, **options).item()

    assert value(overlap_weight=0) == pytest.approx(0.954906, abs=1e-6)
    assert value(ce_weight=0) == pytest.approx((0.611296 + 0.638142 + 0.559802) / 3, abs=1e-6)
    for k, term in enumerate((0.611296, 0.638142, 0.559802)):
        one = [float(k == each) for each in range(3)]
        assert value(ce_weight=0, class_weight=one) == pytest.approx(term, abs=1e-6)
    assert value() == pytest.approx(1.557986, abs=1e-6)
    assert value(ce_weight=2, overlap_weight=3) == pytest.approx(
        2 * value(overlap_weight=0) + 3 * value(ce_weight=0)
    )


def test_values_of_one_logit_by_hand():
    def value(**options):
        return structure_loss(BINARY_LOGITS, BINARY, window=3, one_vs_rest=True, **options).item()

    assert value(overlap_weight=0) == pytest.approx(0.742337, abs=1e-6)
    assert value(ce_weight=0) == pytest.approx(0.465198, abs=1e-6)
    assert value() == pytest.approx(1.207535, abs=1e-6)


def test_two_logits_have_the_cross_entropy_of_one():
    pair = torch.cat([0 * BINARY_LOGITS, BINARY_LOGITS], 1)
    value = structure_loss(pair, encode(BINARY_LABELS, 2), window=3, overlap_weight=0)
    assert value.item() == pytest.approx(0.742337, abs=1e-6)


@pytest.mark.parametrize('overlap, of_ours', [('iou', jaccard_loss), ('dice', soft_dice_loss)])
@given(scene=scenes())
def test_without_gamma_it_is_cross_entropy_and_an_overlap(overlap, of_ours, scene):
    one_vs_rest = scene.logits.shape[1] == 1
    value = structure_loss(
        scene.logits, scene.target, gamma=0, overlap=overlap, one_vs_rest=one_vs_rest
    )
    expected = plain_ce(scene.logits, scene.target, one_vs_rest=one_vs_rest)
    expected += of_ours(scene.probs, scene.target)
    assert value.item() == pytest.approx(expected.item(), abs=1e-12)


@given(scenes(num_logits=(1,)))
def test_the_weight_of_one_logit_is_the_published_one(scene):
    """1 + gamma |mean of y - y|, where void and what is outside of the image do not count; also
    with a logit for each of the two classes."""
    masks, valid = (each.double() for each in (scene.target.masks, scene.target.valid))

    def sums(values):
        return F.avg_pool2d(values, 5, stride=1, padding=2, divisor_override=1)

    mean = sums(masks) / sums(valid).clamp(min=1)
    expected = (1 + 5 * (mean - masks).abs()) * valid
    for target, one_vs_rest in ((scene.target, True), (encode(scene.labels, 2), False)):
        w = surroundings_weight(target, 5, 5.0, one_vs_rest, torch.float64)
        assert w.allclose(expected, rtol=0, atol=1e-12)


def test_the_published_cross_entropy_is_unweighted():
    """F³Net's code on the example, with void as background: `reduce='none'` gives the mean."""
    logits, y = BINARY_LOGITS, (BINARY_LABELS == 1)[:, None].double()
    w = 1 + 5 * (F.avg_pool2d(y, 3, stride=1, padding=1) - y).abs()
    with pytest.warns(UserWarning, match='size_average and reduce args will be deprecated'):
        costs = F.binary_cross_entropy_with_logits(logits, y, reduce='none')
    assert costs.shape == ()
    assert ((w * costs).sum() / w.sum()).item() == pytest.approx(0.569103, abs=1e-6)
    costs = F.binary_cross_entropy_with_logits(logits, y, reduction='none')
    assert ((w * costs).sum() / w.sum()).item() == pytest.approx(0.588817, abs=1e-6)
    # Of an object, (0, 4) lies at the image border alone.
    assert w[0, 0, 0, 4] > 2.5 and surroundings_weight(BINARY, 3, 5.0)[0, 0, 0, 4] == 1


def test_one_vs_rest_has_weights_of_its_own_for_each_class():
    """Between class 1 and 2, class 0 has nobody of another side."""
    row = encode(torch.tensor([[[0, 0, 1, 2]]]), 3)
    w = surroundings_weight(row, 3, 3.0, one_vs_rest=True)
    assert w[0, :, 0].tolist() == [[1, 2, 2, 1], [1, 2, 3, 2.5], [1, 1, 2, 2.5]]
    assert surroundings_weight(row, 3, 3.0)[0, 0, 0].tolist() == [1, 2, 3, 2.5]


@given(scenes(num_logits=(1, 2, 3)), st.booleans())
def test_agrees_with_the_definition(scene, one_vs_rest):
    num_logits = scene.logits.shape[1]
    one_vs_rest = one_vs_rest or num_logits == 1
    options = [
        dict(window=3, smooth=0.5, overlap='dice'),
        dict(window=5, gamma=1.5, class_weight=[0.5, 2.0, 0.0][:num_logits]),
    ]
    given_weight = torch.rand(scene.labels.shape, dtype=torch.float64)
    for option in options:
        option['one_vs_rest'] = one_vs_rest
        ours = structure_loss(scene.logits, scene.target, pixel_weight=given_weight, **option)
        theirs = naive.structure_loss(
            scene.logits, scene.labels, scene.void, weight=given_weight, **option
        )
        assert ours.item() == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_counts_are_exact_in_large_images():
    """The cumulative sums pass 2^24, up to which float32 has every whole number."""
    masks = torch.ones(4100, 4100, dtype=torch.bool)
    counts = count_around(masks, 3)
    assert masks.sum() > 2**24 and counts.dtype == torch.int32
    assert counts[1:-1, 1:-1].eq(9).all() and counts[-1, -1] == 4


def test_pixel_weights_are_of_the_cross_entropy_alone():
    logits, weight = LOGITS, torch.zeros(1, 4, 6)
    loss = StructureLoss(window=3)
    alone = StructureLoss(window=3, ce_weight=0.0)
    assert loss(logits, LABELS, weight=weight) == alone(logits, LABELS)
    words = "have no meaning with ce_weight=0, .*remove the head's `sampler`, or take a ce_weight"
    with pytest.raises(ValueError, match=words):
        alone(logits, LABELS, weight=weight)


@pytest.mark.parametrize(
    'arguments, words',
    [
        (dict(window=4), 'window is 4; give an odd number of pixels, 3 or more'),
        (dict(window=1), 'window is 1; give an odd number'),
        (dict(window=5.0), 'window is 5.0; give an odd number'),
        (dict(gamma=-1), 'gamma is -1; give 0 or more'),
        (dict(gamma=float('nan')), 'gamma is nan; give 0 or more'),
        (dict(overlap='jaccard'), "overlap is 'jaccard'; choose one of 'iou', 'dice'"),
        (dict(smooth=-1), 'smooth is -1; give 0 or more'),
        (dict(ce_weight=-1), 'ce_weight is -1; give 0 or more'),
        (dict(overlap_weight=float('inf')), 'overlap_weight is inf; give 0 or more'),
    ],
)
def test_wrong_arguments_are_named_at_once(arguments, words):
    with pytest.raises(ValueError, match=words):
        StructureLoss(**arguments)
    with pytest.raises(ValueError, match=words):
        structure_loss(LOGITS, TARGET, **arguments)

import math

import pytest
import torch

from mmseg_boundary.geometry.boundary import (
    MAX_SETS,
    class_boundaries,
    find_boundaries,
    shared_within,
    within,
)


def naive_boundaries(labels, valid):
    height, width = labels.shape
    found = torch.zeros(height, width, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width and valid[y, x] and valid[v, u]:
                    found[y, x] |= labels[y, x] != labels[v, u]
    return found


@pytest.mark.parametrize('seed', range(5))
def test_boundaries_agree_with_the_definition(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (2, 7, 9), generator=generator)
    valid = torch.rand(2, 7, 9, generator=generator) > 0.2
    found = find_boundaries(labels, valid)
    assert all(found[i].equal(naive_boundaries(labels[i], valid[i])) for i in range(2))
    everywhere = torch.ones_like(valid)
    assert find_boundaries(labels).equal(find_boundaries(labels, everywhere))


@pytest.mark.parametrize('width', [0, 1, 1.5, 3])
def test_within_agrees_with_the_definition(width):
    mask = torch.rand(8, 11, generator=torch.Generator().manual_seed(0)) > 0.95
    pixels = mask.nonzero().tolist()
    expected = [
        [any(math.hypot(y - v, x - u) <= width for v, u in pixels) for x in range(11)]
        for y in range(8)
    ]
    assert pixels and within(mask, width).tolist() == expected


def test_nothing_lies_within_reach_of_an_empty_mask():
    assert not within(torch.zeros(2, 5, 5, dtype=torch.bool), 3).any()


# --- Boundaries of many classes -------------------------------------------------------------------


@pytest.mark.parametrize('mode', ['davis', 'inner'])
def test_each_class_has_its_bit(mode):
    labels = torch.randint(MAX_SETS + 9, (15, 17), generator=torch.Generator().manual_seed(1))
    classes = list(range(2, MAX_SETS + 2))
    sets = class_boundaries(labels, classes, mode)
    for bit, number in enumerate(classes):
        alone = class_boundaries((labels == number).int(), [1], mode)
        assert (sets >> bit & 1).equal(alone)
    assert not class_boundaries(labels, [MAX_SETS + 20], mode).any()


def test_more_classes_than_bits_are_refused():
    with pytest.raises(ValueError, match='32 classes are asked for; give at most 31'):
        class_boundaries(torch.zeros(2, 2, dtype=torch.long), list(range(32)))


@pytest.mark.parametrize('shape', [(9, 11), (1, 12), (12, 1), (1, 1)])
def test_shared_within_agrees_with_the_definition(shape):
    """A tolerance just below a distance that occurs leaves this distance out."""
    generator = torch.Generator().manual_seed(2)
    radii = [3, 0, 1, math.sqrt(2), math.nextafter(5, 0), 5, 20]
    for density in (0.05, 0.4):
        bits = torch.rand(2, 3, *shape, generator=generator) < density
        sets, other = (sum(mask.int() << bit for bit, mask in enumerate(masks)) for masks in bits)
        places = sets.nonzero().tolist()
        expected = [
            [
                sum(
                    1 << k
                    for k in range(3)
                    if bits[0, k, y, x]
                    and any(math.hypot(y - v, x - u) <= r for v, u in bits[1, k].nonzero().tolist())
                )
                for y, x in places
            ]
            for r in radii
        ]
        assert shared_within(sets, other, radii).tolist() == expected

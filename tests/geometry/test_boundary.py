import math

import pytest
import torch

from mmseg_boundary.geometry.boundary import transitions, within


def naive_transitions(labels, valid):
    height, width = labels.shape
    found = torch.zeros(height, width, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width and valid[y, x] and valid[v, u]:
                    found[y, x] |= labels[y, x] != labels[v, u]
    return found


@pytest.mark.parametrize('seed', range(5))
def test_transitions_agree_with_the_definition(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (2, 7, 9), generator=generator)
    valid = torch.rand(2, 7, 9, generator=generator) > 0.2
    found = transitions(labels, valid)
    assert all(found[i].equal(naive_transitions(labels[i], valid[i])) for i in range(2))
    everywhere = torch.ones_like(valid)
    assert transitions(labels).equal(transitions(labels, everywhere))


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

"""500 steps of each loss leave the peak of the memory where 50 have put it."""

import sys

import pytest

from tests.support.commands import ROOT, run
from tests.support.losses import LOSSES
from tests.support.skips import needs_gpu

# The allocator's own growth, which ends within some 1,000 steps, reaches 0.5 MiB. The least that a
# step can leave behind, a scalar with what is left of its graph, makes 2.4 MiB of 500.
MARGIN = 1.5 * 2**20


def growth(*arguments):
    return int(run(sys.executable, ROOT / 'tests/support/steps.py', *arguments).split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize('name', LOSSES)
def test_memory_stays_flat(name):
    assert growth(name) < MARGIN


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize('name', LOSSES)
def test_memory_stays_flat_on_cuda(name):
    """Where every byte is counted."""
    assert growth(name, '--device', 'cuda') == 0


@pytest.mark.slow
@pytest.mark.parametrize('kept', ['value', 'target'])
def test_a_leak_is_seen(kept):
    assert growth('SoftDiceLoss', '--keep', kept) > MARGIN

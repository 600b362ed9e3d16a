"""Several ranks with uneven shares, one of them without a labelled pixel, and one process."""

import sys

import pytest
import torch

from tests.support.commands import ROOT, run
from tests.support.losses import LOSSES
from tests.support.ranks import EVALUATIONS, VOID_RANK, Training, evaluate


@pytest.fixture(scope='module')
def groups(tmp_path_factory):
    """{number of ranks: what each of them got}."""
    folder = tmp_path_factory.mktemp('ranks')
    path = str(ROOT)
    run(sys.executable, '-m', 'tests.support.ranks', folder, 2, 4, cwd=folder, PYTHONPATH=path)
    return {
        ranks: [torch.load(folder / f'{ranks}_{rank}.pth') for rank in range(ranks)]
        for ranks in (2, 4)
    }


@pytest.fixture(scope='module')
def training():
    return Training()


@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_is_the_mean_over_the_shares(name, groups, training):
    """Value and gradients; the rank without a labelled pixel counts as zero."""
    shares = [training.step(name, rank) for rank in range(4)]
    value, gradient = shares[VOID_RANK]
    assert value == 0 and gradient.eq(0).all()
    assert all(
        gradient.ne(0).any() for rank, (_, gradient) in enumerate(shares) if rank != VOID_RANK
    )
    for ranks, found in groups.items():
        expected_value = torch.stack([value for value, _ in shares[:ranks]]).mean()
        expected = torch.stack([gradient for _, gradient in shares[:ranks]]).mean(0)
        for rank in found:
            value, gradient = rank['losses'][name]
            torch.testing.assert_close(value, expected_value, rtol=1e-6, atol=0)
            # Sums of floats in another order.
            assert (gradient - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize('ranks', [2, 4])
@pytest.mark.parametrize('case', range(len(EVALUATIONS)))
def test_metrics_are_the_same_to_the_last_bit(ranks, case, groups):
    images, _ = EVALUATIONS[case]
    expected = evaluate(images, range(images))
    assert len(expected) > 20 and expected['mBoundaryF_3px'] > 1
    for rank in groups[ranks]:
        assert rank['metrics'][case] == expected


@pytest.mark.parametrize('ranks', [2, 4])
def test_all_ranks_agree_which_losses_are_not_called(ranks, groups):
    assert [rank['uncalled'] for rank in groups[ranks]] == [['decode.loss_2']] * ranks

"""Seeds the random numbers of every iteration from the seed and the iteration alone."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from .. import stacks

SAMPLES, STEP = 0, 1


@HOOKS.register_module()
class StepSeed(Hook):
    """Makes the randomness of iteration i a function of (seed, rank, i) alone.

    MMEngine stores no state of random numbers: a resumed run draws other numbers than an unbroken
    one, and ends in other weights. With this hook both end in the same bits. Runs that begin from
    one checkpoint and differ in their losses alone draw the same numbers too.

    NumPy, `random` and torch are seeded twice per iteration: before its batch is loaded (before
    training, after the previous iteration, and after a validation in between) and before its step.
    The sampler has to skip to the iteration of a resume by itself, as onedl's `InfiniteSampler`
    does.

    Raises:
        ValueError: the stack is mmlab, whose sampler cannot skip; or, when training begins, the
            training data are loaded by workers, which have random numbers of their own.

    Deviations: a loader that is built anew draws one number from torch before its first batch, so
    that transforms which draw from torch differ in the first batch after a resume. Those of
    MMSegmentation draw from NumPy and `random`.
    """

    # The first of all: another hook may draw.
    priority = 'HIGHEST'

    def __init__(self) -> None:
        if stacks.STACK != 'onedl':
            raise ValueError(
                'StepSeed needs the onedl stack, whose sampler goes on where a run was broken off; '
                f"this is {stacks.STACK}. Install the other (pip install -e '.[onedl]'), or take "
                'StepSeed out of custom_hooks.'
            )

    def before_train(self, runner: Runner) -> None:
        """Seeds what the first batch draws."""
        workers = runner.train_dataloader.num_workers
        if workers:
            raise ValueError(
                f'StepSeed is used with train_dataloader.num_workers={workers}, and workers draw '
                'random numbers of their own: set train_dataloader.num_workers=0 and '
                'train_dataloader.persistent_workers=False.'
            )
        _seed(runner, runner.iter, SAMPLES)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seeds what the net and its losses draw."""
        _seed(runner, runner.iter, STEP)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Seeds what the next batch draws."""
        _seed(runner, runner.iter + 1, SAMPLES)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Seeds again what the next batch draws; the loop has counted the iteration by now."""
        _seed(runner, runner.iter, SAMPLES)


def _seed(runner: Runner, iteration: int, part: int) -> None:
    words = np.random.SeedSequence([runner.seed, get_rank(), iteration, part])
    seed = int(words.generate_state(1, np.uint32)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

"""Randomness by the iteration: a run that is resumed or forked ends in the bits of one that is not.

Of the onedl stack alone; tests/registered/test_hooks.py has the refusal on the other."""

import os
import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import CheckpointLoader
from mmseg.registry import HOOKS

from tests.support.small_run import train, write_config, write_data


class DrawsInValidation(Hook):
    """As a validation may that paints or crops at random."""

    def before_val_epoch(self, runner):
        random.random(), np.random.random(3), torch.rand(5)


@pytest.fixture
def folder(tmp_path):
    """Six iterations with a shuffled set, random transforms, dropout, and a validation at three."""
    write_data(tmp_path / 'data', 'abcde')
    write_config(tmp_path)
    config = Config.fromfile(tmp_path / 'config.py').to_dict()
    transforms = config['train_dataloader']['dataset']['pipeline']
    transforms[2:2] = [dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion')]
    config['train_dataloader']['sampler']['shuffle'] = True
    config['train_cfg'].update(max_iters=6, val_interval=3)
    config['custom_hooks'] = [dict(type='StepSeed'), dict(type='DrawsInValidation')]
    config['optim_wrapper']['optimizer']['lr'] = 0.01
    (tmp_path / 'config.py').write_text(''.join(f'{k} = {v!r}\n' for k, v in config.items()))
    HOOKS.register_module(module=DrawsInValidation, force=True)
    yield tmp_path
    HOOKS.module_dict.pop('DrawsInValidation')


def weights(folder, work='work'):
    return CheckpointLoader.load_checkpoint(str(folder / work / 'iter_6.pth'), 'cpu')['state_dict']


def largest_difference(ours, theirs):
    assert ours.keys() == theirs.keys()
    return max((ours[key].double() - theirs[key].double()).abs().max().item() for key in ours)


def fork(folder, *options):
    """A run in another folder, from the state of the first at three."""
    (folder / 'fork').mkdir()
    os.link(folder / 'work/iter_3.pth', folder / 'fork/iter_3.pth')
    assert train(folder, *options, resume=True, work='fork') is None
    return weights(folder, 'fork')


def set_hooks(folder, *names):
    path = folder / 'config.py'
    lines = [line for line in path.read_text().splitlines() if not line.startswith('custom_hooks')]
    hooks = [dict(type=name) for name in names]
    path.write_text('\n'.join([*lines, f'custom_hooks = {hooks}']))


def test_a_fork_with_the_same_losses_is_the_base(folder):
    assert train(folder) is None
    before = weights(folder)
    np.random.seed(9)  # what another process has drawn does not show
    torch.manual_seed(9)
    assert largest_difference(fork(folder), before) == 0.0
    assert train(folder, 'randomness.seed=1') is None
    assert largest_difference(weights(folder), before) > 1e-4


def test_without_the_hook_it_is_another_run(folder):
    """So the run has something random in it, on both sides of the fork."""
    set_hooks(folder, 'DrawsInValidation')
    assert train(folder) is None
    before = weights(folder)
    assert largest_difference(fork(folder), before) > 1e-4


def test_a_validation_and_the_losses_change_no_draw(folder):
    """The samples of iteration i, and what the net draws there, in three kinds of runs."""
    drawn = {}

    class RecordDraws(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            pixels = sum(image.double().sum().item() for image in data_batch['inputs'])
            with torch.random.fork_rng():
                drawn.setdefault(runner.iter, set()).add((pixels, torch.rand(1).item()))

    HOOKS.register_module(module=RecordDraws, force=True)
    set_hooks(folder, 'StepSeed', 'DrawsInValidation', 'RecordDraws')
    try:
        assert train(folder) is None
        assert train(folder, 'train_cfg.val_interval=100') is None
        fork(folder, 'model.decode_head.loss_decode.0.loss_weight=3')
    finally:
        HOOKS.module_dict.pop('RecordDraws')
    assert sorted(drawn) == list(range(6))
    assert {len(each) for each in drawn.values()} == {1}
    assert len(set.union(*drawn.values())) == 6


def test_workers_are_refused(folder):
    said = train(folder, 'train_dataloader.num_workers=1')
    assert said.startswith('StepSeed is used with train_dataloader.num_workers=1, and workers draw')
    assert not list((folder / 'work').glob('*.pth'))

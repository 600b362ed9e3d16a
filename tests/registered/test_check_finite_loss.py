"""CheckFiniteLossHook, called as the runner calls it."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.runner import get_priority
from mmseg.registry import HOOKS

from mmseg_boundary.registered import check_finite_loss
from tests.support.skips import needs_gpu


def check_outputs(**outputs):
    """Has the hook check the outputs of the seventh iteration, on one rank."""
    values = {
        key.replace('__', '.'): value if torch.is_tensor(value) else torch.tensor(value)
        for key, value in outputs.items()
    }
    check = HOOKS.build(dict(type='CheckFiniteLossHook'))
    check.after_train_iter(SimpleNamespace(iter=6), 6, None, values)


@pytest.mark.parametrize(
    'outputs, said',
    [
        (
            dict(loss=math.nan, decode__loss_ce=1.0, decode__loss_epl=math.nan),
            'decode.loss_epl is nan',
        ),
        (
            dict(loss=math.nan, decode__loss_ce=math.inf, aux__loss_ce=-math.inf),
            'decode.loss_ce is inf, aux.loss_ce is -inf',
        ),
        (dict(loss=math.inf, decode__loss_ce=3e38, aux__loss_ce=3e38), 'loss is inf'),
    ],
)
def test_losses_that_are_nan_or_infinite_are_named(outputs, said):
    with pytest.raises(
        check_finite_loss.NonFiniteLoss, match=f'^{re.escape(said)} at iteration 7. '
    ):
        check_outputs(**outputs)


def test_losses_are_brought_to_one_device():
    """A model logs numbers of Python's beside tensors, and the default device is another."""
    check = HOOKS.build(dict(type='CheckFiniteLossHook'))
    values = {'loss': torch.tensor(2.0), 'decode.loss_ce': 1.0, 'aux.loss_ce': torch.tensor(1.0)}
    with torch.device('meta'):
        check.after_train_iter(SimpleNamespace(iter=6), 6, None, values)
        with pytest.raises(check_finite_loss.NonFiniteLoss, match='^decode.loss_ce is nan at'):
            values['decode.loss_ce'] = math.nan
            check.after_train_iter(SimpleNamespace(iter=6), 6, None, values)


@needs_gpu
@pytest.mark.parametrize('first, second', [('cuda', 'cpu'), ('cpu', 'cuda')])
def test_losses_on_two_devices(first, second):
    outputs = dict(loss=torch.tensor(2.0, device=first))
    check_outputs(**outputs, decode__loss_ce=torch.tensor(1.0, device=second))
    with pytest.raises(check_finite_loss.NonFiniteLoss, match='^decode.loss_ce is inf at'):
        check_outputs(**outputs, decode__loss_ce=torch.tensor(math.inf, device=second))


def test_what_is_no_loss_may_be_nan():
    """The accuracy is, where no pixel is labelled."""
    check_outputs(loss=1.0, decode__loss_ce=1.0, decode__acc_seg=math.nan)
    HOOKS.build(dict(type='CheckFiniteLossHook')).after_train_iter(None, 0, None, None)


def test_losses_are_checked_before_the_checkpoint_is_written():
    """And after the log, which has the value then."""
    check, write = check_finite_loss.CheckFiniteLossHook.priority, CheckpointHook.priority
    log = LoggerHook.priority
    assert get_priority(log) < get_priority(check) < get_priority(write)

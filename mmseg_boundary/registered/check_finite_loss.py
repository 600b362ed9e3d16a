"""Ends training at losses that are NaN or infinite, and reports losses that are never called."""

import logging

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from .model_losses import OURS, LossCalls, UncalledLoss


class NonFiniteLoss(FloatingPointError):
    """Some losses are NaN or infinite; says which, and at which iteration."""

    same_on_all_ranks = True


@HOOKS.register_module()
class CheckFiniteLossHook(Hook):
    """Ends training at the first iteration in which a loss is NaN or infinite, and names it; after
    the first iteration, reports which of our losses were not called.

    Checks every loss that is trained on, by its key in the log ('decode.loss_epl'), and their sum
    ('loss') where these are finite. All ranks end if one of them sees such a loss, since its
    gradients went into the weights of all; the check comes before MMEngine's CheckpointHook, so
    that these weights are not stored. Per iteration it waits for the device, as MMEngine does to
    log the same values, and for the other ranks.

    A loss of ours under a head of the model (`LossSum` and `NeighbourPenalised` too) that no rank
    called in the first iteration after the start, or after a resume, trains nothing: DDRHead and
    PIDHead, for two, call their losses by position.

    `tools/train.py` adds it to every config, with uncalled_loss='stop' unless the config says
    otherwise. (MMDetection's CheckInvalidLossHook checks the sum alone, at intervals.)

    Args:
        uncalled_loss: 'warn' logs one warning about such losses; 'stop' ends training. Under 'warn'
            a head may call a loss of ours later.

    Raises:
        ValueError: `uncalled_loss` is neither.
        NonFiniteLoss: on all ranks, with the same message.
        UncalledLoss: likewise, with 'stop'.
    """

    priority = 'LOW'  # after LoggerHook, so that the log has the values; before CheckpointHook

    def __init__(self, uncalled_loss: str = 'warn') -> None:
        if uncalled_loss not in ('warn', 'stop'):
            raise ValueError(f"uncalled_loss is {uncalled_loss!r}; choose 'warn' or 'stop'.")
        self.uncalled_loss = uncalled_loss
        self.calls = None

    def before_train(self, runner: Runner) -> None:
        """Watches the losses of the model from here on."""
        self.calls = LossCalls(runner.model)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks the losses of this iteration and, after the first, which losses were called."""
        calls, self.calls = self.calls, None
        if calls:
            self._check_calls(calls)
        found = non_finite(outputs or {})
        somewhere = torch.tensor(float(bool(found)), device='cpu')
        all_reduce(somewhere, 'max')
        if somewhere.item() == 0:
            return
        ranks = all_gather_object(found)
        one = len(ranks) == 1
        said = '; '.join(
            ', '.join(f'{key} is {value}' for key, value in losses.items())
            + ('' if one else f' on rank {rank}')
            for rank, losses in enumerate(ranks)
            if losses
        )
        raise NonFiniteLoss(
            f'{said} at iteration {runner.iter + 1}. Training stops here, and these weights are '
            'not stored. Clip the gradients (--cfg-options optim_wrapper.clip_grad._delete_=True '
            'optim_wrapper.clip_grad.max_norm=1), lower the learning rate or train without --amp.'
        )

    def _check_calls(self, calls: LossCalls) -> None:
        missed = calls.missed()
        ours = [entry for entry in missed if isinstance(entry.loss, OURS)]
        if not ours:
            return
        sentence = calls.explain(ours, missed)
        if self.uncalled_loss == 'stop':
            raise UncalledLoss(sentence)
        print_log(sentence, logger='current', level=logging.WARNING)


def non_finite(outputs: dict) -> dict[str, float]:
    """{key: value} of the losses that are NaN or infinite; their sum only where these are not."""
    values = {
        key: value
        for key, value in outputs.items()
        if 'loss' in key and isinstance(value, (torch.Tensor, float))
    }
    # One device for all, that of a loss on an accelerator if there is one: a model may be spread
    # over several, and log numbers of Python's.
    devices = [value.device for value in values.values() if isinstance(value, torch.Tensor)]
    device = max(devices, key=lambda each: each.type != 'cpu', default='cpu')
    losses = {
        key: torch.as_tensor(value, device=device).detach().float().mean()
        for key, value in values.items()
    }
    if not losses or torch.stack(list(losses.values())).isfinite().all():
        return {}
    found = {key: value.item() for key, value in losses.items() if not value.isfinite()}
    parts = {key: value for key, value in found.items() if key != 'loss'}
    return parts or found

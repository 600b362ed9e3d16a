"""Hooks on losses in training: one moves their weights, one stops where they are no numbers."""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.utils import is_list_of
from mmseg.registry import HOOKS
from torch import nn
from torch.utils.data import DataLoader


def constant(epoch: int, start: float = 1.0) -> float:
    """`start` throughout; 1 keeps the configured weight."""
    return start


def increase(epoch: int, start: float = 0.01, step: float = 0.01, stop: float = 1.0) -> float:
    """min(stop, start + step * epoch), for the boundary loss.

    >>> [increase(epoch) for epoch in (0, 1, 49, 99, 200)]
    [0.01, 0.02, 0.5, 1.0, 1.0]
    """
    return min(stop, start + step * epoch)


def rebalance(epoch: int, step: float = 0.01, floor: float = 0.1) -> float:
    """max(floor, 1 - step * epoch), for the regional loss, while the boundary loss increases.

    >>> [rebalance(epoch) for epoch in (0, 1, 50, 90, 200)]
    [1.0, 0.99, 0.5, 0.1, 0.1]
    """
    return max(floor, 1.0 - step * epoch)


KINDS = {'constant': constant, 'increase': increase, 'rebalance': rebalance}


@HOOKS.register_module()
class LossWeightSchedule(Hook):
    """Moves the weights of several losses, as Kervadec et al. do with theirs.

    In epoch e, counted from 0, each scheduled loss has the weight

        its configured `loss_weight` * factor(e)
        factor(e) = start                       'constant' (start is 1 if not given)
                    min(stop, start + step e)   'increase'
                    max(floor, 1 - step e)      'rebalance'

    so that the weights follow from the iteration alone and are right after a resume. The three
    strategies of Kervadec et al. (MIDL 2019; Medical Image Analysis 67, 2021) are

        constant:  no hook, or 'constant' for the boundary loss to have its weight logged
        increase:  'increase' for the boundary loss
        rebalance: 'increase' for the boundary loss and 'rebalance' for the regional one

    with the defaults of the authors' schedulers (`AddWeightLoss`, `StealWeight`), which step once
    per epoch: their factors sum to 1.01 until the regional one rests on its floor at e = 90. (The
    paper writes (1 - a) regional + a boundary, a sum of 1 without a floor.)

    The weights are logged under the keys of their losses with 'weight' for 'loss':
    `decode.weight_kervadec`. MMEngine averages what has 'loss' in its key over a window.

    Args:
        schedules: one dict per loss: `loss`, its key in the log ('decode.loss_ce'; without the
            head's name where only one head has such a loss), `kind`, and the kind's own numbers
            (`start`; `start`, `step`, `stop`; `step`, `floor`).
        interval: 'epoch', or the number of iterations that count as one. In a run that counts
            iterations, 'epoch' is ceil(images / (batch size * ranks)) of them. With accumulated
            gradients an iteration is still one batch.

    Raises:
        ValueError: a schedule is not one of these, or (when training begins) no loss, or more than
            one, is meant by a key.
    """

    def __init__(self, schedules: Sequence[dict], interval: str | int = 'epoch') -> None:
        if interval != 'epoch' and not (_is_number(interval, int) and interval > 0):
            raise ValueError(
                f"interval is {interval!r}; give 'epoch' or a positive number of iterations."
            )
        if not schedules or not is_list_of(schedules, dict):
            raise ValueError(f'schedules is {schedules!r}; give a list of dicts, one per loss.')
        self.interval = interval
        self.factors = [_read_schedule(**schedule) for schedule in schedules]

    def before_train(self, runner: Runner) -> None:
        """Finds the losses, so that a wrong key ends the run before it begins."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.scheduled = {}
        for name, factor in self.factors:
            key, loss = find_loss(model, name)
            if key in self.scheduled:
                raise ValueError(f'schedules names {key!r} twice; keep one of the two.')
            self.scheduled[key] = loss, loss.loss_weight, factor
        self.period = self._iterations_per_epoch(runner)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Sets and logs the weights of this iteration."""
        epoch = runner.epoch if self.period is None else runner.iter // self.period
        for key, (loss, configured, factor) in self.scheduled.items():
            loss.loss_weight = configured * factor(epoch)
            runner.message_hub.update_scalar(
                f'train/{key.replace("loss", "weight")}', loss.loss_weight
            )

    def after_train(self, runner: Runner) -> None:
        """Leaves the configured weights, from which another training would start."""
        for loss, configured, _ in self.scheduled.values():
            loss.loss_weight = configured

    def _iterations_per_epoch(self, runner: Runner) -> int | None:
        """None where the loop counts epochs itself."""
        if self.interval != 'epoch':
            return self.interval
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            return None
        return _iterations_over(runner.train_dataloader)


class NonFiniteLoss(FloatingPointError):
    """Which losses are no numbers, and at which iteration."""


@HOOKS.register_module()
class CheckFiniteLossHook(Hook):
    """Ends training at the first iteration in which a loss is NaN or infinite, and names it.

    Looks at every loss that is trained on, by its key in the log ('decode.loss_epl'), and at their
    sum ('loss') where these are finite. All ranks end if one of them sees such a loss, since its
    gradients went into the weights of all; the check comes before MMEngine's CheckpointHook, so
    that these weights are not stored. Per iteration it waits for the device, as MMEngine does to
    log the same values, and for the other ranks.

    `tools/train.py` adds it to every config. (MMDetection's CheckInvalidLossHook looks at the sum
    alone, now and then.)

    Raises:
        NonFiniteLoss: on all ranks, with the same message.
    """

    priority = 'LOW'  # after LoggerHook, so that the log has the values; before CheckpointHook

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Looks at the losses of this iteration."""
        found = _non_finite(outputs or {})
        somewhere = torch.tensor(float(bool(found)))
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


def _non_finite(outputs: dict) -> dict[str, float]:
    """{key: value} of the losses that are NaN or infinite; their sum only where these are not."""
    losses = {
        key: torch.as_tensor(value).detach().float().mean()
        for key, value in outputs.items()
        if 'loss' in key and isinstance(value, (torch.Tensor, float))
    }
    if not losses or torch.stack(list(losses.values())).isfinite().all():
        return {}
    found = {key: value.item() for key, value in losses.items() if not value.isfinite()}
    parts = {key: value for key, value in found.items() if key != 'loss'}
    return parts or found


def heads_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """The heads of a segmentor as its log names them: 'decode', 'aux', in lists 'decode_0', …"""
    named = {}
    for part, name in (('decode_head', 'decode'), ('auxiliary_head', 'aux')):
        heads = getattr(model, part, None)
        if isinstance(heads, nn.ModuleList):
            named |= {f'{name}_{index}': head for index, head in enumerate(heads)}
        elif heads is not None:
            named[name] = heads
    return named


def losses_by_key(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The losses in the heads of a segmentor under their keys in the log.

    Losses of one head with the same name share a key: MMSegmentation logs their sum.

    Returns:
        Such as {'decode.loss_ce': [CrossEntropyLoss()], 'aux_0.loss_ce': [CrossEntropyLoss()]}.
    """
    found = {}
    for name, head in heads_by_name(model).items():
        losses = getattr(head, 'loss_decode', nn.ModuleList())
        # PointRend's head, alone, puts a word before the names of its losses
        point = 'point' if hasattr(head, 'get_points_train') else ''
        for loss in losses if isinstance(losses, nn.ModuleList) else [losses]:
            # MMEngine trains nothing else
            if 'loss' in loss.loss_name:
                found.setdefault(f'{name}.{point}{loss.loss_name}', []).append(loss)
    return found


def find_loss(model: nn.Module, name: str) -> tuple[str, nn.Module]:
    """The one loss that is meant, and its whole key: `name` may lack the head.

    Raises:
        ValueError: none or several are meant, or the loss has no `loss_weight`.
    """
    known = losses_by_key(model)
    keys = [name] if name in known else [key for key in known if key.split('.', 1)[1] == name]
    if not keys:
        raise ValueError(
            f'No loss of this model is logged as {name!r}; choose one of {_quoted(known)}.'
        )
    if len(keys) > 1:
        raise ValueError(f'{name!r} is the name of several losses; choose one of {_quoted(keys)}.')
    if len(known[keys[0]]) > 1:
        raise ValueError(
            f'{len(known[keys[0]])} losses share the key {keys[0]!r}: give each a `loss_name` of '
            'its own in the config.'
        )
    (loss,) = known[keys[0]]
    if not hasattr(loss, 'loss_weight'):
        raise ValueError(
            f'{keys[0]!r} is a {type(loss).__name__}, which has no `loss_weight` to move: take it '
            'out of the schedules.'
        )
    return keys[0], loss


def _read_schedule(
    loss: str | None = None, kind: str | None = None, **numbers: float
) -> tuple[str, Callable[[int], float]]:
    """The name of a loss and its factor as a function of the epoch."""
    if not isinstance(loss, str):
        raise ValueError(
            f"A schedule has loss={loss!r}; give the loss's key in the log, such as "
            "'decode.loss_ce'."
        )
    if kind not in KINDS:
        raise ValueError(f'kind of {loss!r} is {kind!r}; choose one of {_quoted(KINDS)}.')
    _, *allowed = inspect.signature(KINDS[kind]).parameters
    for option, value in numbers.items():
        if option not in allowed:
            raise ValueError(
                f'{option!r} has no meaning for the kind {kind!r} of {loss!r}, which takes '
                f"{_quoted(allowed)}: remove it. (Kervadec's rebalancing is two entries: "
                "'rebalance' for the regional loss, 'increase' for the boundary loss.)"
            )
        if not _is_number(value, (int, float)) or not 0 <= value < math.inf:
            raise ValueError(f'{option} of {loss!r} is {value!r}; give a non-negative number.')
    if kind == 'increase' and increase(0, **numbers) < numbers.get('start', 0):
        raise ValueError(f'{loss!r} starts above its stop ({numbers}); exchange start and stop.')
    if numbers.get('floor', 0) > 1:
        raise ValueError(f'floor of {loss!r} is {numbers["floor"]!r}; 1 - step * e is at most 1.')
    return loss, partial(KINDS[kind], **numbers)


def _iterations_over(loader: DataLoader) -> int:
    """How many batches, on all ranks together, show as many images as there are."""
    batch_size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
    if not hasattr(loader.dataset, '__len__') or batch_size is None:
        raise ValueError(
            "interval='epoch' needs a data set and batches of known length; give the number of "
            'iterations instead: interval=1000.'
        )
    return math.ceil(len(loader.dataset) / (batch_size * get_world_size()))


def _is_number(value: object, types: type | tuple[type, ...]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def _quoted(names: Sequence[str]) -> str:
    return ', '.join(map(repr, names))

"""Schedules for the weights of losses."""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.utils import is_list_of
from mmseg.registry import HOOKS
from torch.utils.data import DataLoader

from .model_losses import LossCalls, UncalledLoss, find_loss, quoted


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
            (`start`; `start`, `step`, `stop`; `step`, `floor`). K-Net logs one loss once per stage
            ('decode.loss_ce.s0', ...): it has one weight, and the key 'decode.loss_ce'. A loss in
            a `LossSum` or `NeighbourPenalised`, whose value alone is logged, has the key of that
            before its own name: 'decode.loss_sum.loss_epl', or 'decode.loss_epl' where one loss
            alone is meant by it.
        interval: 'epoch', or the number of iterations that count as one. In a run that counts
            iterations, 'epoch' is ceil(images / (batch size * ranks)) of them. With accumulated
            gradients an iteration is still one batch.

    Raises:
        ValueError: a schedule is not one of these, or (when training begins) no loss, or more than
            one, is meant by a key.
        UncalledLoss: after the first iteration, on all ranks: a scheduled loss was not called.
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
        self.calls = None

    def before_train(self, runner: Runner) -> None:
        """Finds the losses, so that a wrong key ends the run before it begins."""
        self.scheduled = {}
        for name, factor in self.factors:
            entry = find_loss(runner.model, name)
            if entry.key in self.scheduled:
                raise ValueError(f'schedules names {entry.key!r} twice; keep one of the two.')
            self.scheduled[entry.key] = entry.loss, entry.loss.loss_weight, factor
        self.period = self._iterations_per_epoch(runner)
        self.calls = LossCalls(runner.model)

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

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks after the first iteration that the scheduled losses were called."""
        calls, self.calls = self.calls, None
        missed = calls.missed() if calls else []
        idle = [entry for entry in missed if entry.key in self.scheduled]
        if idle:
            raise UncalledLoss(
                f'schedules moves the weight of {quoted(dict.fromkeys(e.key for e in idle))}, '
                f'which the first iteration did not call. {calls.explain(idle, missed)}'
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
        raise ValueError(f'kind of {loss!r} is {kind!r}; choose one of {quoted(KINDS)}.')
    _, *allowed = inspect.signature(KINDS[kind]).parameters
    for option, value in numbers.items():
        if option not in allowed:
            raise ValueError(
                f'{option!r} has no meaning for the kind {kind!r} of {loss!r}, which takes '
                f"{quoted(allowed)}: remove it. (Kervadec's rebalancing is two entries: "
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
    """The number of iterations in which all ranks together see as many images as there are."""
    batch_size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
    if not hasattr(loader.dataset, '__len__') or batch_size is None:
        raise ValueError(
            "interval='epoch' needs a data set and batches of known length; give the number of "
            'iterations instead: interval=1000.'
        )
    return math.ceil(len(loader.dataset) / (batch_size * get_world_size()))


def _is_number(value: object, types: type | tuple[type, ...]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)

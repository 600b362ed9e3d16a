"""What losses have in common that are made of other losses."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from ..labels import require_tensor
from ..losses.decode_head_loss import require_ignore_index, require_loss_name, settings_of


class LossWrapper(nn.Module, ABC):
    """A loss that calls other losses, in one place of `loss_decode`.

    The log has its value alone. Schedules find the losses in it (`held`) by its key and their own:
    'decode.loss_sum.loss_epl'. A wrapper may hold another.

    Args:
        losses: those that it calls.
        ignore_index: the void label; None means the head's, or where the head passes none (DDRHead;
            PIDHead in three of its four places) each loss's own, else 255.
        loss_weight: the factor of the value.
        loss_name: the key in the log. MMEngine trains what has 'loss' in its key.
    """

    place = 'losses[{}]'  # of each loss, as the arguments have it

    def __init__(
        self,
        losses: Iterable[nn.Module],
        ignore_index: int | None,
        loss_weight: float,
        loss_name: str,
    ) -> None:
        super().__init__()
        require_loss_name(loss_name)
        require_ignore_index(ignore_index)
        self.losses = nn.ModuleList(losses)
        self._taken = [_takes(loss) for loss in self.losses]
        self.ignore_index = ignore_index
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    @property
    def held(self) -> dict[str, nn.Module]:
        """The losses by their places: 'losses[0]'."""
        return {self.place.format(index): loss for index, loss in enumerate(self.losses)}

    def extra_repr(self) -> str:
        """The settings; torch adds the losses."""
        return settings_of(self, {})

    @abstractmethod
    def value(self, seg_logits: Tensor, seg_label: Tensor, given: dict) -> Tensor:
        """The unweighted value; `given` are the head's other arguments, for `total`."""

    def forward(
        self,
        seg_logits: Tensor,
        seg_label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The weighted value of a batch.

        Args:
            seg_logits, seg_label: what the head gives each of its losses.
            weight: a sampler's pixel weights; for the losses that take any. (Among MMSegmentation's
                OhemCrossEntropy, for one, does not.)
            ignore_index: the head's void label; for the losses that take one.
            reduction_override: 'none' from an OHEM sampler without a threshold, for one value per
                pixel; all losses have to take it.

        Returns:
            A scalar (for `reduction_override='none'` one value per pixel).

        Raises:
            ValueError: logits or labels are no tensors, the head's void label is not the one
                configured, `reduction_override` means nothing to one of the losses, or a loss
                raises it.
        """
        require_tensor('logits', seg_logits)
        require_tensor('labels', seg_label)
        if ignore_index is None:
            ignore_index = self.ignore_index
        elif self.ignore_index not in (None, ignore_index):
            name = type(self).__name__
            raise ValueError(
                f'{name} has ignore_index={self.ignore_index}, and the head '
                f'ignore_index={ignore_index}: remove the one of {name}, or make them equal.'
            )
        given = dict(
            weight=weight, ignore_index=ignore_index, reduction_override=reduction_override
        )
        return self.loss_weight * self.value(seg_logits, seg_label, given)

    def total(self, logits: Tensor, labels: Tensor, given: dict) -> Tensor:
        """The sum of the losses, each of which gets what it takes of `given`."""
        return sum(
            self._call(loss, names, logits, labels, given)
            for loss, names in zip(self.losses, self._taken, strict=True)
        )

    def _call(
        self, loss: nn.Module, names: list[str], logits: Tensor, labels: Tensor, given: dict
    ) -> Tensor:
        override, void = given['reduction_override'], given['ignore_index']
        if override is not None and 'reduction_override' not in names:
            raise ValueError(
                f'{type(loss).__name__} in {type(self).__name__} has no value per pixel '
                f'(reduction_override={override!r}), by which OHEMPixelSampler without a threshold '
                'ranks pixels: give the sampler a `thresh`, or remove the sampler.'
            )
        if void is None and not isinstance(loss, LossWrapper):  # that asks its own losses
            # MMSegmentation's cross-entropy would take -100.
            given = given | dict(ignore_index=next(own_voids(loss), 255))
        taken = {name: given[name] for name in names if given[name] is not None}
        return loss(logits, labels, **taken)


def own_voids(loss: nn.Module) -> Iterator[int]:
    """The void label that a loss was given itself; of a wrapper without one, those in it."""
    # MMSegmentation's OhemCrossEntropy has another word.
    void = getattr(loss, 'ignore_index', getattr(loss, 'ignore_label', None))
    if void is not None:
        yield void
    elif isinstance(loss, LossWrapper):
        for held in loss.losses:
            yield from own_voids(held)


def name_of(loss: nn.Module) -> str:
    """Its key in the log, or its class's name: heads that call losses by position ask for none."""
    return getattr(loss, 'loss_name', type(loss).__name__)


def _takes(loss: nn.Module) -> list[str]:
    """Those of the head's arguments beside logits and labels that the loss takes."""
    parameters = inspect.signature(loss.forward).parameters
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    names = ('weight', 'ignore_index', 'reduction_override')
    return [name for name in names if every or name in parameters]

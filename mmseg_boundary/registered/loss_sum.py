"""A sum of losses in the place of one."""

import inspect
from collections.abc import Sequence

from mmengine.utils import is_seq_of
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..losses.decode_head_loss import require_loss_name


@MODELS.register_module()
class LossSum(nn.Module):
    """Several losses in one place of `loss_decode`, for heads that call their losses by position.

    MMSegmentation's DDRHead has two places, its PIDHead four; a loss that is appended to these is
    never called. In their configs one of the entries becomes

        dict(type='LossSum', losses=[THE ENTRY, dict(type='EPLLoss')])

    The value is loss_weight * (the sum of the losses, each with its own weight), and the log has
    that alone, under `loss_name` (DDRHead and PIDHead: under the name of the place).
    `LossWeightSchedule` can still move the weight of each: 'decode.loss_sum.loss_epl'.

    Args:
        losses: the settings of each loss, as `loss_decode` has them.
        ignore_index: the void label; None means the head's, or where the head passes none (DDRHead;
            PIDHead in three of its four places) each loss's own, else 255.
        loss_weight: the factor of the sum.
        loss_name: the key in the log. MMEngine trains what has 'loss' in its key.

    Raises:
        ValueError: an argument is not one of these.
    """

    def __init__(
        self,
        losses: Sequence[dict],
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_sum',
    ) -> None:
        super().__init__()
        if not losses or not is_seq_of(losses, dict):
            raise ValueError(
                f'losses is {losses!r}; give a list of dicts, one per loss, as loss_decode has '
                'them.'
            )
        require_loss_name(loss_name)
        self.losses = nn.ModuleList(map(MODELS.build, losses))
        self.ignore_index = ignore_index
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self._taken = [_takes(loss) for loss in self.losses]

    def forward(
        self,
        seg_logits: Tensor,
        seg_label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The weighted sum of the losses.

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
            ValueError: the head's void label is not the one configured, `reduction_override` means
                nothing to one of the losses, or a loss raises it.
        """
        if ignore_index is None:
            ignore_index = self.ignore_index
        elif self.ignore_index not in (None, ignore_index):
            raise ValueError(
                f'LossSum has ignore_index={self.ignore_index}, and the head '
                f'ignore_index={ignore_index}: remove the one of LossSum, or make them equal.'
            )
        given = dict(weight=weight, reduction_override=reduction_override)
        total = 0
        for loss, names in zip(self.losses, self._taken, strict=True):
            if reduction_override is not None and 'reduction_override' not in names:
                raise ValueError(
                    f'{type(loss).__name__} in LossSum has no value per pixel '
                    f'(reduction_override={reduction_override!r}), by which OHEMPixelSampler '
                    'without a threshold ranks pixels: give the sampler a `thresh`, or remove the '
                    'sampler.'
                )
            own = getattr(loss, 'ignore_index', None)
            # MMSegmentation's cross-entropy would take -100; a LossSum in this one asks its losses.
            last = None if isinstance(loss, LossSum) else 255
            given['ignore_index'] = next(
                (void for void in (ignore_index, own) if void is not None), last
            )
            taken = {name: given[name] for name in names if given[name] is not None}
            total = total + loss(seg_logits, seg_label, **taken)
        return self.loss_weight * total


def _takes(loss: nn.Module) -> list[str]:
    """Those of the head's arguments beside logits and labels that the loss takes."""
    parameters = inspect.signature(loss.forward).parameters
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    names = ('weight', 'ignore_index', 'reduction_override')
    return [name for name in names if every or name in parameters]

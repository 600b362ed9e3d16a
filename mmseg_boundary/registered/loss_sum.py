"""A sum of losses in the place of one."""

from collections.abc import Sequence

from mmengine.utils import is_seq_of
from mmseg.registry import MODELS
from torch import Tensor

from .loss_wrapper import LossWrapper


@MODELS.register_module()
class LossSum(LossWrapper):
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
        if not losses or not is_seq_of(losses, dict):
            raise ValueError(
                f'losses is {losses!r}; give a list of dicts, one per loss, as loss_decode has '
                'them.'
            )
        super().__init__(map(MODELS.build, losses), ignore_index, loss_weight, loss_name)

    def value(self, seg_logits: Tensor, seg_label: Tensor, given: dict) -> Tensor:
        return self.total(seg_logits, seg_label, given)

"""Another loss, of logits in which every pixel answers for the worst of its neighbors."""

import inspect

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..losses.decode_head_loss import DecodeHeadLoss, shared_target
from ..losses.neighbour_penalised import neighbour_penalised, require_window
from .loss_wrapper import LossWrapper, name_of, own_voids


@MODELS.register_module()
class NeighbourPenalised(LossWrapper):
    """A loss of `neighbour_penalised(logits)`, in which each pixel has the worst of its neighbors.

        L = loss(z̃)  or, with keep=True,  loss(z̃) + loss(z)

    The loss may be of this package or of MMSegmentation, a `LossSum`, or any module that takes
    logits and labels; it gets float32 logits (float64 stays) at the resolution of the labels,
    pixel weights and the void label, and applies softmax or sigmoid itself. Losses of this package
    with fields, distances or boundaries of the prediction are refused, since z̃ has its edges where
    the label has them. The log has the value alone, and `LossWeightSchedule` moves both weights:
    'decode.loss_scnp_ce' and 'decode.loss_scnp_ce.loss_ce'. For training alone: the network does
    not change.

    Args:
        loss: the settings of the loss, as `loss_decode` has them, or a module.
        window: odd, 3 or more, in pixels: of the neighborhood.
        keep: whether the loss of the head's own logits is added.
        ignore_index: the void label; None means the head's, or where the head passes none that of
            the loss, else 255.
        loss_weight: the factor of the value.
        loss_name: the key in the log; None is 'loss_scnp_' and the name of the loss without its
            'loss_', such as 'loss_scnp_ce'.

    Raises:
        ValueError: an argument is not one of these, or the loss measures geometry. In training: the
            labels are no classes of the logits, the losses in a `LossSum` have several void labels
            where the head passes none, or what the loss raises.
    """

    place = 'loss'

    def __init__(
        self,
        loss: dict | nn.Module,
        window: int = 3,
        keep: bool = False,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        loss_name: str | None = None,
    ) -> None:
        require_window(window)
        held = _built(loss)
        if loss_name is None:
            loss_name = f'loss_scnp_{name_of(held).removeprefix("loss_")}'
        super().__init__([held], ignore_index, loss_weight, loss_name)
        self.window = window
        self.keep = keep

    def value(self, seg_logits: Tensor, seg_label: Tensor, given: dict) -> Tensor:
        void = given['ignore_index']
        given = given | dict(ignore_index=self._own_void() if void is None else void)
        logits = seg_logits.to(torch.promote_types(seg_logits.dtype, torch.float32))
        with torch.autocast(seg_logits.device.type, enabled=False):
            target = shared_target(seg_label, seg_logits, given['ignore_index'])
            penalised = neighbour_penalised(logits, target, self.window)
            shared_target.share(seg_logits, logits, penalised)
            value = self.total(penalised, seg_label, given)
            return value + self.total(logits, seg_label, given) if self.keep else value

    def _own_void(self) -> int:
        """The one that z̃ and the loss agree on where the head gives none."""
        voids = dict.fromkeys(own_voids(self)) or [255]
        if len(voids) > 1:
            raise ValueError(
                'The losses in NeighbourPenalised have the void labels '
                f'{" and ".join(map(str, voids))}, and the head gives none: give all of them the '
                'same ignore_index.'
            )
        return next(iter(voids))


def _built(loss: dict | nn.Module) -> nn.Module:
    """The loss, if it is one that can be given other logits than the head's."""
    if isinstance(loss, dict) and 'type' in loss:
        loss = MODELS.build(loss)
    if not isinstance(loss, nn.Module):
        raise ValueError(
            f'loss is {loss!r}; give the dict of one loss, as loss_decode has it (several in a '
            'LossSum), or a module.'
        )
    try:
        inspect.signature(loss.forward).bind(None, None)
    except TypeError:
        raise ValueError(
            f'loss is a {type(loss).__name__}, which does not take logits and labels; give a loss.'
        ) from None
    for part in loss.modules():
        if isinstance(part, DecodeHeadLoss) and part.measures_geometry:
            raise ValueError(
                f'NeighbourPenalised got {type(part).__name__}, a loss of fields, distances or '
                'boundaries, which in penalized logits are no longer those of the prediction: list '
                'it beside NeighbourPenalised, and give that a cross-entropy or an overlap.'
            )
    return loss

"""The losses as MMSegmentation's decode heads call them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..labels import Target, encode
from ..losses.epl import (
    epl_line_loss,
    epl_point_loss,
    require_line_options,
    require_point_options,
)


class DecodeHeadLoss(nn.Module, ABC):
    """What `BaseDecodeHead.loss_by_feat` expects of a loss, once for all of ours.

    Subclasses are final: they store their arguments and define `term`. The logits become
    probabilities here, in float32 (float64 stays) and outside of autocast: sums over pixels and
    powers of energies do not fit into half types.

    Args:
        use_sigmoid: independent one-vs-rest fields instead of a softmax. One logit always means a
            sigmoid, with the classes {0, 1}.
        class_weight: one non-negative weight per logit; None weighs all alike.
        loss_weight: the factor of the value.
        loss_name: the key in the log. MMEngine trains what has 'loss' in its key.
    """

    takes_pixel_weight = False

    def __init__(
        self,
        use_sigmoid: bool,
        class_weight: Sequence[float] | None,
        loss_weight: float,
        loss_name: str,
    ) -> None:
        super().__init__()
        if not loss_name.startswith('loss_'):
            raise ValueError(
                f"loss_name is {loss_name!r}; begin it with 'loss_', or MMEngine logs the value "
                'without training on it.'
            )
        self.use_sigmoid = use_sigmoid
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        # Not persistent: a checkpoint has to load without us.
        self.register_buffer(
            'class_weight',
            None if class_weight is None else _as_weights(class_weight),
            persistent=False,
        )

    def forward(
        self,
        seg_logits: Tensor,
        seg_label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Args:
            seg_logits: (N, K, H, W) float, resized to the labels by the head.
            seg_label: (N, H, W) integer class indices.
            weight: (N, H, W) float, a sampler's pixel weights; only for losses with a pixel mean.
            ignore_index: the head's void label.
            reduction_override: has to be None; named because MMSegmentation's OHEM sampler
                without a threshold passes it.

        Returns:
            A scalar, float32 (float64 for such logits); 0 with a graph where nothing is valid.

        Raises:
            ValueError: logits and labels do not fit, labels lie outside the classes, or an argument
                has no meaning for this loss.
        """
        self._require_support(seg_logits, seg_label, weight, reduction_override)
        with torch.autocast(seg_logits.device.type, enabled=False):
            logits = seg_logits if seg_logits.dtype == torch.float64 else seg_logits.float()
            one_vs_rest = self.use_sigmoid or logits.shape[1] == 1
            probs = logits.sigmoid() if one_vs_rest else logits.softmax(1)
            target = encode(seg_label, logits.shape[1], ignore_index)
            return self.loss_weight * self.term(probs, target, weight)

    @abstractmethod
    def term(self, probs: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        """The unweighted loss, a scalar. `weight` is None unless `takes_pixel_weight`."""

    def _require_support(
        self,
        seg_logits: Tensor,
        seg_label: Tensor,
        weight: Tensor | None,
        reduction_override: str | None,
    ) -> None:
        name = type(self).__name__
        if reduction_override is not None:
            raise ValueError(
                f'{name} has no value per pixel (reduction_override={reduction_override!r}), by '
                'which OHEMPixelSampler without a threshold ranks pixels: give the sampler a '
                '`thresh`, or remove the sampler.'
            )
        if weight is not None and not self.takes_pixel_weight:
            raise ValueError(
                f'{name} is no mean over pixels, so pixel weights mean nothing to it: remove the '
                "head's `sampler`."
            )
        if seg_logits.dim() != 4 or seg_label.shape != seg_logits.shape[:1] + seg_logits.shape[2:]:
            raise ValueError(
                f'{name} got logits {tuple(seg_logits.shape)} and labels {tuple(seg_label.shape)}; '
                'give logits (N, K, H, W), resized to the labels, and labels (N, H, W).'
            )


@MODELS.register_module()
class EPLPointLoss(DecodeHeadLoss):
    """`losses.epl_point_loss` in a decode head."""

    takes_pixel_weight = True

    def __init__(
        self,
        kernel_size: int = 7,
        splitter: str = 'A',
        norm: str = 'l2',
        padding: str = 'replicate',
        sc_scale: str = 'match',
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_epl_point',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        self.options = dict(
            kernel_size=kernel_size,
            splitter=splitter,
            norm=norm,
            padding=padding,
            sc_scale=sc_scale,
        )
        require_point_options(**self.options)

    def term(self, probs: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return epl_point_loss(
            probs, target, **self.options, class_weight=self.class_weight, pixel_weight=weight
        )


@MODELS.register_module()
class EPLLineLoss(DecodeHeadLoss):
    """`losses.epl_line_loss` in a decode head."""

    def __init__(
        self,
        kernel_size: int = 7,
        splitter: str = 'A',
        mu: int = 10,
        edc: str = 'paper',
        variant: str = 'paper',
        padding: str = 'constant',
        sc_scale: str = 'match',
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_epl_line',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        self.options = dict(
            kernel_size=kernel_size,
            splitter=splitter,
            mu=mu,
            edc=edc,
            variant=variant,
            padding=padding,
            sc_scale=sc_scale,
        )
        require_line_options(**self.options, class_weight=class_weight)

    def term(self, probs: Tensor, target: Target, weight: None) -> Tensor:
        return epl_line_loss(probs, target, **self.options, class_weight=self.class_weight)


@MODELS.register_module()
class EPLLoss(DecodeHeadLoss):
    """EPL whole: `point_weight` x the point loss + `line_weight` x the line loss, in one entry.

    List `EPLPointLoss` and `EPLLineLoss` instead to see both in the log. The default weights are
    those of the published code; the paddings are the two losses' own.

    Args:
        kernel_size: one for both terms, or a (point, line) pair.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 7,
        splitter: str = 'A',
        mu: int = 10,
        norm: str = 'l2',
        edc: str = 'paper',
        variant: str = 'paper',
        point_weight: float = 0.02,
        line_weight: float = 0.2,
        sc_scale: str = 'match',
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_epl',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(sizes) != 2:
            raise ValueError(
                f'kernel_size is {kernel_size!r}; give one odd number or a (point, line) pair.'
            )
        shared = dict(splitter=splitter, sc_scale=sc_scale, use_sigmoid=use_sigmoid)
        self.point = EPLPointLoss(
            sizes[0], norm=norm, class_weight=class_weight, loss_weight=point_weight, **shared
        )
        self.line = EPLLineLoss(
            sizes[1],
            mu=mu,
            edc=edc,
            variant=variant,
            class_weight=class_weight,
            loss_weight=line_weight,
            **shared,
        )

    def term(self, probs: Tensor, target: Target, weight: None) -> Tensor:
        point = self.point.loss_weight * self.point.term(probs, target, weight)
        return point + self.line.loss_weight * self.line.term(probs, target, weight)


def _as_weights(class_weight: Sequence[float]) -> Tensor:
    if isinstance(class_weight, str) or min(class_weight) < 0 or max(class_weight) == 0:
        raise ValueError(
            f'class_weight is {class_weight!r}; give a list of non-negative numbers, one per '
            'logit and not all 0.'
        )
    return torch.tensor(class_weight, dtype=torch.float32)

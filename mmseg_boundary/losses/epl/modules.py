"""EPL as modules."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...choices import require_choice
from ...labels import Target
from ..decode_head_loss import DecodeHeadLoss
from .line import LineForm, epl_line_loss, require_no_class_weight
from .point import NORMS, epl_point_loss
from .rays import Rays


class EPLPointLoss(DecodeHeadLoss):
    """`epl_point_loss` as a module."""

    takes_pixel_weight = True
    measures_geometry = True

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
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name, ignore_index)
        self.options = dict(
            kernel_size=kernel_size,
            splitter=splitter,
            norm=norm,
            padding=padding,
            sc_scale=sc_scale,
        )
        Rays(kernel_size, splitter, padding, sc_scale)
        require_choice('norm', norm, NORMS)

    def term(self, probs: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return epl_point_loss(
            probs, target, **self.options, class_weight=self.class_weight, pixel_weight=weight
        )


class EPLLineLoss(DecodeHeadLoss):
    """`epl_line_loss` as a module."""

    measures_geometry = True

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
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(
            use_sigmoid, class_weight, loss_weight, loss_name, ignore_index, pixel_weight
        )
        self.options = dict(
            kernel_size=kernel_size,
            splitter=splitter,
            mu=mu,
            edc=edc,
            variant=variant,
            padding=padding,
            sc_scale=sc_scale,
        )
        form = LineForm(Rays(kernel_size, splitter, padding, sc_scale), mu, edc, variant)
        require_no_class_weight(form, class_weight)

    def term(self, probs: Tensor, target: Target, weight: None) -> Tensor:
        return epl_line_loss(probs, target, **self.options, class_weight=self.class_weight)


class EPLLoss(DecodeHeadLoss):
    """EPL: `point_weight` x the point loss + `line_weight` x the line loss, in one entry.

    List `EPLPointLoss` and `EPLLineLoss` instead to see both in the log. The default weights are
    those of the published code; the paddings are the two losses' own.

    Args:
        kernel_size: one for both terms, or a (point, line) pair.
    """

    measures_geometry = True

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
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(
            use_sigmoid, class_weight, loss_weight, loss_name, ignore_index, pixel_weight
        )
        sizes = kernel_size if isinstance(kernel_size, (list, tuple)) else (kernel_size,) * 2
        if len(sizes) != 2:
            raise ValueError(
                f'kernel_size is {kernel_size!r}; give one odd number or a (point, line) pair.'
            )
        shared: dict[str, Any] = dict(splitter=splitter, sc_scale=sc_scale, use_sigmoid=use_sigmoid)
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

"""The losses that configs name, each a final class around its function in `losses/`."""

from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor

from ..labels import Target
from ..losses.bf1 import bf1_loss, require_bf1_options
from ..losses.boundary_weighted_ce import (
    boundary_weighted_ce_loss,
    require_boundary_weighted_options,
)
from ..losses.distance_transform import (
    distance_transform_loss,
    require_distance_transform_options,
)
from ..losses.epl import (
    epl_line_loss,
    epl_point_loss,
    require_line_options,
    require_point_options,
)
from ..losses.jaccard import jaccard_loss
from ..losses.kervadec import kervadec_boundary_loss, require_kervadec_options
from ..losses.soft_dice import require_overlap_options, soft_dice_loss
from ..losses.softmax_focal import require_focal_options, softmax_focal_loss
from .decode_head_loss import DecodeHeadLoss


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

    def term(self, fields: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return epl_point_loss(
            fields, target, **self.options, class_weight=self.class_weight, pixel_weight=weight
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

    def term(self, fields: Tensor, target: Target, weight: None) -> Tensor:
        return epl_line_loss(fields, target, **self.options, class_weight=self.class_weight)


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

    def term(self, fields: Tensor, target: Target, weight: None) -> Tensor:
        point = self.point.loss_weight * self.point.term(fields, target, weight)
        return point + self.line.loss_weight * self.line.term(fields, target, weight)


@MODELS.register_module()
class KervadecBoundaryLoss(DecodeHeadLoss):
    """`losses.kervadec_boundary_loss` in a decode head, beside a cross-entropy.

    MMSegmentation's `BoundaryLoss` is another one: the cross-entropy of PIDNet's boundary head.
    """

    takes_pixel_weight = True

    def __init__(
        self,
        classes: Sequence[int] | None = None,
        normalize: str | None = None,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_kervadec',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        self.options = dict(classes=classes, normalize=normalize)
        require_kervadec_options(**self.options)

    def term(self, fields: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return kervadec_boundary_loss(
            fields, target, **self.options, class_weight=self.class_weight, pixel_weight=weight
        )


@MODELS.register_module()
class DistanceTransformLoss(DecodeHeadLoss):
    """`losses.distance_transform_loss` in a decode head; alone, in the thesis."""

    def __init__(
        self,
        metric: str = 'euclidean',
        class_reduction: str = 'mean',
        per_image: bool = True,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_dt',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        self.options = dict(metric=metric, class_reduction=class_reduction, per_image=per_image)
        require_distance_transform_options(metric, class_reduction, class_weight)

    def term(self, fields: Tensor, target: Target, weight: None) -> Tensor:
        return distance_transform_loss(
            fields, target, **self.options, class_weight=self.class_weight
        )


@MODELS.register_module()
class BF1Loss(DecodeHeadLoss):
    """`losses.bf1_loss` in a decode head, beside a cross-entropy."""

    def __init__(
        self,
        theta0: int = 3,
        theta: int = 5,
        per_image: bool = True,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_bf1',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        self.options = dict(theta0=theta0, theta=theta, per_image=per_image)
        require_bf1_options(theta0, theta)

    def term(self, fields: Tensor, target: Target, weight: None) -> Tensor:
        return bf1_loss(fields, target, **self.options, class_weight=self.class_weight)


@MODELS.register_module()
class SoftDiceLoss(DecodeHeadLoss):
    """`losses.soft_dice_loss` in a decode head.

    MMSegmentation's `DiceLoss` has one ratio for all classes of an image, so that with a softmax it
    measures accuracy and gives rare classes no weight; it counts what is predicted at void (with
    void a quarter of the image a perfect prediction costs 0.14), and half types overflow in it.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        per_class: bool = True,
        per_image: bool = True,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_soft_dice',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        self.options = dict(smooth=smooth, per_class=per_class, per_image=per_image)
        require_overlap_options(smooth, per_class, class_weight)

    def term(self, fields: Tensor, target: Target, weight: None) -> Tensor:
        return soft_dice_loss(fields, target, **self.options, class_weight=self.class_weight)


@MODELS.register_module()
class JaccardLoss(DecodeHeadLoss):
    """`losses.jaccard_loss` in a decode head.

    MMSegmentation has none: its `TverskyLoss` would be one at alpha = beta = 1, but insists on
    alpha + beta = 1; it averages over absent classes, reads its own `ignore_index` and not the
    head's, and is 0 for the one logit of a binary head, of which it takes a softmax.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        per_class: bool = True,
        per_image: bool = True,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_jaccard',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        self.options = dict(smooth=smooth, per_class=per_class, per_image=per_image)
        require_overlap_options(smooth, per_class, class_weight)

    def term(self, fields: Tensor, target: Target, weight: None) -> Tensor:
        return jaccard_loss(fields, target, **self.options, class_weight=self.class_weight)


@MODELS.register_module()
class SoftmaxFocalLoss(DecodeHeadLoss):
    """`losses.softmax_focal_loss` in a decode head.

    MMSegmentation's `FocalLoss` knows sigmoids alone, divides by void pixels too, and for a map of
    class labels, which is what a head gives it, raises on the CPU for want of a one-hot target.
    """

    takes_pixel_weight = True
    takes_logits = True

    def __init__(
        self,
        gamma: float = 2.0,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_softmax_focal',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        self.options = dict(gamma=gamma)
        require_focal_options(gamma)

    def term(self, fields: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return softmax_focal_loss(
            fields,
            target,
            **self.options,
            one_vs_rest=self.one_vs_rest(fields),
            class_weight=self.class_weight,
            pixel_weight=weight,
        )


@MODELS.register_module()
class BoundaryWeightedCELoss(DecodeHeadLoss):
    """`losses.boundary_weighted_ce_loss` in a decode head, in place of its cross-entropy.

    MMSegmentation's `CrossEntropyLoss` weighs classes, and its samplers hard pixels; neither knows
    where contours are.
    """

    takes_pixel_weight = True
    takes_logits = True

    def __init__(
        self,
        radius: float = 3,
        boundary_weight: float = 1.0,
        use_sigmoid: bool = False,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_bwce',
    ) -> None:
        super().__init__(use_sigmoid, class_weight, loss_weight, loss_name)
        self.options = dict(radius=radius, boundary_weight=boundary_weight)
        require_boundary_weighted_options(**self.options)

    def term(self, fields: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        return boundary_weighted_ce_loss(
            fields,
            target,
            **self.options,
            one_vs_rest=self.one_vs_rest(fields),
            class_weight=self.class_weight,
            pixel_weight=weight,
        )

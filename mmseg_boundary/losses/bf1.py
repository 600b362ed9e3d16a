"""BF1 loss (Bokhovkin & Burnaev, "Boundary Loss for Remote Sensing Imagery Semantic Segmentation",
ISNN 2019): a differentiable boundary F1 score.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ..labels import Target, as_class_weight, mean_over
from .decode_head_loss import DecodeHeadLoss

EPS = 1e-7


def bf1_loss(
    probs: Tensor,
    target: Target,
    theta0: int = 3,
    theta: int = 5,
    per_image: bool = True,
    class_weight: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """One minus the F1 score of soft boundaries, with b and b̂ those of truth and prediction.

        L = mean over n, k of  1 - 2 P R / (P + R)
        P = sum_p b̂ b^ext / sum_p b̂,    R = sum_p b b̂^ext / sum_p b

    ^ext widens a boundary by the tolerance, (theta - 1) / 2 px (chessboard). The image border is no
    boundary. A prediction without boundaries has hardly a gradient: use it beside a cross-entropy.

    Args:
        probs: (N, K, H, W) float, in [0, 1].
        target: the labels, from `labels.encode`.
        theta0: odd window, in pixels, that makes a boundary (theta0 - 1) / 2 px thick.
        theta: odd window of the tolerance, at most the distance between neighbouring segments.
        per_image: one score per image and class; False pools the sums of a class over the batch.
        class_weight: (K,) non-negative weights of the mean; None weighs all alike.

    Returns:
        A scalar in [0, 1]; 0 with a graph if no class has a boundary.

    Raises:
        ValueError: an argument is out of its range.

    Deviations:
        The paper is binary; here the mean over the classes that have a boundary in the image: the
        others have the constant value 1. Void belongs to no class in truth and prediction, so that
        next to it the boundaries of both partly agree whatever is predicted.
    """
    require_bf1_options(theta0, theta)
    truth = target.masked(inner_boundary(target.planes.to(probs.dtype), theta0))
    predicted = target.masked(inner_boundary(target.masked(probs), theta0))

    def total(field: Tensor) -> Tensor:
        return field.sum((2, 3)) if per_image else field.sum((0, 2, 3)).unsqueeze(0)

    precision = total(predicted * window_max(truth, theta)) / (total(predicted) + EPS)
    recall = total(truth * window_max(predicted, theta)) / (total(truth) + EPS)
    f1 = 2 * precision * recall / (precision + recall + EPS)
    return mean_over(total(truth) > 0, 1 - f1, as_class_weight(class_weight, probs))


def inner_boundary(planes: Tensor, theta0: int) -> Tensor:
    """What of a class lies within (theta0 - 1) / 2 px of its outside, eq. (2).

    >>> import torch
    >>> inner_boundary(torch.tensor([[[[0., 1, 1, 1, 0.5, 0]]]]), 3).tolist()
    [[[[0.0, 1.0, 0.0, 0.5, 0.5, 0.0]]]]

    Args:
        planes: (N, K, H, W) float, in [0, 1].
        theta0: odd window, in pixels.

    Returns:
        (N, K, H, W) float, in [0, 1].
    """
    return window_max(1 - planes, theta0) - (1 - planes)


def window_max(planes: Tensor, window: int) -> Tensor:
    """The largest value within (window - 1) / 2 px (chessboard), of pixels in the image alone."""
    return F.max_pool2d(planes, window, stride=1, padding=window // 2)


def require_bf1_options(theta0: int, theta: int) -> None:
    """Raises the ValueErrors of `bf1_loss`, before there is a batch."""
    for name, given, least in (('theta0', theta0, 3), ('theta', theta, 1)):
        if not isinstance(given, int) or given < least or given % 2 == 0:
            raise ValueError(f'{name} is {given!r}; give an odd number of pixels, {least} or more.')


class BF1Loss(DecodeHeadLoss):
    """`bf1_loss` as a module, beside a cross-entropy."""

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

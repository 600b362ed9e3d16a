"""Pixels per class and width, and the IoU that they make."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..labels import LabelPair, as_tensor


def areas_within(
    regions: Tensor, reached: Tensor, num_classes: int, widths: Sequence[int]
) -> Tensor:
    """The pixels of each class that the band of each width holds.

    Args:
        regions: (H, W) int32, 0 to `num_classes`; the last is no class.
        reached: (H, W) int32, 1 or more: the smallest width, in pixels, whose band holds a pixel.
        num_classes: K.
        widths: W whole numbers of pixels, 1 or more.

    Returns:
        (K, W) int64.

    Raises:
        ValueError: a width is not such a number.
    """
    if not all(isinstance(width, int) and width >= 1 for width in widths):
        raise ValueError(f'widths are {tuple(widths)}; give whole numbers of pixels, 1 or more.')
    beyond = max(widths) + 1
    bins = regions * (beyond + 1) + reached.clamp(max=beyond)
    histogram = torch.bincount(bins.flatten(), minlength=(num_classes + 1) * (beyond + 1))
    return histogram.view(num_classes + 1, beyond + 1)[:-1].cumsum(1)[:, list(widths)]


def overlap_within(
    pair: LabelPair, pred_reached: Tensor, label_reached: Tensor, widths: Sequence[int]
) -> Tensor:
    """Intersection and union of prediction and label, each in a band of its own.

    Args:
        pair: the maps of one image.
        pred_reached, label_reached: (H, W) int32, as `reached` for `areas_within`.
        widths: W whole numbers of pixels, 1 or more.

    Returns:
        (K, W, 2) int64, what `iou` takes.
    """
    pred, label, num_classes = pair.pred, pair.label, pair.num_classes
    agreed = label.where(label == pred, num_classes)
    both = areas_within(agreed, pred_reached.maximum(label_reached), num_classes, widths)
    either = (
        areas_within(pred, pred_reached, num_classes, widths)
        + areas_within(label, label_reached, num_classes, widths)
        - both
    )
    return torch.stack([both, either], -1)


def iou(counts: Any) -> Tensor:
    """Intersection over union, in [0, 1]; NaN for a class that is in neither map of any image.

    Args:
        counts: (..., 2) int64, intersection and union, summed over images.

    Returns:
        (...) float64.
    """
    intersection, union = as_tensor(counts).double().unbind(-1)
    return intersection / union

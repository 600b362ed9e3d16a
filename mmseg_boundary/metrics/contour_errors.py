"""How many of the wrong pixels lie near a true contour."""

import torch
from torch import Tensor

from ..geometry.boundary import transitions, within
from ..labels import is_void


def count_contour_errors(
    pred: Tensor, label: Tensor, ignore_index: int = 255, width: float = 3
) -> Tensor:
    """Counts wrong pixels, near the contours of the truth and everywhere; none at void.

    A contour runs through the pixels with a 4-neighbour of another class. Where a class meets void
    or the image ends there is none.

    Args:
        pred, label: (..., H, W) integer classes, of whatever number: each label but void is one.
        ignore_index: the void label.
        width: Euclidean distance from a contour pixel that still counts as near, in pixels.

    Returns:
        (2,) int64: the wrong pixels near a contour, all wrong pixels.
    """
    pred, label = pred.long(), label.long()  # narrow types do not compare with each other
    valid = ~is_void(label, ignore_index)
    wrong = (pred != label) & valid
    near = within(transitions(label, valid), width)
    return torch.stack([(wrong & near).sum(), wrong.sum()])


def share_near_contour(counts: Tensor) -> float:
    """The share of wrong pixels near a contour, in [0, 1]; NaN if nothing is wrong.

    Args:
        counts: (2,) int64 from `count_contour_errors`, summed over images.
    """
    near, wrong = counts.double()
    return (near / wrong).item()


def contour_layers(
    pred: Tensor, label: Tensor | None, ignore_index: int = 255, width: float = 3, zoom: int = 1
) -> dict[str, Tensor]:
    """What to paint, and in which order, to see where a prediction misses the true contours.

    Args:
        pred, label: (H, W) integer classes; pixels of `label` may be void. Without a label there
            is a predicted contour alone.
        ignore_index: the void label.
        width: as for `count_contour_errors`.
        zoom: the picture is so many times as large; contours stay thin lines along pixel edges.

    Returns:
        (zoom H, zoom W) bool each: 'error', the wrong pixels near a true contour; 'void'; the
        'true' and the 'predicted' contour, and 'both' where these coincide.
    """
    if label is None:
        return {'predicted': _lines(pred, torch.zeros_like(pred, dtype=torch.bool), zoom)}
    pred, label = pred.long(), label.long()
    void = is_void(label, ignore_index)
    wrong_near = (pred != label) & ~void & within(transitions(label, ~void), width)
    true, predicted = _lines(label, void, zoom), _lines(pred, void, zoom)
    return {
        'error': _enlarged(wrong_near, zoom),
        'void': _enlarged(void, zoom),
        'true': true,
        'predicted': predicted,
        'both': true & predicted,
    }


def _lines(labels: Tensor, void: Tensor, zoom: int) -> Tensor:
    edges = transitions(_enlarged(labels, zoom), ~_enlarged(void, zoom))
    return within(edges, zoom // 4)


def _enlarged(labels: Tensor, zoom: int) -> Tensor:
    return labels.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)

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
        pred, label: (..., H, W) integer classes; pixels of `label` may be void.
        ignore_index: the void label.
        width: Euclidean distance from a contour pixel that still counts as near, in pixels.

    Returns:
        (2,) int64: the wrong pixels near a contour, all wrong pixels.
    """
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


def contour_picture(
    pred: Tensor, label: Tensor | None, ignore_index: int = 255, width: float = 3
) -> dict[str, Tensor]:
    """What to paint to see where a prediction misses the contours of the truth.

    Args:
        pred, label: (H, W) integer classes; pixels of `label` may be void. Without a label there
            is only a predicted contour.
        ignore_index: the void label.
        width: as for `count_contour_errors`.

    Returns:
        (H, W) bool each, in the order to paint them in, later ones on top: the 'true' and the
        'predicted' contour, 'both' where these coincide, 'error', the wrong pixels near a true
        contour, so that they lie between the two, and 'void'.
    """
    if label is None:
        return {'predicted': transitions(pred)}
    void = is_void(label, ignore_index)
    true, predicted = transitions(label, ~void), transitions(pred, ~void)
    return {
        'true': true,
        'predicted': predicted,
        'both': true & predicted,
        'error': (pred != label) & ~void & within(true, width),
        'void': void,
    }

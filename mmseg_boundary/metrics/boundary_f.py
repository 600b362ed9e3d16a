"""The F measure of contours (Martin et al. 2004), as DAVIS, GSCNN and Csurka et al. take it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..geometry.boundary import MAX_SETS, contours, count_members, rims, shared_within
from ..labels import as_regions

MODES = ('present', 'gscnn', 'csurka')


def boundary_f(
    pred: Tensor,
    label: Tensor,
    num_classes: int,
    tolerances: Sequence[float],
    ignore_index: int = 255,
    mode: str = 'present',
    unknown_labels: str = 'refuse',
) -> Tensor:
    """F of each class in one image: do the two contours run within a tolerance of each other?

        P = share of the predicted contour at a distance <= r from the true one
        R = share of the true contour at a distance <= r from the predicted one
        F = 2 P R / (P + R),  0 where P + R = 0 or one contour is missing

    Distances are Euclidean. Void is taken out of both maps before contours are drawn: along void
    both have one, if they have the same class beside it. The image border is no contour.

    Args:
        pred, label: (H, W) integer class indices; pixels of `label` may be void.
        num_classes: K.
        tolerances: T values of r, in pixels.
        ignore_index: the void label.
        mode: with 'csurka' a contour is the rim inside the class; else it is DAVIS's, between
            pixels (`geometry.boundary` draws both). `score_boundary_f` wants the same.
        unknown_labels: 'refuse' raises a ValueError if `label` holds what is neither a class nor
            void; with 'wrong' whatever is predicted there is wrong.

    Returns:
        (K, T) float64 in [0, 1]; NaN for a class that has a contour in neither map.
    """
    require_mode(mode)
    guess, truth = as_regions(pred, label, num_classes, ignore_index, unknown_labels)
    outlines = rims if mode == 'csurka' else contours
    areas = [torch.bincount(each.flatten(), minlength=num_classes + 1) for each in (guess, truth)]
    classes = sum(areas)[:num_classes].nonzero().flatten().tolist()
    scores = torch.full((num_classes, len(tolerances)), torch.nan, dtype=torch.float64)
    for first in range(0, len(classes), MAX_SETS):
        some = classes[first : first + MAX_SETS]
        scores[some] = _f(outlines(guess, some), outlines(truth, some), len(some), tolerances)
    return scores


def score_boundary_f(values: Tensor, mode: str = 'present') -> tuple[Tensor, Tensor]:
    """F over a data set: per class, and the mean.

    'present': a class's mean over the images in which it has a contour, true or predicted; then
    the mean over classes. 'gscnn': the same, but an image without either contour counts as 1.
    'csurka': the mean over the classes that have a contour in an image, then over images; per
    class as 'present'.

    Args:
        values: (N, K, T) float64 from `boundary_f`, one entry per image in whatever order: the
            sums are exact.

    Returns:
        (K, T) and (T,) float64 in [0, 1]; NaN for a class without a contour anywhere.
    """
    require_mode(mode)
    if mode == 'gscnn':
        values = values.nan_to_num(nan=1.0)
    per_class = _mean_over_first(values)
    if mode == 'csurka':
        return per_class, _mean_over_first(_mean_over_first(values.transpose(0, 1)))
    return per_class, _mean_over_first(per_class)


def csurka_tolerance(height: int, width: int) -> float:
    """0.75 % of the diagonal, in pixels; contours have to be nearer than this (Csurka et al.)."""
    return math.nextafter(0.0075 * math.sqrt(height**2 + width**2), 0)


def require_mode(mode: str) -> None:
    """Raises a ValueError for a mode that there is not."""
    if mode not in MODES:
        raise ValueError(f'mode is {mode!r}; choose one of {", ".join(map(repr, MODES))}.')


def _f(predicted: Tensor, true: Tensor, classes: int, tolerances: Sequence[float]) -> Tensor:
    """(classes, T) float64, of two pictures of contours; NaN where both have none."""
    n_predicted, n_true = (count_members(each[each != 0], classes) for each in (predicted, true))
    hits = count_members(shared_within(predicted, true, tolerances), classes)
    found = count_members(shared_within(true, predicted, tolerances), classes)
    precision = hits.double() / n_predicted.clamp(min=1)
    recall = found.double() / n_true.clamp(min=1)
    total = precision + recall
    f = torch.where(total > 0, 2 * precision * recall / total, 0.0)
    return f.where(n_predicted + n_true > 0, torch.nan).T


def _mean_over_first(values: Tensor) -> Tensor:
    """The mean over the first dimension without NaN, from exact sums; NaN where nothing is left."""
    columns = values.flatten(1).T.tolist()
    means = []
    for column in columns:
        known = [value for value in column if not math.isnan(value)]
        means.append(math.fsum(known) / len(known) if known else math.nan)
    return torch.tensor(means, dtype=torch.float64).view(values.shape[1:])

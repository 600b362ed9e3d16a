"""The F measure of boundaries (Martin et al. 2004), as DAVIS, GSCNN and Csurka et al. take it."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..choices import require_choice
from ..geometry.boundary import MAX_SETS, class_boundaries, count_members, shared_within
from ..labels import LabelPair, as_tensor, encode_pair
from .metric import WIDTHS, Metric, Scores, Share, listed, require_ratio

MODES = ('present', 'gscnn', 'csurka')
CSURKA_RATIO = 0.0075  # of the diagonal


def boundary_f(
    pred: Any,
    label: Any,
    num_classes: int,
    tolerances: Sequence[float] | float,
    ignore_index: int = 255,
    mode: str = 'present',
    unknown_labels: str = 'refuse',
) -> Tensor:
    """F of each class in one image: do the two boundaries run within a tolerance of each other?

        P = share of the predicted boundary at a distance <= r from the true one
        R = share of the true boundary at a distance <= r from the predicted one
        F = 2 P R / (P + R),  0 where P + R = 0 or one boundary is missing

    Distances are Euclidean. Void is taken out of both maps before boundaries are drawn: along void
    both have one, if they have the same class beside it. The image border is no boundary.

    Args:
        pred, label: (H, W) integer class indices, tensors or NumPy arrays; pixels of `label` may be
            void.
        num_classes: K.
        tolerances: one or several values of r, in pixels, or of type `Share`, as for
            `boundary_f_score`.
        ignore_index: the void label.
        mode: with 'csurka' boundaries are the inner ones of the classes, else DAVIS's, between
            pixels (see `geometry.boundary.class_boundaries`). Give `score_boundary_f` the same.
        unknown_labels: 'refuse' raises a ValueError if `label` holds what is neither a class nor
            void; with 'wrong' whatever is predicted there is wrong.

    Returns:
        (K, T) float64 in [0, 1]; NaN for a class that has a boundary in neither map.

    Deviations:
        Implementations of Csurka's measure that trace the contours of a class follow the image
        border where the class reaches it; here the border is no boundary in any mode.
    """
    require_mode(mode)
    pair = encode_pair(pred, label, num_classes, ignore_index, unknown_labels)
    height, width = pair.label.shape
    tolerances = [
        share_in_pixels(each, height, width, mode) if isinstance(each, Share) else each
        for each in listed(tolerances)
    ]
    return _boundary_f(pair, tolerances, mode)


def score_boundary_f(values: Any, mode: str = 'present') -> tuple[Tensor, Tensor]:
    """F over a data set: per class, and the mean.

    'present': a class's mean over the images in which it has a boundary, true or predicted; then
    the mean over classes. 'gscnn': the same, but an image without either boundary counts as 1.
    'csurka': the mean over the classes that have a boundary in an image, then over images; per
    class as 'present'.

    Args:
        values: (N, K, T) float64 from `boundary_f`, one entry per image in whatever order: the
            sums are exact.

    Returns:
        (K, T) and (T,) float64 in [0, 1]; NaN for a class without a boundary anywhere.
    """
    require_mode(mode)
    values = as_tensor(values)
    per_class = _per_class(values, mode)
    mean = _mean_over_images(values) if mode == 'csurka' else _mean_over_first(per_class)
    return per_class, mean


def boundary_f_score(
    pred: Any,
    label: Any,
    num_classes: int,
    tolerances: Sequence[float] | float = WIDTHS,
    ignore_index: int = 255,
    mode: str = 'present',
    tolerance_ratio: float | None = None,
    unknown_labels: str = 'refuse',
) -> Scores:
    """The boundary F of one image or over a stack, see `boundary_f` and `score_boundary_f`.

    >>> label = torch.zeros(9, 9, dtype=torch.long)
    >>> label[2:7, 2:7] = 1
    >>> pred = label.roll(2, 1)
    >>> boundary_f_score(pred, label, num_classes=2, tolerances=(1, 2)).per_class[1]
    tensor([0.6667, 1.0000], dtype=torch.float64)

    Args:
        pred, label: (H, W) or (N, H, W) integer class indices, tensors or NumPy arrays; pixels of
            `label` may be void.
        num_classes, ignore_index, unknown_labels: as for `boundary_f`.
        tolerances: T Euclidean distances, in pixels, a column each. `Share(0.008)` is a share of
            the image's diagonal, as DAVIS and GSCNN give it: rounded up, or with 'csurka' not
            rounded and not reached.
        mode: 'present', 'gscnn' or 'csurka', see `score_boundary_f`.
        tolerance_ratio: for one more column, the first: the share of the image's diagonal that the
            tolerance has to stay below. Csurka et al. take 0.0075.

    Returns:
        Scores per class, (K, C) float64 in [0, 1], and their mean, (C,); NaN for a class that has
        a boundary in neither map of any image.
    """
    metric = BoundaryF(tolerances, mode, tolerance_ratio)
    return metric.score_images(pred, label, num_classes, ignore_index, unknown_labels)


class BoundaryF(Metric):
    """The boundary F for `Accumulator`; the arguments are those of `boundary_f_score`."""

    name = 'BoundaryF'

    def __init__(
        self,
        tolerances: Sequence[float] | float = WIDTHS,
        mode: str = 'present',
        tolerance_ratio: float | None = None,
    ) -> None:
        require_mode(mode)
        if tolerance_ratio is not None:
            require_ratio(tolerance_ratio, 'tolerance_ratio')
        super().__init__(_require_tolerances(tolerances), tolerance_ratio)
        self.mode = mode

    def measure(self, pair: LabelPair) -> Tensor:
        """(K, C) float64, the F of each class."""
        tolerances = self.widths_in(pair)
        if self.ratio is not None:
            height, width = pair.label.shape
            tolerances = (csurka_tolerance(height, width, self.ratio), *tolerances)
        return _boundary_f(pair, tolerances, self.mode)

    def pixels_of(self, share: float, height: int, width: int) -> float:
        """The tolerance that a share of the diagonal is."""
        return share_in_pixels(share, height, width, self.mode)

    def per_class(self, records: list[Tensor]) -> Tensor:
        """The mean over images."""
        return _per_class(torch.stack(records), self.mode)

    def mean(self, per_class: Tensor, records: list[Tensor]) -> Tensor:
        """The mean over classes, or with 'csurka' over classes in each image, then over images."""
        if self.mode == 'csurka':
            return _mean_over_images(torch.stack(records))
        return super().mean(per_class, records)

    @property
    def caption(self) -> str:
        averaged = {
            'present': 'mean over the images where the class has a boundary, true or predicted, '
            'then over classes',
            'gscnn': 'mean over all images, 1 where the class has no boundary in either map, then '
            'over classes',
            'csurka': 'mean over the classes that have a boundary in an image, then over images',
        }
        return (
            f'Boundary F {self.widths_in_words} (boundaries match at a Euclidean distance <= n; '
            f'{averaged[self.mode]})'
        )


def csurka_tolerance(height: int, width: int, ratio: float = CSURKA_RATIO) -> float:
    """0.75 % of the diagonal, in pixels; boundaries have to be nearer than this (Csurka et al.)."""
    return math.nextafter(ratio * math.sqrt(height**2 + width**2), 0)


def share_in_pixels(share: float, height: int, width: int, mode: str) -> float:
    """A share of the diagonal as the source of the mode reads it: DAVIS and GSCNN round up."""
    if mode == 'csurka':
        return csurka_tolerance(height, width, share)
    return math.ceil(share * math.sqrt(height**2 + width**2))


def require_mode(mode: str) -> None:
    """Raises a ValueError unless the mode is one of `MODES`."""
    require_choice('mode', mode, MODES)


def _require_tolerances(tolerances: Any) -> tuple[float, ...]:
    tolerances = listed(tolerances)
    numbers = all(isinstance(each, (int, float)) and 0 <= each < math.inf for each in tolerances)
    if not tolerances or not numbers:
        raise ValueError(
            f'tolerances are {tolerances!r}; give one or more numbers of pixels, 0 or more each.'
        )
    return tolerances


def _boundary_f(pair: LabelPair, tolerances: Sequence[float], mode: str) -> Tensor:
    pred, label, num_classes = pair.pred, pair.label, pair.num_classes
    drawn = partial(class_boundaries, mode='inner' if mode == 'csurka' else 'davis')
    areas = torch.bincount(torch.stack([pred, label]).flatten(), minlength=num_classes + 1)
    classes = areas[:num_classes].nonzero().flatten().tolist()
    scores = torch.full((num_classes, len(tolerances)), torch.nan, dtype=torch.float64)
    for first in range(0, len(classes), MAX_SETS):
        some = classes[first : first + MAX_SETS]
        scores[some] = _f(drawn(pred, some), drawn(label, some), len(some), tolerances)
    return scores


def _per_class(values: Tensor, mode: str) -> Tensor:
    return _mean_over_first(values.nan_to_num(nan=1.0) if mode == 'gscnn' else values)


def _mean_over_images(values: Tensor) -> Tensor:
    """The mean over images of the mean over classes in each."""
    return _mean_over_first(_mean_over_first(values.transpose(0, 1)))


def _f(predicted: Tensor, true: Tensor, classes: int, tolerances: Sequence[float]) -> Tensor:
    """(classes, T) float64, the F of two boundary maps; NaN where both have no boundary."""
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

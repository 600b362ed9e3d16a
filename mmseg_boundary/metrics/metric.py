"""The base class of metrics, and the accumulator that applies them to a data set."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ..labels import LabelPair, as_tensor, encode_pair, require_unknown_labels

WIDTHS = (1, 2, 3, 5, 9, 15)


class Scores(NamedTuple):
    """Scores over all images, in [0, 1]; NaN for a class that no image has.

    per_class: (K, C) float64, a column for each width.
    mean: (C,) float64, over classes; NaN is left out.
    """

    per_class: Tensor
    mean: Tensor


class Share(float):
    """A width that is a share of each image's diagonal; any other number is of pixels."""


class Metric(ABC):
    """Measures images one by one and makes scores of what it measured.

    A final class has a `name`, defines `measure` and `per_class`, and heads its table with
    `caption`. An object holds its options, and nothing of any image.

    Args:
        widths: in pixels or a `Share`, one column each.
        ratio: a share of the image's diagonal, for one more column, the first.
    """

    name: str

    def __init__(self, widths: Sequence[Any], ratio: float | None = None) -> None:
        self.widths = tuple(widths)
        self.ratio = ratio

    def widths_in(self, pair: LabelPair) -> tuple[Any, ...]:
        """The widths in pixels of this image."""
        size = pair.label.shape
        return tuple(
            self.pixels_of(each, *size) if isinstance(each, Share) else each for each in self.widths
        )

    def pixels_of(self, share: float, height: int, width: int) -> float:
        """The width that a share of the diagonal is."""
        return width_at_ratio(height, width, share)

    @abstractmethod
    def measure(self, pair: LabelPair) -> Tensor:
        """The record of one image, (K, C, ...) on the CPU."""

    @abstractmethod
    def per_class(self, records: list[Tensor]) -> Tensor:
        """(K, C) float64, of the records of all images, in whatever order."""

    @property
    @abstractmethod
    def caption(self) -> str:
        """How a table of the scores is headed."""

    def mean(self, per_class: Tensor, records: list[Tensor]) -> Tensor:
        """(C,) float64, of the scores per class, or of the records where these are averaged in
        another way."""
        return per_class.nanmean(0)

    def remark(self, records: list[Tensor]) -> str:
        """A sentence to stand below the table, if the scores need one."""
        return ''

    def score(self, records: list[Tensor]) -> Scores:
        """The scores over the images that were measured.

        Raises:
            ValueError: there is no record.
        """
        if not records:
            raise ValueError('No image has been measured; give one or more before scores are made.')
        per_class = self.per_class(records)
        return Scores(per_class, self.mean(per_class, records))

    @property
    def columns(self) -> list[str]:
        """The ends of the columns' keys: '3px', '0.008d' of a `Share`, '' of `ratio`."""
        return [''] * (self.ratio is not None) + [f'{each}{_unit(each)}' for each in self.widths]

    @property
    def headings(self) -> list[str]:
        """The columns as a table heads them."""
        first = [] if self.ratio is None else [f'{self.ratio:.3g} of the diagonal']
        return first + [f'{each} {_unit(each)}' for each in self.widths]

    @property
    def widths_in_words(self) -> str:
        """The part that captions share."""
        shares = [str(each) for each in self.widths if isinstance(each, Share)]
        pixels = [str(each) for each in self.widths if not isinstance(each, Share)]
        words = [f'{", ".join(pixels)} px'] if pixels else []
        words += [f"{', '.join(shares)} d, the image's diagonal"] if shares else []
        return f'in percent, n = {" and ".join(words)}'

    def score_images(
        self,
        pred: Any,
        label: Any,
        num_classes: int,
        ignore_index: int = 255,
        unknown_labels: str = 'refuse',
    ) -> Scores:
        """The scores of one image, or over the images of a stack. Arguments: see `Accumulator`."""
        accumulator = Accumulator([self], num_classes, ignore_index, unknown_labels)
        accumulator.update(pred, label)
        return accumulator.compute()[self.name]


class Accumulator:
    """Metrics over a data set, image by image; each image is read once for all of them.

    >>> import torch
    >>> from mmseg_boundary.metrics import BoundaryF, BoundaryIoU
    >>> label = torch.zeros(2, 9, 9, dtype=torch.long)
    >>> label[:, 2:7, 2:7] = 1
    >>> scores = Accumulator([BoundaryIoU((1, 2)), BoundaryF((1, 2))], num_classes=2)
    >>> scores.update(label, label)
    >>> scores.update(label[0].roll(1, 1), label[0])
    >>> scores.compute()['BoundaryIoU'].per_class[1]  # of class 1 at 1 and 2 px
    tensor([0.7143, 0.8462], dtype=torch.float64)
    >>> scores.compute()['BoundaryF'].mean
    tensor([1., 1.], dtype=torch.float64)
    >>> scores.reset()

    The scores depend neither on the order of the images nor on how they are split into stacks.
    `records` holds, per metric, what was measured: a small tensor for each image. Those of several
    processes make one list.

    Args:
        metrics: such as `BoundaryIoU()`, each kind once.
        num_classes: K; the classes are 0 to K-1.
        ignore_index: the void label.
        unknown_labels: 'refuse' raises a ValueError if a label is neither a class nor void; with
            'wrong' whatever is predicted there is wrong. A predicted number outside the classes is
            wrong in either case.

    Raises:
        ValueError: two metrics have the same name, or `unknown_labels` is neither.
    """

    def __init__(
        self,
        metrics: Iterable[Metric],
        num_classes: int,
        ignore_index: int = 255,
        unknown_labels: str = 'refuse',
    ) -> None:
        require_unknown_labels(unknown_labels)
        self.metrics = list(metrics)
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ValueError(
                f'The metrics are {", ".join(names)}; give each once, and another accumulator for '
                'the same metric with other options.'
            )
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.unknown_labels = unknown_labels
        self.reset()

    def update(self, pred: Any, label: Any) -> None:
        """Measures one image or a stack; if one of them is refused, none is added.

        Args:
            pred, label: (H, W) or (N, H, W) integer class indices, tensors on any device or NumPy
                arrays; pixels of `label` may be void.

        Raises:
            ValueError: the maps are not of the same such shape and of integer types, or labels are
                unknown and refused.
        """
        pred, label = as_tensor(pred), as_tensor(label)
        if pred.shape != label.shape or label.dim() not in (2, 3):
            raise ValueError(
                f'pred is {tuple(pred.shape)} and label {tuple(label.shape)}; give class indices, '
                'both (H, W) or both a stack (N, H, W). Of logits take the argmax over classes.'
            )
        images = [(pred, label)] if label.dim() == 2 else zip(pred, label, strict=True)
        measured = []
        for each in images:
            pair = encode_pair(*each, self.num_classes, self.ignore_index, self.unknown_labels)
            measured.append([metric.measure(pair) for metric in self.metrics])
        for image in measured:
            for metric, record in zip(self.metrics, image, strict=True):
                self.records[metric.name].append(record)

    def compute(self) -> dict[str, Scores]:
        """{name: scores} over all images since the last `reset`.

        Raises:
            ValueError: there was no image.
        """
        return {metric.name: metric.score(self.records[metric.name]) for metric in self.metrics}

    def reset(self) -> None:
        """Forgets all images."""
        self.records = {metric.name: [] for metric in self.metrics}


def width_at_ratio(height: int, width: int, dilation_ratio: float = 0.02) -> int:
    """A share of the image's diagonal in pixels, 1 or more, rounded as in Boundary IoU's code.

    >>> width_at_ratio(1024, 2048)
    46
    """
    return max(1, round(dilation_ratio * math.sqrt(height**2 + width**2)))


def listed(widths: Any) -> tuple[Any, ...]:
    """Widths as numbers of Python: a single one, or those of a sequence, an array or a tensor.

    >>> import numpy as np
    >>> listed(1), listed(np.arange(1, 4))
    ((1,), (1, 2, 3))
    """
    widths = widths.tolist() if hasattr(widths, 'tolist') else widths
    if isinstance(widths, str) or not isinstance(widths, Iterable):
        widths = (widths,)
    return tuple(each.item() if hasattr(each, 'item') else each for each in widths)


def require_widths(widths: Any) -> tuple[float, ...]:
    """The widths, one or several, each once, floats as `Share`.

    Raises:
        ValueError: there is none, or one is neither a whole number of pixels, 1 or more, nor a
            float between 0 and 1.
    """
    widths = listed(widths)
    if not widths or not all(_is_pixels(each) or _is_share(each) for each in widths):
        raise ValueError(
            f'widths is {widths!r}; give one or more whole numbers of pixels, 1 or more each, or '
            "shares of the image's diagonal, floats between 0 and 1."
        )
    return tuple(dict.fromkeys(Share(each) if _is_share(each) else each for each in widths))


def require_ratio(ratio: float, name: str = 'dilation_ratio') -> float:
    """Raises a ValueError unless the ratio is a share, above 0 and up to 1."""
    if not 0 < ratio <= 1:
        raise ValueError(f'{name} is {ratio!r}; give a share of the diagonal, above 0 and up to 1.')
    return ratio


def _is_pixels(width: object) -> bool:
    return isinstance(width, int) and not isinstance(width, bool) and width >= 1


def _is_share(width: object) -> bool:
    return isinstance(width, float) and 0 < width < 1


def _unit(width: float) -> str:
    return 'd' if isinstance(width, Share) else 'px'

"""Labels as masks. Void and the presence of classes are decided here alone.

Shapes, in the whole package: N images, K classes of the loss, one per logit, H x W pixels at label
resolution, D directions.

Words: a label is an index map of the ground truth, a pred that of a prediction; a target holds the
one-hot masks of labels; logits or probs are what a loss receives; void pixels have `ignore_index`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from .choices import require_choice
from .devices import is_queued
from .requirements import require_torch

# Here, since every loss and metric imports this module.
require_torch()

Result = TypeVar('Result')
UNKNOWN_LABELS = ('refuse', 'wrong')


@dataclass(frozen=True)
class Target:
    """The one-hot masks of a batch of labels, without void.

    masks: (N, K, H, W) bool, the pixels of each class; False at void.
    valid: (N, 1, H, W) bool, the pixels that are not void.
    """

    masks: Tensor
    valid: Tensor
    _cache: dict = field(default_factory=dict, repr=False, compare=False)

    @property
    def regions(self) -> Tensor:
        """(N, max(K, 2), H, W) bool, a mask for each class: with one logit, of class 0 too.

        Every valid pixel lies in exactly one; the last K are `masks`.
        """
        if self.masks.shape[1] > 1:
            return self.masks
        return torch.cat([self.valid & ~self.masks, self.masks], 1)

    def cached(self, compute: Callable[..., Result], *options: object) -> Result:
        """`compute(self.regions, *options)`, computed once: later calls get the same tensors."""
        key = compute, *options
        if key not in self._cache:
            with torch.no_grad():
                self._cache[key] = compute(self.regions, *options)
        return self._cache[key]

    @property
    def present(self) -> Tensor:
        """(N, K) bool, which classes an image has a pixel of."""
        return self.masks.any(3).any(2)

    def require_shape(self, given: Tensor, name: str = 'probs') -> None:
        """Raises a ValueError unless `given` is a tensor with a probability ('probs') or a logit
        ('logits') for each class and pixel: any other number of classes might be broadcast."""
        require_tensor(name, given)
        if given.shape != self.masks.shape:
            one = 'logit' if name == 'logits' else 'probability'
            raise ValueError(
                f'{name} are {tuple(given.shape)} and the target is {tuple(self.masks.shape)}; '
                f'give one {one} for each class and pixel of the labels.'
            )

    def masked(self, values: Tensor) -> Tensor:
        """(N, K, H, W) `values` with 0 at void, in the gradient too.

        Raises:
            ValueError: the values have another N, H or W than the labels.
        """
        if values.shape[:1] + values.shape[2:] != self.valid.shape[:1] + self.valid.shape[2:]:
            raise ValueError(
                f'values are {tuple(values.shape)} and labels (N, H, W) = '
                f'{tuple(self.valid.squeeze(1).shape)}; resize the logits to the labels.'
            )
        return values.masked_fill(~self.valid, 0)


@dataclass(frozen=True)
class LabelPair:
    """The prediction and the label of one image, without void: for metrics what `Target` is for
    losses.

    num_classes: K; the classes are 0 to K-1.
    pred, label: (H, W) int32 on the CPU, 0 to K. K stands for void, in both maps, and for any other
        number that is not a class.
    valid: (H, W) bool, the pixels that are not void.
    label_as_given: (H, W) int64 on the CPU, in which numbers outside the classes stay distinct.
    """

    num_classes: int
    pred: Tensor
    label: Tensor
    valid: Tensor
    label_as_given: Tensor


def as_tensor(given: Any) -> Tensor:
    """What a metric was given: a tensor as it is; an array, or what NumPy makes one of, as a copy.

    >>> as_tensor([[0, 1]])
    tensor([[0, 1]])
    """
    if isinstance(given, Tensor):
        return given
    import numpy as np

    # A copy: torch refuses reversed arrays and warns of those that are read-only.
    array = np.array(given)
    # torch before 2.3 has no unsigned type but uint8.
    is_wide = array.dtype.kind == 'u' and array.dtype.itemsize > 1
    return torch.from_numpy(array.astype(np.int64) if is_wide else array)


def require_tensor(name: str, given: object) -> None:
    """Raises a ValueError unless a loss was given a tensor: arrays have no gradient.

    >>> require_tensor('labels', [[0, 1]])
    Traceback (most recent call last):
    ValueError: labels came as a list; give a tensor, such as torch.as_tensor(labels).
    """
    if not isinstance(given, Tensor):
        kind = type(given)
        is_array = kind.__module__ == 'numpy'
        raise ValueError(
            f'{name} came as a {"NumPy array" if is_array else kind.__name__}; give a tensor, such '
            f'as torch.{"from_numpy" if is_array else "as_tensor"}({name}).'
        )


def is_void(labels: Tensor, ignore_index: int) -> Tensor:
    """(…) bool, True at void pixels."""
    # In a narrow type -100 would wrap around to the index of a class: 156 in uint8.
    return labels.long() == ignore_index


def encode(labels: Tensor, num_logits: int, ignore_index: int = 255) -> Target:
    """The target of a batch of labels.

    Args:
        labels: (N, H, W) of any integer type; class indices, or `ignore_index` for void.
        num_logits: the number of logits. With 1 the labels are binary, {0, 1}, and the only mask
            is class 1; with K > 1 they are {0, …, K-1}.
        ignore_index: the void label.

    Raises:
        ValueError: the labels are no three-dimensional tensor of integers, or, on the CPU, some lie
            outside the classes. On CUDA an assertion on the device stops the process instead, since
            the labels are not read back.
    """
    require_tensor('labels', labels)
    if labels.dim() != 3 or not _is_integer(labels):
        raise ValueError(
            f'labels are {tuple(labels.shape)} {labels.dtype}; give class indices of shape '
            '(N, H, W) and an integer type.'
        )
    labels = labels.long()
    classes = torch.arange(max(num_logits, 2), device=labels.device)
    void = is_void(labels, ignore_index)
    _require_known(labels, void, classes, ignore_index)
    if num_logits == 1:
        classes = classes[1:]
    valid = ~void.unsqueeze(1)
    # `& valid`: the void label may itself be the index of a class.
    masks = (labels.unsqueeze(1) == classes.view(-1, 1, 1)) & valid
    return Target(masks, valid)


def encode_pair(
    pred: Any,
    label: Any,
    num_classes: int,
    ignore_index: int = 255,
    unknown_labels: str = 'refuse',
) -> LabelPair:
    """The prediction and the label of one image without void.

    Where one map has a number outside the classes, the other map's class is wrong, as in
    MMSegmentation's IoU.

    Args:
        pred, label: (H, W) integer class indices, tensors or NumPy arrays; pixels of `label` may be
            void.
        num_classes: K; the classes are 0 to K-1.
        ignore_index: the void label.
        unknown_labels: what a label means that is neither a class nor void: 'refuse' raises an
            error, with 'wrong' whatever is predicted there is wrong. A predicted number outside
            the classes is wrong in either case.

    Raises:
        ValueError: the maps are not two-dimensional integers of the same shape, or labels are
            unknown and refused, or `unknown_labels` is neither.
    """
    require_unknown_labels(unknown_labels)
    pred, label = as_tensor(pred), as_tensor(label)
    for name, given in (('pred', pred), ('label', label)):
        if given.dim() != 2 or not _is_integer(given):
            raise ValueError(
                f'{name} is {tuple(given.shape)} {given.dtype}; give the class indices of one '
                'image, (H, W) and of an integer type.'
            )
    if pred.shape != label.shape:
        raise ValueError(
            f'pred is {tuple(pred.shape)} and label {tuple(label.shape)}; resize the prediction to '
            'the label.'
        )
    pred, label = pred.long().cpu(), label.long().cpu()
    if unknown_labels == 'refuse':
        require_known_labels(label, num_classes, ignore_index)
    void = is_void(label, ignore_index)
    encoded_pred, encoded_label = (
        each.masked_fill(void | (each < 0) | (each > num_classes), num_classes).int()
        for each in (pred, label)
    )
    return LabelPair(num_classes, encoded_pred, encoded_label, ~void, label)


def require_known_labels(
    labels: Tensor, num_classes: int, ignore_index: int = 255, name: object = 'label'
) -> None:
    """Refuses labels that a metric would count as errors.

    Args:
        labels: integer, of any shape; read back from a GPU.
        num_classes: K; the classes are 0 to K-1.
        ignore_index: the void label, which may be the index of a class.
        name: what the labels are called in the error, such as their file.

    Raises:
        ValueError: a label is neither a class nor void.
    """
    labels = labels.long()
    unknown = _is_unknown(labels, is_void(labels, ignore_index), num_classes)
    if unknown.any():
        unknown = labels[unknown].unique().tolist()
        raise ValueError(
            f'{name} holds {unknown[:5]}, but the metric knows {num_classes} classes (0 to '
            f'{num_classes - 1}) and {ignore_index} as void. If that is void, give the metric '
            f"ignore_index={unknown[0]}; if it is to count as wrong, unknown_labels='wrong'; "
            "else correct the labels, or the data set's classes or reduce_zero_label."
        )


def require_unknown_labels(unknown_labels: str) -> None:
    """Raises a ValueError unless the word is one of `UNKNOWN_LABELS`."""
    require_choice('unknown_labels', unknown_labels, UNKNOWN_LABELS)


def _is_integer(labels: Tensor) -> bool:
    return not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)


def _is_unknown(labels: Tensor, void: Tensor, num_classes: int) -> Tensor:
    """(…) bool, True where int64 labels are neither a class nor void."""
    return ((labels < 0) | (labels >= num_classes)) & ~void


def _require_known(labels: Tensor, void: Tensor, classes: Tensor, ignore_index: int) -> None:
    unknown = _is_unknown(labels, void, len(classes))
    if is_queued(labels):
        torch._assert_async(~unknown.any())  # pyright: ignore[reportPrivateImportUsage]
    elif unknown.any():
        unknown = labels[unknown].unique().tolist()
        raise ValueError(
            f'labels hold {unknown[:5]}, but there are {len(classes)} classes '
            f'(0 to {len(classes) - 1}) and void is {ignore_index}. Check the number of classes of '
            "the head, its ignore_index and the data set's label map."
        )

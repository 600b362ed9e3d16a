"""What the losses have in common as modules: they take logits and labels, as MMSegmentation's
decode heads give them, and share what is computed from the labels."""

import inspect
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..choices import require_choice
from ..labels import Target, encode, require_tensor
from .reduction import require_class_weight

PIXEL_WEIGHTS = ('refuse', 'ignore')


def require_loss_name(loss_name: str) -> None:
    """Raises a ValueError for a name under which MMEngine would train nothing."""
    if not (isinstance(loss_name, str) and loss_name.startswith('loss_')):
        raise ValueError(
            f"loss_name is {loss_name!r}; begin it with 'loss_', or MMEngine logs the value "
            'without training on it.'
        )


def require_ignore_index(ignore_index: int | None) -> None:
    """Raises a ValueError for what is no label and does not leave it to the head."""
    if not (ignore_index is None or isinstance(ignore_index, int)):
        raise ValueError(
            f"ignore_index is {ignore_index!r}; give a whole number, or None for the head's."
        )


def settings_of(loss: nn.Module, options: dict[str, Any]) -> str:
    """The arguments that a loss has now, beside its class in `repr`; a schedule moves weights.

    What a loss hands to its parts, and so does not keep, stands in their own lines.

    Args:
        options: those that are no attributes of the loss.
    """
    held = {**vars(loss), **loss._buffers, **options}
    names = inspect.signature(type(loss)).parameters
    return ', '.join(f'{name}={held[name]!r}' for name in names if name in held)


class _Entry(NamedTuple):
    """A target and what it was made of: one object, so that a thread sees all of it or nothing."""

    labels: weakref.ref
    logits: tuple[weakref.ref, ...]  # the head's, then what was made of them
    key: tuple
    target: Target

    def made_for(self, logits: Tensor) -> bool:
        return any(each() is logits for each in self.logits)


class SharedTarget:
    """`labels.encode`, done once for all losses of a head: they are given the same labels and the
    same logits, and every forward makes new logits.

    The latest target is cached, with all that was computed from it (distances, for instance), while
    the labels and the logits of its call are alive. It is used again for these very tensors alone,
    while torch counts no change of the labels. What torch does not count (`labels.data`, an array
    behind `from_numpy`, memory that processes share) is not seen between two calls with the same
    logits tensor.
    """

    def __init__(self) -> None:
        self._entry: _Entry | None = None

    def __call__(self, labels: Tensor, logits: Tensor, ignore_index: int) -> Target:
        """The target of (N, H, W) labels for (N, K, H, W) logits, of which K alone is read."""
        num_logits = logits.shape[1]
        if labels.is_inference():  # such tensors do not count their changes
            return encode(labels, num_logits, ignore_index)
        # What a graph captures it computes when it is replayed: it shares nothing with eager calls.
        capturing = labels.is_cuda and torch.cuda.is_current_stream_capturing()
        key = (num_logits, ignore_index, labels._version, capturing)
        entry = self._entry
        if entry and entry.labels() is labels and entry.made_for(logits) and entry.key == key:
            return entry.target
        target = encode(labels, num_logits, ignore_index)
        of_labels, of_logits = (weakref.ref(each, self._forget) for each in (labels, logits))
        self._entry = _Entry(of_labels, (of_logits,), key, target)
        return target

    def share(self, logits: Tensor, *made: Tensor) -> None:
        """Gives what was `made` of a head's logits the target that these have, if it is cached."""
        entry = self._entry
        if entry and entry.made_for(logits):
            self._entry = entry._replace(logits=(*entry.logits, *map(weakref.ref, made)))

    def _forget(self, died: weakref.ref) -> None:
        # An entry that was replaced is gone with its references, which call nobody then. (While
        # another thread reads it they may: the latest target is then computed again.)
        self._entry = None


shared_target = SharedTarget()


class DecodeHeadLoss(nn.Module, ABC):
    """What `BaseDecodeHead.loss_by_feat` expects of a loss, once for all of ours; elsewhere,
    `loss(logits, labels)`.

    Subclasses are final: they store their arguments and define `term`. The logits become
    probabilities here, in float32 (float64 stays) and outside of autocast: sums over pixels and
    powers of energies do not fit into half types. Losses with logarithms get the logits themselves.

    Args:
        use_sigmoid: independent one-vs-rest sigmoids instead of a softmax. One logit always means a
            sigmoid, with the classes {0, 1}.
        class_weight: one non-negative weight per logit; None weighs all alike.
        loss_weight: the factor of the value.
        loss_name: the key in the log. MMEngine trains what has 'loss' in its key.
        ignore_index: the void label where the head gives none, as DDRNet's and PIDNet's do; None is
            255. A head that gives another one is an error.
        pixel_weight: what a loss that is no mean over pixels does with pixel weights: 'refuse'
            them, or 'ignore' them. With 'ignore', whoever asks for a value per pixel, to rank
            pixels by, gets zeros: the other losses rank them.
    """

    takes_pixel_weight = False
    takes_logits = False
    # Whether it has fields, distances or boundaries to compare with the prediction, for which it
    # needs the logits of the head: `NeighbourPenalised` refuses it.
    measures_geometry = False
    class_weight: Tensor | None
    options: dict[str, Any]  # arguments of the pure function

    def __init__(
        self,
        use_sigmoid: bool,
        class_weight: Sequence[float] | None,
        loss_weight: float,
        loss_name: str,
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__()
        require_loss_name(loss_name)
        require_ignore_index(ignore_index)
        require_choice('pixel_weight', pixel_weight, PIXEL_WEIGHTS)
        require_class_weight(class_weight)
        self.use_sigmoid = use_sigmoid
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.ignore_index = ignore_index
        self.pixel_weight = pixel_weight
        # Not persistent: a checkpoint has to load without us.
        self.register_buffer(
            'class_weight',
            None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32),
            persistent=False,
        )

    def forward(
        self,
        seg_logits: Tensor,
        seg_label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The weighted loss of a batch, a scalar.

        Args:
            seg_logits: (N, K, H, W) float, resized to the labels by the head.
            seg_label: (N, H, W) class indices of any integer type.
            weight: (N, H, W) float, a sampler's pixel weights; for losses with a pixel mean, and
                unused with `pixel_weight='ignore'`.
            ignore_index: the head's void label; None for that of the loss.
            reduction_override: None, or 'none' with `pixel_weight='ignore'`; named because
                MMSegmentation's OHEM sampler without a threshold passes it, to rank pixels.

        Returns:
            A float32 scalar (float64 for such logits); 0 with a graph where nothing is valid. With
            `reduction_override='none'`, (N, H, W) zeros without a graph.

        Raises:
            ValueError: logits and labels are no tensors or do not fit, labels lie outside the
                classes, head and loss have different void labels, or an argument has no meaning for
                this loss.
        """
        self._require_support(seg_logits, seg_label, weight, reduction_override)
        void = self._void(ignore_index)
        dtype = torch.promote_types(seg_logits.dtype, torch.float32)
        if reduction_override == 'none':
            return seg_logits.new_zeros(seg_label.shape, dtype=dtype)
        if self.pixel_weight == 'ignore':
            weight = None
        with torch.autocast(seg_logits.device.type, enabled=False):
            logits = seg_logits.to(dtype)
            # The logits as they were passed in: those that all losses of the head are given.
            target = shared_target(seg_label, seg_logits, void)
            given = logits if self.takes_logits else self._probabilities(logits)
            return self.loss_weight * self.term(given, target, weight)

    def extra_repr(self) -> str:
        """The settings, which torch's `repr` of a module leaves to its class."""
        return settings_of(self, getattr(self, 'options', {}))

    @abstractmethod
    def term(self, probs: Tensor, target: Target, weight: Tensor | None, /) -> Tensor:
        """The unweighted loss, a scalar.

        Args:
            probs: (N, K, H, W); the logits instead if `takes_logits`.
            target: shared with the head's other losses.
            weight: None unless `takes_pixel_weight`.
        """

    def one_vs_rest(self, logits: Tensor) -> bool:
        """Whether every logit is a sigmoid of its own, and not one of a softmax."""
        return self.use_sigmoid or logits.shape[1] == 1

    def _void(self, of_head: int | None) -> int:
        given = [each for each in (of_head, self.ignore_index) if each is not None]
        if len(set(given)) > 1:
            raise ValueError(
                f'{type(self).__name__} has ignore_index={self.ignore_index}, but the head gives '
                f"ignore_index={of_head}; leave out that of the loss, or make the head's the same."
            )
        return given[0] if given else 255

    def _probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.one_vs_rest(logits) else logits.softmax(1)

    def _require_support(
        self,
        seg_logits: Tensor,
        seg_label: Tensor,
        weight: Tensor | None,
        reduction_override: str | None,
    ) -> None:
        name = type(self).__name__
        require_tensor('logits', seg_logits)
        require_tensor('labels', seg_label)
        if weight is not None:
            require_tensor('weight', weight)
        if reduction_override not in (None, 'none'):
            raise ValueError(
                f'reduction_override is {reduction_override!r}; leave it out, since the value of '
                f'{name} is one number.'
            )
        if reduction_override and self.pixel_weight == 'refuse':
            ways_out = (
                'give the sampler a `thresh`, or remove it.'
                if self.takes_pixel_weight
                else "remove it, or give the loss pixel_weight='ignore', so that the others rank."
            )
            raise ValueError(
                f"{name} has no value per pixel, but got reduction_override='none', by which a "
                'sampler of the head, if it has one, ranks pixels when it has no threshold: '
                f'{ways_out}'
            )
        if weight is not None and not self.takes_pixel_weight and self.pixel_weight == 'refuse':
            raise ValueError(
                f'{name} is no mean over pixels, but got pixel weights {tuple(weight.shape)}, from '
                "a sampler of the head, if it has one: remove the head's `sampler`, or give the "
                "loss pixel_weight='ignore'."
            )
        if self.takes_pixel_weight and weight is not None and weight.shape != seg_label.shape:
            raise ValueError(
                f'{name} got pixel weights {tuple(weight.shape)} for labels '
                f'{tuple(seg_label.shape)}; give one weight per pixel.'
            )
        if seg_logits.dim() != 4 or seg_label.shape != seg_logits.shape[:1] + seg_logits.shape[2:]:
            raise ValueError(
                f'{name} got logits {tuple(seg_logits.shape)} and labels {tuple(seg_label.shape)}; '
                'give logits (N, K, H, W), resized to the labels, and labels (N, H, W). (Heads '
                'that train on single points, such as PointHead, have no boundaries.)'
            )

"""What the losses have in common as modules: they take logits and labels, as MMSegmentation's
decode heads give them, and share what is measured on the labels."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..labels import Target, encode, require_class_weight


class SharedTarget:
    """`labels.encode`, done once for all losses of a head: they are given the same label tensor.

    The target of the latest labels is remembered, with all that was measured on it (distances, for
    one), while these labels are alive and unchanged. Each head stacks its labels anew.
    """

    def __init__(self) -> None:
        self._forget()

    def __call__(self, labels: Tensor, num_planes: int, ignore_index: int) -> Target:
        if labels.is_inference():  # such tensors do not count their changes
            return encode(labels, num_planes, ignore_index)
        key = (num_planes, ignore_index, labels._version)
        if self._labels() is not labels or self._key != key:
            self._target = encode(labels, num_planes, ignore_index)
            self._labels = weakref.ref(labels, self._forget)
            self._key = key
        return self._target

    def _forget(self, died: weakref.ref | None = None) -> None:
        if died is None or died is self._labels:
            self._labels, self._key, self._target = lambda: None, None, None


shared_target = SharedTarget()


class DecodeHeadLoss(nn.Module, ABC):
    """What `BaseDecodeHead.loss_by_feat` expects of a loss, once for all of ours; elsewhere,
    `loss(logits, labels)`.

    Subclasses are final: they store their arguments and define `term`. The logits become
    probabilities here, in float32 (float64 stays) and outside of autocast: sums over pixels and
    powers of energies do not fit into half types. Losses with logarithms get the logits themselves.

    Args:
        use_sigmoid: independent one-vs-rest fields instead of a softmax. One logit always means a
            sigmoid, with the classes {0, 1}.
        class_weight: one non-negative weight per logit; None weighs all alike.
        loss_weight: the factor of the value.
        loss_name: the key in the log. MMEngine trains what has 'loss' in its key.
    """

    takes_pixel_weight = False
    takes_logits = False

    def __init__(
        self,
        use_sigmoid: bool,
        class_weight: Sequence[float] | None,
        loss_weight: float,
        loss_name: str,
    ) -> None:
        super().__init__()
        if not (isinstance(loss_name, str) and loss_name.startswith('loss_')):
            raise ValueError(
                f"loss_name is {loss_name!r}; begin it with 'loss_', or MMEngine logs the value "
                'without training on it.'
            )
        require_class_weight(class_weight)
        self.use_sigmoid = use_sigmoid
        self.loss_weight = loss_weight
        self.loss_name = loss_name
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
        ignore_index: int = 255,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The weighted loss of a batch, a scalar.

        Args:
            seg_logits: (N, K, H, W) float, resized to the labels by the head.
            seg_label: (N, H, W) integer class indices.
            weight: (N, H, W) float, a sampler's pixel weights; only for losses with a pixel mean.
            ignore_index: the head's void label.
            reduction_override: has to be None; named because MMSegmentation's OHEM sampler
                without a threshold passes it.

        Returns:
            A float32 scalar (float64 for such logits); 0 with a graph where nothing is valid.

        Raises:
            ValueError: logits and labels do not fit, labels lie outside the classes, or an argument
                has no meaning for this loss.
        """
        self._require_support(seg_logits, seg_label, weight, reduction_override)
        with torch.autocast(seg_logits.device.type, enabled=False):
            logits = seg_logits if seg_logits.dtype == torch.float64 else seg_logits.float()
            target = shared_target(seg_label, logits.shape[1], ignore_index)
            fields = logits if self.takes_logits else self._probabilities(logits)
            return self.loss_weight * self.term(fields, target, weight)

    @abstractmethod
    def term(self, fields: Tensor, target: Target, weight: Tensor | None) -> Tensor:
        """The unweighted loss, a scalar.

        Args:
            fields: (N, K, H, W), probabilities; logits if `takes_logits`.
            target: shared with the head's other losses.
            weight: None unless `takes_pixel_weight`.
        """

    def one_vs_rest(self, logits: Tensor) -> bool:
        """Whether every logit is a sigmoid of its own, and not one of a softmax."""
        return self.use_sigmoid or logits.shape[1] == 1

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
        if reduction_override is not None:
            raise ValueError(
                f'{name} has no value per pixel (reduction_override={reduction_override!r}), by '
                'which OHEMPixelSampler without a threshold ranks pixels: give the sampler a '
                '`thresh`, or remove the sampler.'
            )
        if weight is not None and not self.takes_pixel_weight:
            raise ValueError(
                f'{name} is no mean over pixels, so pixel weights mean nothing to it: remove the '
                "head's `sampler`."
            )
        if weight is not None and weight.shape != seg_label.shape:
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

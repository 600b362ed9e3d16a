"""Log-probabilities of the label, and their weights: what cross-entropies are made of.

They take logits, since the logarithm of a saturated probability is minus infinity.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ..labels import Target
from .reduction import as_class_weight


def log_likelihood(logits: Tensor, target: Target, one_vs_rest: bool) -> Tensor:
    """The logarithm of the probability that the prediction gives to the label.

    Args:
        logits: (N, K, H, W) float.
        target: the labels, from `labels.encode`.
        one_vs_rest: every logit is a sigmoid of its own, for or against its class.

    Returns:
        (N, 1, H, W) float, of the true class in a softmax; (N, K, H, W), of every logit, for
        one-vs-rest. Not above 0; 0 at void.
    """
    if one_vs_rest:
        return target.masked(F.logsigmoid(logits.where(target.masks, -logits)))
    return logits.log_softmax(1).masked_fill(~target.masks, 0).sum(1, keepdim=True)


def likelihood_weights(
    like: Tensor, target: Target, one_vs_rest: bool, class_weight: Sequence[float] | Tensor | None
) -> Tensor:
    """The weights of the terms of `log_likelihood`, of its shape: of each pixel's true class in a
    softmax, of the logit's class for one-vs-rest; 0 at void."""
    weights = as_class_weight(class_weight, like)
    weights = weights.view(-1, 1, 1)
    if one_vs_rest:
        return weights * target.valid
    return (weights * target.masks).sum(1, keepdim=True)

"""Class-balanced cross-entropy of edges (HED: Xie & Tu, ICCV 2015; as in GSCNN: Takikawa et al.,
ICCV 2019)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..labels import Target, encode

EDGE_VOID = 255  # of labels of edges, which are 0 and 1


def balanced_edge_loss(edge_logits: Tensor, target: Target) -> Tensor:
    """Binary cross-entropy in which edges and what is none weigh alike, whatever their number.

        L = 1/V sum over valid p of  N/V E(p) softplus(-o(p)) + P/V (1 - E(p)) softplus(o(p))

    o are the logits, E the edges, V the number of valid pixels of the batch, P of those that are
    an edge and N of the others. Several logits have a loss each, of which this is the mean.

    Args:
        edge_logits: (N, K, H, W) float; not probabilities, whose logarithm saturates.
        target: the edges as labels, from `labels.encode`: {0, 1} for one logit.

    Returns:
        A scalar, 0 or more; 0 with a graph if no pixel is valid, or without edges.

    Raises:
        ValueError: `edge_logits` and `target` differ in shape.

    Deviations:
        MMSegmentation's `BoundaryLoss` is the same for one logit without void. It divides by the
        number of all pixels, void included, and reads masks back from a GPU.
    """
    target.require_shape(edge_logits, 'logits')
    edges = target.masks
    others = ~edges & target.valid
    pixels = (0, 2, 3)
    costs = -F.logsigmoid(edge_logits.where(edges, -edge_logits))
    # Two sums, since a map of weights would be kept for backward, in floats.
    at_edges, elsewhere = (costs.masked_fill(~each, 0).sum(pixels) for each in (edges, others))
    count_edges, count_others = (each.sum(pixels).to(costs.dtype) for each in (edges, others))
    total = (count_edges + count_others).clamp(min=1)
    # Each factor apart: a product of counts would leave the exact range of float32.
    balanced = (count_others / total) * (at_edges / total)
    return (balanced + (count_edges / total) * (elsewhere / total)).mean()


class BalancedEdgeLoss(nn.Module):
    """`balanced_edge_loss` as a module, in float32 (float64 stays) and outside of autocast, for a
    head with logits of edges, such as `GSCNNHead`.

    Args:
        loss_weight: the factor of the value.
        loss_name: the key in the log where no head has one of its own for the place.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_edge') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, edge_logits: Tensor, edge_labels: Tensor) -> Tensor:
        """The weighted loss of a batch, a scalar.

        Args:
            edge_logits: (N, 1, H, W) float.
            edge_labels: (N, H, W) integer: 1 at edges, 0 elsewhere, 255 at void.
        """
        dtype = torch.promote_types(edge_logits.dtype, torch.float32)
        with torch.autocast(edge_logits.device.type, enabled=False):
            target = encode(edge_labels, edge_logits.shape[1], EDGE_VOID)
            return self.loss_weight * balanced_edge_loss(edge_logits.to(dtype), target)

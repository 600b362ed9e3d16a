"""Cross-entropy of semantic edges, one map per class (CASENet: Yu et al., CVPR 2017; as an
auxiliary task of segmentation, SBCB: Ishikawa & Aoki, Sensors 23(15), 2023).
"""

import math

import torch.nn.functional as F
from torch import Tensor

from ..choices import require_choice
from ..geometry.boundary import within
from ..labels import Target, require_tensor
from .reduction import weighted_mean

OUTPUT_STRIDES = (1, 2, 4)


def semantic_boundary_loss(
    edge_logits: Tensor, target: Target, radius: float = 2, output_stride: int = 1
) -> Tensor:
    """Binary cross-entropy of the edges of every class, in which edges outweigh the rest.

        L = mean over images of  1/(V K) sum over valid p, k of  beta E_k(p) softplus(-o_k(p))
                                                                 + (1 - E_k(p)) softplus(o_k(p))
        beta = max(1, (V - P) / P)

    o are the logits, E the edges (`class_edges`), V the number of valid pixels of the image, and P
    of those that are an edge of any class. At most boundaries a pixel is an edge of two classes, so
    that each logit has a sigmoid of its own.

    Args:
        edge_logits: (N, K, ceil(H / output_stride), ceil(W / output_stride)) float, for the edges
            of class k to lie there; not probabilities, whose logarithm saturates.
        target: the labels, from `labels.encode`.
        radius: 1 or more, in pixels of the labels: how thick an edge is on either side.
        output_stride: 1, 2 or 4, the width of a cell of pixels that has one logit. It is an edge of
            class k if a pixel in it is one, and valid if a pixel in it is; V and P count cells.

    Returns:
        A scalar, 0 or more; the mean over the images with a valid pixel, and 0 with a graph if
        there is none.

    Raises:
        ValueError: an argument is out of its range, or `edge_logits` and `target` do not fit.

    Deviations:
        The authors' code takes P as the sum over the maps of all classes and V as H W, so that the
        ratio can become negative before it is clipped, and counts void as pixels without an edge.
        On Cityscapes they have edges between instances of one class too, which no label map has.
    """
    require_semantic_boundary_options(radius, output_stride)
    require_tensor('edge_logits', edge_logits)
    edges = pooled(class_edges(target, radius), output_stride)
    valid = pooled(target.valid, output_stride)
    if edge_logits.shape != edges.shape:
        raise ValueError(
            f'logits are {tuple(edge_logits.shape)} and the target is {tuple(edges.shape)}; give '
            f'one logit for each class and cell of output_stride={output_stride} pixels.'
        )
    pixels, edge_pixels = (
        mask.sum((1, 2, 3)).to(edge_logits.dtype) for mask in (valid, edges.any(1, keepdim=True))
    )
    beta = ((pixels - edge_pixels) / edge_pixels.clamp(min=1)).clamp(min=1)
    costs = -F.logsigmoid(edge_logits.where(edges, -edge_logits))
    # Two sums, since a map of weights would be kept for backward, in floats.
    at_edges = costs.masked_fill(~edges, 0).sum((1, 2, 3))
    elsewhere = costs.masked_fill(edges | ~valid, 0).sum((1, 2, 3))
    means = (beta * at_edges + elsewhere) / (edges.shape[1] * pixels.clamp(min=1))
    return weighted_mean(means, (pixels > 0).to(means.dtype))


def class_edges(target: Target, radius: float) -> Tensor:
    """The valid pixels within `radius` of the boundary of each class, on both of its sides.

    Pixels of the class at a Euclidean distance of at most `radius` from a valid pixel of another
    one, and pixels of others at most as far from the class. Void has no edges and makes none, nor
    does the image border.

    >>> import torch
    >>> from mmseg_boundary.labels import encode
    >>> class_edges(encode(torch.tensor([[[0, 0, 0, 1, 1, 255, 2, 2]]]), 3), radius=1).int()
    tensor([[[[0, 0, 1, 1, 0, 0, 0, 0]],
    <BLANKLINE>
             [[0, 0, 1, 1, 0, 0, 0, 0]],
    <BLANKLINE>
             [[0, 0, 0, 0, 0, 0, 0, 0]]]], dtype=torch.int32)

    Args:
        target: the labels, from `labels.encode`.
        radius: 0 or more, in pixels.

    Returns:
        (N, K, H, W) bool.
    """
    near = target.cached(within, radius)
    # A valid pixel lies in one region: two are near where the other side of its boundary is.
    several = near.sum(1, keepdim=True) > 1
    return near[:, -target.masks.shape[1] :] & several & target.valid


def pooled(mask: Tensor, stride: int) -> Tensor:
    """(..., ceil(H / stride), ceil(W / stride)) bool, the cells of stride x stride pixels with a
    pixel of the (..., H, W) mask; cells at the lower and right border may be smaller."""
    height, width = mask.shape[-2:]
    whole = F.pad(mask, (0, -width % stride, 0, -height % stride))
    return whole.unflatten(-1, (-1, stride)).any(-1).unflatten(-2, (-1, stride)).any(-2)


def require_semantic_boundary_options(radius: float, output_stride: int) -> None:
    """Raises the ValueErrors of `semantic_boundary_loss`, before there is a batch."""
    if not 1 <= radius < math.inf:
        raise ValueError(f'radius is {radius!r}; give 1 or more pixels.')
    require_choice('output_stride', output_stride, OUTPUT_STRIDES)

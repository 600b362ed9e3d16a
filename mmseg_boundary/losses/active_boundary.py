"""Active boundary loss (Wang et al., "Active Boundary Loss for Semantic Segmentation", AAAI 2022;
code: github.com/wangchi95/active-boundary-loss, without a license).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry.boundary import within
from ..geometry.distance import distance_to_boundary
from ..labels import Target
from .decode_head_loss import DecodeHeadLoss

# (row, column) of the neighbors; of two that are equally far from the boundary the first counts.
NEIGHBORS = ((1, 0), (-1, 0), (0, -1), (0, 1), (-1, 1), (1, 1), (-1, -1), (1, -1))
_ITSELF = len(NEIGHBORS)
_LOWEST, _GROWTH = 1e-5, 1.2  # of the thresholds
_STEPS = 4000  # thresholds, of which the last is infinite in float64 too


def active_boundary_loss(
    logits: Tensor,
    target: Target,
    max_share: float = 0.01,
    max_distance: float = 20,
    label_smoothing: float = 0.2,
    detach: bool = True,
    one_vs_rest: bool = False,
) -> Tensor:
    """Cross-entropy of the direction in which the predicted boundary has to move.

        k(x) = KL(P(x) ‖ P(below x)) + KL(P(x) ‖ P(right of x))
        B    = {k > threshold of the image}, dilated by 3 x 3
        s_j  = KL(P(neighbor j) ‖ P(x)),   t(x) = the neighbor nearest to the true boundary
        L    = mean over x in B, t(x) not x itself, of  min(M / max_distance, 1) CE(softmax(s), t)

    M is the distance to the true boundary: pixels whose lower or right neighbor has another class.
    On it pixels count in the mean, with a weight of 0. The threshold is the smallest 1e-5 x 1.2^m,
    m = 0, 1, …, that at most `max_share` of the pixels exceed. A pixel beyond the image has the
    prediction of the nearest in it, and no distance; void has neither, and is no neighbor.

    Args:
        logits: (N, K, H, W) float; not probabilities, whose logarithm saturates.
        target: the labels, from `labels.encode`.
        max_share: in (0, 1], the share of each image's pixels, void included, that B may have
            before it is dilated. An image of fewer than 1 / max_share pixels has none.
        max_distance: above 0, in pixels: from there on the weight is 1.
        label_smoothing: in [0, 1), what CE shares among the neighbors other than t.
        detach: the gradient enters through the pixels x alone; False also through their neighbors.
        one_vs_rest: every logit is a sigmoid of its own; KL is the sum over logits.

    Returns:
        A scalar, 0 or more; 0 with a graph where no boundary is predicted, or none is true.

    Raises:
        ValueError: an argument is out of its range, or `logits` and `target` differ in shape.

    Deviations:
        The authors' budget is of the batch, here of each image. Void is a boundary there, their
        weight is that of M - 1, and their smoothed target sums to 0.975. B may be empty, where
        they return None.
    """
    require_active_boundary_options(max_share, max_distance, label_smoothing)
    target.require_shape(logits, 'logits')
    valid = target.valid.squeeze(1)
    log_probs = log_probabilities(logits.detach(), one_vs_rest)
    change = prediction_change(log_probs, valid)
    boundary = predicted_boundary(change, max_share) & valid
    pixels, filled = _first_pixels(boundary, 9 * _budget(boundary, max_share))
    places, inside = _neighbors(pixels, *boundary.shape[1:])

    is_valid = _at(valid, places)
    distances = _at(target.cached(distance_to_boundary), places)
    # Squares of distances are whole numbers: equally far pixels tie, whatever the engine.
    squares = distances.square().round().masked_fill(~(inside & is_valid), torch.inf)
    direction = squares.argmin(1, keepdim=True)  # the first of several
    own_square = squares[:, _ITSELF]
    kept = filled & (direction.squeeze(1) != _ITSELF) & own_square.isfinite()

    # Void may hold NaN, and so may the place of a slot that is not kept.
    usable = is_valid[:, :_ITSELF] & kept.unsqueeze(1)
    center = log_probabilities(_at(logits, pixels).where(kept.unsqueeze(1), 0), one_vs_rest)
    around = _at(log_probs if detach else logits, places[:, :_ITSELF])
    around.masked_fill_(~usable.unsqueeze(1), 0)
    if not detach:
        around = log_probabilities(around, one_vs_rest)
    probs = around.exp()
    scores = (probs * around).sum(1) - (probs * center.unsqueeze(2)).sum(1)
    costs = _direction_cost(scores, direction, usable, label_smoothing)
    weights = own_square.to(costs.dtype).sqrt().div(max_distance).clamp(max=1)
    total = (costs * weights).where(kept, 0).sum() / kept.sum().clamp(min=1)
    return total + 0 * change.sum()  # NaN logits, which exceed no threshold


def require_active_boundary_options(
    max_share: float, max_distance: float, label_smoothing: float
) -> None:
    """Raises the ValueErrors of `active_boundary_loss`, before there is a batch."""
    if not 0 < max_share <= 1:
        raise ValueError(
            f'max_share is {max_share!r}; give a share of the pixels, above 0 and at most 1.'
        )
    if not max_distance > 0:
        raise ValueError(f'max_distance is {max_distance!r}; give more than 0 pixels.')
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f'label_smoothing is {label_smoothing!r}; give 0 or more, and less than 1.'
        )


def log_probabilities(logits: Tensor, one_vs_rest: bool) -> Tensor:
    """(N, C, …) float: of the K classes or, one-vs-rest, for each and then against each."""
    if one_vs_rest:
        return torch.cat([F.logsigmoid(logits), F.logsigmoid(-logits)], 1)
    return logits.log_softmax(1)


@torch.no_grad()
def prediction_change(log_probs: Tensor, valid: Tensor) -> Tensor:
    """k: how far the prediction of a pixel is from that of the pixels below and to the right.

    Args:
        log_probs: (N, C, H, W) float.
        valid: (N, H, W) bool; from and to void nothing changes.

    Returns:
        (N, H, W) float; NaN where `log_probs` are.
    """
    change = torch.zeros_like(valid, dtype=log_probs.dtype)
    for found, logs, is_valid in zip(change, log_probs, valid, strict=True):
        found.copy_((0 * logs.sum(0)).where(is_valid, 0))  # NaN of pixels without neighbors too
        probs = logs.exp()
        for dim in (-2, -1):
            pairs = logs.shape[dim] - 1
            terms = logs.narrow(dim, 0, pairs) - logs.narrow(dim, 1, pairs)
            divergence = terms.mul_(probs.narrow(dim, 0, pairs)).sum(0)
            both = is_valid.narrow(dim, 0, pairs) & is_valid.narrow(dim, 1, pairs)
            found.narrow(dim, 0, pairs).add_(divergence.where(both, 0))
    return change


@torch.no_grad()
def boundary_threshold(change: Tensor, max_share: float) -> Tensor:
    """The smallest 1e-5 x 1.2^m, m = 0, 1, …, that at most `max_share` of an image's pixels exceed.

    Args:
        change: (N, H, W) float.
        max_share: in (0, 1].

    Returns:
        (N,) float. NaN counts as the largest change.
    """
    # At most n pixels exceed a threshold if the (n + 1)-th largest does not. With all of them there
    # is no such pixel, but the last pixel of an image, without neighbors, has the lowest, 0.
    flat = change.flatten(1)
    rank = min(_budget(change, max_share) + 1, flat.shape[1])
    value = flat.topk(rank, 1).values[:, -1:].contiguous()
    powers = torch.arange(_STEPS, device=change.device, dtype=torch.float64)
    thresholds = (_LOWEST * _GROWTH**powers).to(change.dtype)
    return thresholds[torch.searchsorted(thresholds, value).clamp(max=_STEPS - 1)].squeeze(1)


@torch.no_grad()
def predicted_boundary(change: Tensor, max_share: float) -> Tensor:
    """(N, H, W) bool, where the prediction changes most, and the 8 neighbors; void not removed."""
    core = change > boundary_threshold(change, max_share).view(-1, 1, 1)
    return within(core, 1.5)


def _budget(maps: Tensor, max_share: float) -> int:
    """How many pixels of an image may exceed the threshold."""
    return math.floor(max_share * maps.shape[1] * maps.shape[2])


def _first_pixels(mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` pixels of each (H, W) mask, without reading how many there are.

    Returns:
        pixels: (N, count) int64, row x W + column; of the last pixel where the mask has fewer.
        filled: (N, count) bool, whether it has that many.
    """
    numbers = mask.flatten(1).cumsum(1)
    count = min(count, numbers.shape[1])
    ordinals = torch.arange(1, count + 1, device=mask.device).expand(len(mask), -1).contiguous()
    pixels = torch.searchsorted(numbers, ordinals)
    return pixels.clamp(max=numbers.shape[1] - 1), ordinals <= numbers[:, -1:]


def _neighbors(pixels: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The 8 neighbors of (N, S) pixels and, last, the pixels themselves.

    Returns:
        places: (N, 9, S) int64, of the nearest pixel in the image.
        inside: (N, 9, S) bool, whether that is the neighbor itself.
    """
    rows, columns = pixels // width, pixels % width
    places, inside = [], []
    for down, right in (*NEIGHBORS, (0, 0)):
        row, column = rows + down, columns + right
        nearest = row.clamp(0, height - 1), column.clamp(0, width - 1)
        places.append(nearest[0] * width + nearest[1])
        inside.append((nearest[0] == row) & (nearest[1] == column))
    return torch.stack(places, 1), torch.stack(inside, 1)


def _at(maps: Tensor, places: Tensor) -> Tensor:
    """The values of (N, H, W) or (N, K, H, W) maps at (N, …) places: (N, …) or (N, K, …)."""
    flat = places.flatten(1)
    if maps.dim() == 3:
        return maps.flatten(1).gather(1, flat).view(places.shape)
    found = maps.flatten(2).gather(2, flat.unsqueeze(1).expand(-1, maps.shape[1], -1))
    return found.view(*maps.shape[:2], *places.shape[1:])


def _direction_cost(
    scores: Tensor, direction: Tensor, usable: Tensor, label_smoothing: float
) -> Tensor:
    """(N, S) cross-entropy of the softmax of (N, 8, S) scores with the (N, 1, S) direction, over
    the usable neighbors; 0 where that is one alone."""
    direction = direction.clamp(max=_ITSELF - 1)
    others = (usable.sum(1) - 1).clamp(min=0)
    chosen = scores.gather(1, direction).squeeze(1)
    rest = scores.where(usable, 0).sum(1) - chosen
    smoothed = (1 - label_smoothing) * chosen + label_smoothing * rest / others.clamp(min=1)
    # not -inf: the gradient of a sum of nothing but these would be NaN
    lowest = torch.finfo(scores.dtype).min
    return (scores.where(usable, lowest).logsumexp(1) - smoothed).where(others > 0, 0)


class ActiveBoundaryLoss(DecodeHeadLoss):
    """`active_boundary_loss` as a module, beside a cross-entropy and a Lovász loss.

    It has no class weights: a direction is of no class.
    """

    takes_logits = True
    measures_geometry = True

    def __init__(
        self,
        max_share: float = 0.01,
        max_distance: float = 20,
        label_smoothing: float = 0.2,
        detach: bool = True,
        use_sigmoid: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_abl',
        ignore_index: int | None = None,
        pixel_weight: str = 'refuse',
    ) -> None:
        super().__init__(use_sigmoid, None, loss_weight, loss_name, ignore_index, pixel_weight)
        self.options = dict(
            max_share=max_share,
            max_distance=max_distance,
            label_smoothing=label_smoothing,
            detach=detach,
        )
        require_active_boundary_options(max_share, max_distance, label_smoothing)

    def term(self, logits: Tensor, target: Target, weight: None) -> Tensor:
        return active_boundary_loss(
            logits, target, **self.options, one_vs_rest=self.one_vs_rest(logits)
        )

"""Published algorithms and plain forms, with which ours are compared.

They are written from the papers and from what the authors' programs do; none of their code is here.
They take no void labels, and are for measuring alone.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from mmseg_boundary.losses.active_boundary import NEIGHBORS
from mmseg_boundary.losses.epl.rays import SPLITTERS

# --- EPL (github.com/XuYin94/Contour-aware-equipotential-learning) --------------------------------


def epl_point_loss(probs: Tensor, labels: Tensor, kernel_size: int, splitter: str = 'A') -> Tensor:
    """The mean squared difference of dense convolutions of target and prediction."""
    masks = one_hot(probs, labels)
    terms = [
        F.mse_loss(convolve(probs, weight, 'replicate'), convolve(masks, weight, 'replicate'))
        for weight in directional_weights(probs, kernel_size, splitter)
    ]
    return sum(terms) / len(terms)


def epl_line_loss(
    probs: Tensor, labels: Tensor, kernel_size: int, splitter: str = 'A', mu: int = 10
) -> Tensor:
    """Dense convolutions, a full sort per image and class, all maps of all lines kept."""
    h = kernel_size // 2
    masks = one_hot(probs, labels)
    terms = []
    for weight in directional_weights(probs, kernel_size, splitter):
        target = convolve(masks, weight, 'constant').round()
        prediction = convolve(probs, weight, 'constant')
        region = (target >= 1) & (target <= h)
        first, size = (target < 1).sum((2, 3)), region.sum((2, 3))
        order = prediction.detach().flatten(2).argsort(2)
        ranks = torch.arange(order.shape[2], device=order.device)
        first, last = first[..., None], (first + size)[..., None]
        chosen_in_order = ((ranks >= first) & (ranks < last)).to(probs.dtype)
        chosen = torch.zeros_like(chosen_in_order).scatter(2, order, chosen_in_order)
        target = target * region
        prediction = prediction * chosen.view_as(prediction)
        for tau in range(1, h + 1):
            d = torch.exp(-((target - tau).abs() ** mu))
            d_hat = torch.exp(-((prediction - tau).abs() ** mu))
            intersection = (d * d_hat).abs().sum() + 1
            constant = d.abs().sum() / (d * d).abs().sum()
            terms.append(1 - 2 * constant * intersection / (d.abs().sum() + d_hat.abs().sum() + 1))
    return sum(terms) / len(SPLITTERS[splitter])


def one_hot(probs: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, probs.shape[1]).permute(0, 3, 1, 2).to(probs.dtype)


def directional_weights(probs: Tensor, kernel_size: int, splitter: str) -> Iterator[Tensor]:
    """(K, K, w, w) for each direction: every class to itself, along a ray from the centre."""
    h, classes = kernel_size // 2, range(probs.shape[1])
    for down, right in SPLITTERS[splitter]:
        weight = probs.new_zeros(len(classes), len(classes), kernel_size, kernel_size)
        for j in range(h + 1):
            weight[classes, classes, h - j * down, h - j * right] = 1
        yield weight


def convolve(maps: Tensor, weight: Tensor, padding: str) -> Tensor:
    h = weight.shape[-1] // 2
    return F.conv2d(F.pad(maps, (h, h, h, h), mode=padding), weight)


# --- BF1, as its equations read -------------------------------------------------------------------


def bf1_loss(probs: Tensor, labels: Tensor, theta0: int, theta: int) -> Tensor:
    """Every maximum by `max_pool2d`, under autograd, with its 64-bit indices."""

    def window_max(maps: Tensor, window: int) -> Tensor:
        return F.max_pool2d(maps, window, stride=1, padding=window // 2)

    def boundary(maps: Tensor) -> Tensor:
        return window_max(1 - maps, theta0) - (1 - maps)

    target, predicted = boundary(one_hot(probs, labels)), boundary(probs)
    length, predicted_length = target.sum((2, 3)), predicted.sum((2, 3))
    precision = (predicted * window_max(target, theta)).sum((2, 3)) / (predicted_length + 1e-7)
    recall = (target * window_max(predicted, theta)).sum((2, 3)) / (length + 1e-7)
    f1 = 2 * precision * recall / (precision + recall + 1e-7)
    return (1 - f1)[length > 0].mean()


# --- The active boundary loss, as its equations read ----------------------------------------------


def active_boundary_loss(logits: Tensor, labels: Tensor, max_share: float = 0.01) -> Tensor:
    """Every pixel with its 8 neighbors, and a threshold that is found by reading back."""
    log_probs = logits.log_softmax(1)
    fixed = log_probs.detach()
    change = torch.zeros_like(fixed[:, 0])
    changes = labels.new_zeros(labels.shape, dtype=torch.bool)
    for dim in (-2, -1):
        pairs = labels.shape[dim] - 1
        here, there = (fixed.narrow(dim, start, pairs) for start in (0, 1))
        change.narrow(dim, 0, pairs).add_((here.exp() * (here - there)).sum(1))
        differ = labels.narrow(dim, 0, pairs) != labels.narrow(dim, 1, pairs)
        changes.narrow(dim, 0, pairs).logical_or_(differ)
    core = torch.zeros_like(changes)
    for image, found in zip(change, core, strict=True):
        m = 0
        while (image > 1e-5 * 1.2**m).sum().item() > max_share * image.numel():
            m += 1
        found.copy_(image > 1e-5 * 1.2**m)
    boundary = F.max_pool2d(core[:, None].float(), 3, 1, 1)[:, 0] > 0
    # every image has a boundary here
    distances = [distance_transform_edt(~each) for each in changes.cpu().numpy()]
    distances = torch.from_numpy(np.stack(distances)).to(change)

    def around(maps: Tensor) -> Iterator[Tensor]:
        for down, right in NEIGHBORS:
            yield maps[..., 1 + down :, 1 + right :][..., : labels.shape[1], : labels.shape[2]]

    far = F.pad(distances, (1, 1, 1, 1), value=torch.inf)
    direction = torch.stack([*around(far), distances]).argmin(0)
    padded = F.pad(fixed, (1, 1, 1, 1), mode='replicate')
    scores = torch.stack([(q.exp() * (q - log_probs)).sum(1) for q in around(padded)], 1)
    kept = boundary & (direction < len(NEIGHBORS))
    # torch's label smoothing has a share for the target too
    costs = F.cross_entropy(
        scores, direction.clamp(max=7), reduction='none', label_smoothing=0.2 * 8 / 7
    )
    return (costs * (distances / 20).clamp(max=1))[kept].sum() / kept.sum().clamp(min=1)


# --- Signed distances (github.com/LIVIAETS/boundary-loss, one_hot2dist) ---------------------------


def signed_distances(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Two transforms per present class: scipy's exact one, outside and inside."""
    return _two_passes(labels, num_classes, distance_transform_edt)


def signed_distances_by_opencv(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The same with OpenCV's precise transform."""

    def engine(mask: np.ndarray) -> np.ndarray:
        return cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

    return _two_passes(labels, num_classes, engine)


def _two_passes(labels: np.ndarray, num_classes: int, engine) -> np.ndarray:
    distances = np.zeros((num_classes, *labels.shape), np.float32)
    for k in np.unique(labels):
        mask = labels == k
        distances[k] = engine(~mask) * ~mask - (engine(mask) - 1) * mask
    return distances


# --- Boundary IoU (github.com/bowenc0221/boundary-iou-api) ----------------------------------------


def count_boundary_iou(
    pred: np.ndarray, label: np.ndarray, num_classes: int, widths: Sequence[int]
) -> np.ndarray:
    """(K, W, 2): one erosion per map, class and width."""
    counts = np.zeros((num_classes, len(widths), 2), np.int64)
    for k in range(num_classes):
        for column, width in enumerate(widths):
            ours, theirs = (_inner_band(each == k, width) for each in (pred, label))
            counts[k, column] = (ours & theirs).sum(), (ours | theirs).sum()
    return counts


def _inner_band(mask: np.ndarray, width: int) -> np.ndarray:
    framed = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=width)
    return mask & (eroded[1:-1, 1:-1] == 0)


# --- Boundary F (DAVIS 2017 evaluation, f_measure, which GSCNN took over) -------------------------


def boundary_f(
    pred: np.ndarray, label: np.ndarray, num_classes: int, radii: Sequence[int]
) -> np.ndarray:
    """(K, T): boundaries, dilated twice by a disk, per class and radius; NaN without boundaries."""
    scores = np.full((num_classes, len(radii)), np.nan)
    for k in range(num_classes):
        for column, radius in enumerate(radii):
            scores[k, column] = _f_measure(pred == k, label == k, radius)
    return scores


def _f_measure(pred: np.ndarray, label: np.ndarray, radius: int) -> float:
    pred, label = _boundary(pred), _boundary(label)
    if not (pred.any() or label.any()):
        return np.nan
    disk = _disk(radius)
    near_pred, near_label = (cv2.dilate(each.view(np.uint8), disk) for each in (pred, label))
    precision = (pred & (near_label > 0)).sum() / max(pred.sum(), 1)
    recall = (label & (near_pred > 0)).sum() / max(label.sum(), 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: np.ndarray) -> np.ndarray:
    """Where a mask differs from its eastern, southern or south-eastern neighbour."""
    east, south, both = mask.copy(), mask.copy(), mask.copy()
    east[:, :-1] = mask[:, 1:]
    south[:-1] = mask[1:]
    both[:-1, :-1] = mask[1:, 1:]
    both[-1, :-1] = mask[-1, 1:]
    both[:-1, -1] = mask[1:, -1]
    return (mask != east) | (mask != south) | (mask != both)


# --- Trimap IoU (Kohli et al. 2009; Chen et al. 2015) ---------------------------------------------


def count_trimap_iou(
    pred: np.ndarray, label: np.ndarray, num_classes: int, widths: Sequence[int]
) -> np.ndarray:
    """(K, W, 2): one dilation by a disk and one confusion matrix per width."""
    boundary = np.zeros(label.shape, np.uint8)
    down, right = label[1:] != label[:-1], label[:, 1:] != label[:, :-1]
    for part, change in (
        (boundary[1:], down),
        (boundary[:-1], down),
        (boundary[:, 1:], right),
        (boundary[:, :-1], right),
    ):
        part |= change.view(np.uint8)
    counts = np.zeros((num_classes, len(widths), 2), np.int64)
    for column, width in enumerate(widths):
        band = cv2.dilate(boundary, _disk(width, is_open=True)) > 0
        pairs = num_classes * label[band].astype(np.int64) + pred[band]
        confusion = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, -1)
        both = confusion.diagonal()
        counts[:, column] = np.stack([both, confusion.sum(0) + confusion.sum(1) - both], 1)
    return counts


def _disk(radius: int, is_open: bool = False) -> np.ndarray:
    offsets = np.arange(-radius, radius + 1)
    squared = offsets[:, None] ** 2 + offsets**2
    return (squared < radius**2 if is_open else squared <= radius**2).astype(np.uint8)

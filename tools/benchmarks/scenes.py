"""Labels and predictions that losses, distances and metrics are measured on."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Sample(NamedTuple):
    """probs: (N, K, H, W) float32 that want a gradient; labels: (N, H, W) int64, no void."""

    probs: Tensor
    labels: Tensor


def blobs(images: int, classes: int, height: int, width: int, wobble: int = 0) -> Tensor:
    """(N, H, W) int64: Voronoi cells, four per class, seen through smooth waves, so that their
    boundaries wobble. Another `wobble` has other waves and the same cells."""
    random = torch.Generator().manual_seed(0)
    waves = torch.Generator().manual_seed(1 + wobble)
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij'))
    labels = torch.zeros(images, height, width, dtype=torch.long)
    for label in labels:
        coarse = torch.randn(1, 2, height // 16 + 1, width // 16 + 1, generator=waves)
        seen = places + 4 * F.interpolate(coarse, (height, width), mode='bicubic')[0]
        best = torch.full((height, width), torch.inf)
        for number in range(4 * classes):
            y, x = torch.rand(2, generator=random) * torch.tensor([height, width])
            distance = (seen[0] - y).square() + (seen[1] - x).square()
            label[distance < best] = number % classes
            best = torch.minimum(best, distance)
    return labels


def thin(images: int, classes: int, height: int, width: int, wobble: int = 0) -> Tensor:
    """Blobs crossed by six lines per class, 1 to 3 px wide, and 2 % of the pixels any class."""
    random = np.random.default_rng(0)
    labels = blobs(images, classes, height, width, wobble).to(torch.uint8).numpy()
    for label in labels:
        for number in range(6 * classes):
            start, end = random.integers(0, (width, height), (2, 2)).tolist()
            cv2.line(label, start, end, number % classes, 1 + number % 3)
        speckles = random.random(label.shape) < 0.02
        label[speckles] = random.integers(0, classes, speckles.sum())
    return torch.from_numpy(labels).long()


LABELS = {'blobs': blobs, 'thin': thin}
USUAL = 'half trained, blobs'


def samples(device: str, *shape: int, kinds: Sequence[str] = tuple(LABELS)) -> dict[str, Sample]:
    """{'prediction, labels': sample} of the shape (N, K, H, W). The half-trained prediction is the
    blurred target with noise; the saturated one is the target shifted by 2 px, all 0 and 1."""
    images, classes, height, width = shape
    found = {}
    for kind in kinds:
        labels = LABELS[kind](images, classes, height, width)
        masks = F.one_hot(labels, classes).permute(0, 3, 1, 2).float()
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        for name, logits in (
            ('uniform', torch.zeros(shape)),
            ('half trained', 4 * F.avg_pool2d(masks, 9, 1, 4) + noise),
            ('saturated', 200 * masks.roll(2, 3)),
        ):
            probs = logits.softmax(1).to(device).requires_grad_()
            found[f'{name}, {kind}'] = Sample(probs, labels.to(device))
    return found

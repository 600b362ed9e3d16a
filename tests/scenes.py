"""Small random pictures for the property tests: labels with void, and logits of several kinds."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from mmseg_boundary.labels import Target, encode


@dataclass
class Scene:
    """Float64 logits (N, K, H, W) and labels (N, H, W); `kind` says what the logits are like."""

    logits: torch.Tensor
    labels: torch.Tensor
    kind: str
    void: int = 255

    @property
    def probs(self) -> torch.Tensor:
        return self.logits.sigmoid() if self.logits.shape[1] == 1 else self.logits.softmax(1)

    @property
    def target(self) -> Target:
        return encode(self.labels, self.logits.shape[1], self.void)


def scene(fields=3, shape=(2, 6, 7), kind='random', void_share=0.2, seed=0) -> Scene:
    """Blobs of a few classes, some pixels void, and a prediction that knows nothing of them."""
    generator = torch.Generator().manual_seed(seed)
    images, height, width = shape
    coarse = torch.randint(max(fields, 2), (images, 3, 3), generator=generator)
    rows = torch.arange(height) * 3 // height
    columns = torch.arange(width) * 3 // width
    labels = coarse[:, rows][:, :, columns]
    labels[torch.rand(shape, generator=generator) < void_share] = 255
    logits = torch.randn(images, fields, height, width, generator=generator, dtype=torch.float64)
    scale = {'random': 1.0, 'saturated': 200.0, 'uniform': 0.0}[kind]
    return Scene(scale * logits, labels, kind)


def scenes(fields=(1, 2, 3, 5), kinds=('random', 'saturated', 'uniform')) -> st.SearchStrategy:
    """Every mix of size, number of logits, kind and share of void, all-void among them."""
    return st.builds(
        scene,
        fields=st.sampled_from(fields),
        shape=st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 8)),
        kind=st.sampled_from(kinds),
        void_share=st.sampled_from((0.0, 0.2, 0.6, 1.0)),
        seed=st.integers(0, 10_000),
    )


def segmentation(shape=(9, 10), classes=3, void_share=0.2, wrong=0.3, seed=0):
    """Truth and prediction of one image, each (H, W): blobs up to the border, some pixels void, and
    a prediction that is the truth shifted by a pixel with some pixels redrawn."""
    height, width = shape
    label = scene(classes, (1, height, width), void_share=0.0, seed=seed).labels[0]
    generator = torch.Generator().manual_seed(seed)
    redrawn = torch.randint(classes, shape, generator=generator)
    pred = label.roll(seed % 2, seed % 2 - 1)
    pred = pred.where(torch.rand(shape, generator=generator) >= wrong, redrawn)
    return pred, label.masked_fill(torch.rand(shape, generator=generator) < void_share, 255)


def segmentations() -> st.SearchStrategy:
    """Every mix of size, number of classes, errors and void; the prediction knows no void."""
    return st.builds(
        segmentation,
        shape=st.tuples(st.integers(1, 9), st.integers(1, 10)),
        classes=st.integers(1, 4),
        void_share=st.sampled_from((0.0, 0.1, 0.4, 1.0)),
        wrong=st.sampled_from((0.0, 0.05, 0.5)),
        seed=st.integers(0, 10_000),
    )


def square(top=2, left=2, bottom=7, right=7, size=9):
    """(size, size) int64, 1 in the rows top to bottom - 1 and the columns left to right - 1."""
    label = torch.zeros(size, size, dtype=torch.long)
    label[top:bottom, left:right] = 1
    return label

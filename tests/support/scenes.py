"""Small random images for the property tests: labels with void, and logits of several kinds."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from mmseg_boundary.labels import Target, encode

KINDS = ('random', 'saturated', 'uniform')
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LAYOUTS = ('contiguous', 'channels last', 'every other column', 'transposed')


@dataclass
class Scene:
    """Logits (N, K, H, W), labels (N, H, W), and the kind of the logits, see `scene`."""

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


def scene(
    num_logits=3,
    shape=(2, 6, 7),
    kind='random',
    void_share=0.2,
    seed=0,
    present=None,
    dtype=torch.float64,
    layout='contiguous',
) -> Scene:
    """Blobs of at most `present` classes with some void pixels, and `num_logits` logits
    that do not depend on the labels or, with the kind 'labels', predict them exactly."""
    generator = torch.Generator().manual_seed(seed)
    images, height, width = shape
    classes = max(num_logits, 2)
    coarse = torch.randint(classes, (images, 3, 3), generator=generator)
    if present is not None:
        chosen = torch.randperm(classes, generator=generator)[:present]
        coarse = chosen[coarse % len(chosen)]
    rows = torch.arange(height) * 3 // height
    columns = torch.arange(width) * 3 // width
    labels = coarse[:, rows][:, :, columns]
    labels[torch.rand(shape, generator=generator) < void_share] = 255
    if kind == 'labels':
        numbers = torch.arange(classes)[-num_logits:].view(-1, 1, 1)
        logits = 400.0 * (labels.unsqueeze(1) == numbers).double() - 200
    else:
        logits = torch.randn(
            images, num_logits, height, width, generator=generator, dtype=torch.float64
        )
        logits *= {'random': 1.0, 'saturated': 200.0, 'uniform': 0.0}[kind]
    return Scene(laid_out(logits.to(dtype), layout), labels, kind)


def laid_out(logits, layout):
    """The same numbers in another memory layout."""
    if layout == 'channels last':
        return logits.contiguous(memory_format=torch.channels_last)
    if layout == 'every other column':
        return logits.repeat_interleave(2, 3)[..., ::2]
    if layout == 'transposed':
        return logits.mT.contiguous().mT
    return logits


def scenes(num_logits=(1, 2, 3, 5), kinds=KINDS) -> st.SearchStrategy:
    """All mixes of size, number of logits, kind and share of void, which may be all."""
    return st.builds(
        scene,
        num_logits=st.sampled_from(num_logits),
        shape=st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 8)),
        kind=st.sampled_from(kinds),
        void_share=st.sampled_from((0.0, 0.2, 0.6, 1.0)),
        seed=st.integers(0, 10_000),
    )


def wild_scenes() -> st.SearchStrategy:
    """More than `scenes`: up to 40 classes, absent ones and ones that fill the image, any share of
    void, exact predictions, half precision, and any memory layout."""
    return st.builds(
        scene,
        num_logits=st.integers(1, 40),
        shape=st.tuples(st.integers(1, 2), st.integers(1, 13), st.integers(1, 15)),
        kind=st.sampled_from((*KINDS, 'labels')),
        void_share=st.floats(0, 1),
        seed=st.integers(0, 10_000),
        present=st.integers(1, 9),
        dtype=st.sampled_from(DTYPES),
        layout=st.sampled_from(LAYOUTS),
    )


def segmentation(shape=(9, 10), classes=3, void_share=0.2, wrong=0.3, seed=0):
    """Prediction and label of one image, each (H, W). The label has blobs up to the border and some
    void pixels; the prediction is the label shifted by a pixel, with some pixels redrawn."""
    height, width = shape
    label = scene(classes, (1, height, width), void_share=0.0, seed=seed).labels[0]
    generator = torch.Generator().manual_seed(seed)
    redrawn = torch.randint(classes, shape, generator=generator)
    pred = label.roll(seed % 2, seed % 2 - 1)
    pred = pred.where(torch.rand(shape, generator=generator) >= wrong, redrawn)
    return pred, label.masked_fill(torch.rand(shape, generator=generator) < void_share, 255)


def large_segmentation(void_share=0.02):
    """As `segmentation`, of 97 x 110 pixels, with objects and void at the border."""
    pred, label = segmentation((97, 110), void_share=void_share, wrong=0.02, seed=5)
    label[:4] = 255
    return pred, label


def segmentations() -> st.SearchStrategy:
    """All mixes of size, number of classes, errors and void; predictions have no void."""
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


def ringed(size=60, ring=5):
    """As VOC's: an object in a ring of void, and another that touches it without one."""
    label = square(18, 18, 42, 42, size) * 255
    label[18 + ring : 42 - ring, 18 + ring : 42 - ring] = 1
    label[30:36, 42:50] = 2
    return label

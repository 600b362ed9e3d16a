"""Warns where MMSegmentation's enlargement of logits moves contours.

A network of stride 8 gives 23 rows of logits for an image of 180. They stand for 184, and the stock
heads enlarge them to 180: what lies at the bottom comes 4 px too high. On CamVid at half size this
costs 13 points of boundary F at 2 px on pavement, and 1 of mIoU.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

from mmengine.logging import print_log
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor


def watch_logits(heads: Iterable[BaseDecodeHead], trained: Sequence[int] | None) -> None:
    """Has each head warn once, at the first image whose contours it moves.

    Args:
        heads: of a network that is given whole images; windows are as large as its crops.
        trained: the height and width of the crops, in which it has learned such a move; None if
            they are unknown.
    """
    for head in heads:
        _watch(head, None if trained is None else tuple(trained))


def stride_and_move(size: int, logits: int, align_corners: bool) -> tuple[int, int]:
    """The stride of a network that gives `logits` for `size` pixels, and by how many pixels a
    contour moves at their end. Where it does not, the stride is any; else a power of two."""
    intervals = int(align_corners)  # between centers, of which there is one less
    size, logits = size - intervals, logits - intervals
    if not logits or size % logits == 0:
        return 1, 0
    stride = 2 ** round(math.log2(size / logits))
    return stride, abs(logits * stride - size)


def _watch(head: BaseDecodeHead, trained: tuple | None) -> None:
    inner = head.predict_by_feat

    def watched(seg_logits: Any, batch_img_metas: list[dict]) -> Tensor:
        enlarged = inner(seg_logits, batch_img_metas)
        # GSCNN's edges, and what heads of other projects have, come behind the logits.
        logits = seg_logits[0] if isinstance(seg_logits, (list, tuple)) else seg_logits
        if not isinstance(logits, Tensor):
            return enlarged
        given, size = tuple(logits.shape[2:]), tuple(enlarged.shape[2:])
        found = [stride_and_move(size[dim], given[dim], head.align_corners) for dim in (0, 1)]
        stride, pixels = map(max, zip(*found, strict=True))
        if pixels and size != trained:
            head.predict_by_feat = inner
            _warn(given, size, stride, pixels)
        return enlarged

    head.predict_by_feat = watched


def _warn(given: tuple, size: tuple, stride: int, pixels: int) -> None:
    logits, image = ('×'.join(map(str, each)) for each in (given, size))
    print_log(
        f'{logits} logits are enlarged to an image of {image}, which is no multiple of their '
        f'stride: contours move by up to {pixels} px, which boundary metrics count. Pad the test '
        f'images: --cfg-options model.data_preprocessor.test_cfg.size_divisor={stride} (or the '
        'stride of the backbone, where that is larger).',
        logger='current',
        level=logging.WARNING,
    )

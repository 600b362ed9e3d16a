"""Warns where MMSegmentation's enlargement of logits moves contours.

A network of stride 8 gives 23 rows of logits for an image of 180. They stand for 184, and the stock
heads enlarge them to 180: what lies at the bottom comes 4 px too high. On CamVid at half size this
costs 14 points of boundary F at 2 px on pavement, and 1 of mIoU.
"""

import logging
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

from mmengine.logging import print_log
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from ..compat import wrap_predict_by_feat

MOST = 32  # the largest stride of a backbone


def watch_logits(heads: Iterable[BaseDecodeHead], trained: Collection[tuple[int, int]]) -> None:
    """Has each head warn once, at the first image whose contours it moves.

    Args:
        trained: heights and widths that the network was trained on: at these it has learned how its
            contours move.
    """
    for head in heads:
        wrap_predict_by_feat(head, partial(_watched, head.align_corners, trained))


def stride_and_moves(
    size: Sequence[int], logits: Sequence[int], align_corners: bool
) -> tuple[int, tuple[int, int]]:
    """The stride of a network that gives `logits` for images of `size`, a power of two or a patch's
    14; and by how many pixels it moves contours at the lower and at the right end."""
    between = int(align_corners)  # the centers of the outermost pixels stay where they are
    axes = [(length - between, count - between) for length, count in zip(size, logits, strict=True)]
    ratio = max([length / count for length, count in axes if count], default=1)
    stride = 14 if ratio == 14 else 2 ** max(round(math.log2(ratio)), 0)
    down, right = (abs(count * stride - length) if count else 0 for length, count in axes)
    return stride, (down, right)


def _watched(
    align_corners: bool, trained: Collection[tuple[int, int]], predict: Callable
) -> Callable:
    warned = False

    def watched(seg_logits: Any, *args, **kwargs) -> Any:
        nonlocal warned
        enlarged = predict(seg_logits, *args, **kwargs)
        # GSCNN's edges, and what heads of other projects have, come behind the logits.
        logits = seg_logits[0] if isinstance(seg_logits, (list, tuple)) else seg_logits
        if warned or not all(map(_is_map, (logits, enlarged))):
            return enlarged
        given, size = logits.shape[2:], enlarged.shape[2:]
        stride, moves = stride_and_moves(size, given, align_corners)
        if any(moves) and size not in trained:
            warned = True
            _warn(given, size, stride, moves, align_corners)
        return enlarged

    return watched


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4


def _warn(
    given: Sequence[int],
    size: Sequence[int],
    stride: int,
    moves: Sequence[int],
    align_corners: bool,
) -> None:
    if align_corners:
        remedy = f'With align_corners they stay where a side is a multiple of {stride} plus 1.'
    else:
        # A head may be finer than its backbone, whose stride divides what the logits stand for.
        covered = [count * stride for count in given]
        divisor = min(math.gcd(MOST, each) for each in covered)
        remedy = (
            'Pad the test images: --cfg-options '
            f'model.data_preprocessor.test_cfg.size_divisor={divisor}'
        )
    logits, image = ('×'.join(map(str, each)) for each in (given, size))
    print_log(
        f'Logits of {logits} are resized to an image of {image}, which moves contours by up to '
        f'{max(moves)} px, and boundary metrics count that. {remedy}',
        logger='current',
        level=logging.WARNING,
    )

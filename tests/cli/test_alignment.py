"""Logits whose enlargement moves contours."""

import cv2
import numpy as np
import pytest
import torch
from mmseg.models.decode_heads import FCNHead
from mmseg.models.utils import resize

from mmseg_boundary.cli.alignment import stride_and_moves, watch_logits
from tests.support.small_run import SIZE, evaluate, train

SIZE_OF_IMAGE = (180, 240)


@pytest.mark.parametrize(
    'size, logits, align_corners, expected',
    [
        ((180, 240), (23, 30), False, (8, (4, 0))),
        ((180, 240), (92, 120), False, (2, (4, 0))),  # a decoder to half size
        ((180, 240), (12, 15), False, (16, (12, 0))),  # 15 rows each would be one of 180
        ((180, 240), (6, 8), False, (32, (12, 16))),
        ((512, 683), (64, 86), False, (8, (0, 5))),
        ((181, 240), (22, 30), False, (8, (5, 0))),  # of layers that drop the last row
        ((375, 500), (376, 500), False, (1, (1, 0))),
        ((512, 512), (64, 64), False, (8, (0, 0))),
        ((518, 518), (37, 37), False, (14, (0, 0))),  # patches
        ((473, 473), (60, 60), True, (8, (0, 0))),
        ((513, 684), (129, 171), True, (4, (0, 3))),
        ((1, 1), (1, 1), True, (1, (0, 0))),
    ],
)
def test_the_moves(size, logits, align_corners, expected):
    assert stride_and_moves(size, logits, align_corners) == expected


@pytest.mark.parametrize('size, stride', [(180, 8), (683, 8), (181, 4), (361, 16)])
def test_an_edge_in_the_logits_moves_so_far(size, stride):
    """A step in the last row of the logits, on a grid of the stride and where it is enlarged to."""
    rows = -(-size // stride)
    logits = torch.zeros(1, 1, rows, 1)
    logits[:, :, -1] = 1
    edges = []
    for enlarged in (size, rows * stride):
        column = resize(logits, (enlarged, 1), mode='bilinear', align_corners=False).flatten()
        edges.append(np.interp(0.5, column.numpy(), np.arange(enlarged) + 0.5))
    share = (rows - 1) / rows  # of the way to the end
    move = stride_and_moves((size, stride), (rows, 1), align_corners=False)[1][0]
    assert edges[1] - edges[0] == pytest.approx(move * share, abs=0.02)


def head(kind=FCNHead, align_corners=False):
    return kind(
        in_channels=2, channels=2, num_convs=0, concat_input=False, num_classes=2,
        align_corners=align_corners,
    )  # fmt: skip


def predict(given, rows, columns, size=SIZE_OF_IMAGE):
    logits = torch.zeros(1, 2, rows, columns)
    return given.predict_by_feat(logits, [dict(img_shape=size, pad_shape=size)])


def test_it_is_said_once_with_the_remedy(warned):
    given = head()
    watch_logits([given], [(120, 160)])
    for _ in range(2):
        assert predict(given, 23, 30).shape == (1, 2, *SIZE_OF_IMAGE)
    (said,) = warned
    assert said.startswith('Logits of 23×30 are resized to an image of 180×240, which moves')
    assert 'by up to 4 px' in said and said.endswith('test_cfg.size_divisor=8')


@pytest.mark.parametrize('rows, columns, divisor', [(92, 120, 8), (12, 15, 16), (6, 8, 32)])
def test_the_divisor_is_that_of_the_backbone(rows, columns, divisor, warned):
    """A head may be finer; with the padding nothing moves."""
    given = head()
    watch_logits([given], [])
    predict(given, rows, columns)
    (said,) = warned
    assert said.endswith(f'size_divisor={divisor}')
    padded = tuple(-(-each // divisor) * divisor for each in SIZE_OF_IMAGE)
    assert not any(stride_and_moves(padded, (rows, columns), False)[1])


def test_aligned_corners_want_another_size(warned):
    given = head(align_corners=True)
    watch_logits([given], [])
    predict(given, 129, 171, (513, 684))
    (said,) = warned
    assert 'by up to 3 px' in said and said.endswith('a multiple of 4 plus 1.')


class HeadOfSeveral(FCNHead):
    """Takes its logits from what it is given, as GSCNN's head does, and more arguments."""

    def predict_by_feat(self, seg_logits, batch_img_metas, factor=1):
        logits = seg_logits['logits'] if isinstance(seg_logits, dict) else seg_logits[0]
        return super().predict_by_feat(logits * factor, batch_img_metas)


@pytest.mark.parametrize('pack, count', [(lambda t: (t, t), 1), (lambda t: dict(logits=t), 0)])
def test_heads_that_give_more_than_logits(pack, count, warned):
    given = head(HeadOfSeveral)
    watch_logits([given], [])
    logits, meta = torch.zeros(1, 2, 23, 30), dict(img_shape=SIZE_OF_IMAGE)
    assert given.predict_by_feat(pack(logits), [meta], factor=2).shape == (1, 2, *SIZE_OF_IMAGE)
    assert len(warned) == count


@pytest.mark.parametrize(
    'rows, columns, size, trained',
    [(45, 60, SIZE_OF_IMAGE, []), (23, 30, SIZE_OF_IMAGE, [(8, 8), SIZE_OF_IMAGE])],
)
def test_nothing_is_said_where_nothing_moves_or_it_was_learned(
    rows, columns, size, trained, warned
):
    given = head()
    watch_logits([given], trained)
    predict(given, rows, columns, size)
    assert warned == []


def cut(folder, rows):
    """Takes rows off the images and labels."""
    for path in folder.glob('data/*/*.png'):
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:-rows])


def test_the_tools_say_it(place, warned):
    assert train(place, 'train_cfg.max_iters=1', 'train_cfg.val_interval=1') is None
    assert warned == []
    cut(place, 4)
    checkpoint = 'work/iter_1.pth'
    assert evaluate(place, checkpoint=checkpoint) is None
    (said,) = warned
    assert f'resized to an image of {SIZE - 4}×{SIZE}' in said
    divisor = said.partition('size_divisor=')[2]
    options = [f'model.data_preprocessor.test_cfg.size_divisor={divisor}']
    assert evaluate(place, *options, checkpoint=checkpoint) is None
    test_cfg = dict(mode='slide', crop_size='60,64', stride='60,64')
    options = [f'model.test_cfg.{key}={value}' for key, value in test_cfg.items()]
    assert evaluate(place, *options, checkpoint=checkpoint) is None
    assert len(warned) == 1
    assert evaluate(place, checkpoint=checkpoint, flags=['--tta']) is None
    assert len(warned) == 2

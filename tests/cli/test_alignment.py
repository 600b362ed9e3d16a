"""Logits whose enlargement moves contours."""

import cv2
import numpy as np
import pytest
import torch
from mmseg.models.decode_heads import FCNHead
from mmseg.models.utils import resize

from mmseg_boundary.cli.alignment import stride_and_move, watch_logits
from tests.support.small_run import SIZE, evaluate, train

SIZE_OF_IMAGE = (180, 240)


@pytest.mark.parametrize(
    'size, logits, align_corners, expected',
    [
        (180, 23, False, (8, 4)),
        (683, 86, False, (8, 5)),
        (1001, 126, False, (8, 7)),
        (100, 4, False, (1, 0)),  # a stride of 32 and one of 25 cannot be told apart
        (513, 129, False, (4, 3)),
        (181, 22, False, (8, 5)),  # of layers that drop the last row
        (512, 64, False, (1, 0)),
        (518, 37, False, (1, 0)),  # patches of 14
        (473, 60, True, (1, 0)),
        (480, 60, True, (8, 7)),
        (1, 1, True, (1, 0)),
    ],
)
def test_the_move(size, logits, align_corners, expected):
    assert stride_and_move(size, logits, align_corners) == expected


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
    move = stride_and_move(size, rows, align_corners=False)[1]
    assert edges[1] - edges[0] == pytest.approx(move * share, abs=0.02)


def head(kind=FCNHead):
    return kind(in_channels=2, channels=2, num_convs=0, concat_input=False, num_classes=2)


def predict(given, rows, columns, size=SIZE_OF_IMAGE):
    logits = torch.zeros(1, 2, rows, columns)
    return given.predict_by_feat(logits, [dict(img_shape=size, pad_shape=size)])


def test_it_is_said_once_with_the_remedy(warned):
    given = head()
    watch_logits([given], (120, 160))
    for _ in range(2):
        assert predict(given, 23, 30).shape == (1, 2, *SIZE_OF_IMAGE)
    (said,) = warned
    assert said.startswith('23×30 logits are enlarged to an image of 180×240, which is no multiple')
    assert 'by up to 4 px' in said and 'test_cfg.size_divisor=8 ' in said


class HeadOfSeveral(FCNHead):
    """Takes its logits from what it is given, as GSCNN's head does."""

    def predict_by_feat(self, seg_logits, batch_img_metas):
        logits = seg_logits['logits'] if isinstance(seg_logits, dict) else seg_logits[0]
        return super().predict_by_feat(logits, batch_img_metas)


@pytest.mark.parametrize('pack, count', [(lambda t: (t, t), 1), (lambda t: dict(logits=t), 0)])
def test_heads_that_give_more_than_logits(pack, count, warned):
    given = head(HeadOfSeveral)
    watch_logits([given], None)
    logits, meta = torch.zeros(1, 2, 23, 30), dict(img_shape=SIZE_OF_IMAGE)
    assert given.predict_by_feat(pack(logits), [meta]).shape == (1, 2, *SIZE_OF_IMAGE)
    assert len(warned) == count


@pytest.mark.parametrize(
    'rows, columns, size, trained',
    [(45, 60, SIZE_OF_IMAGE, None), (23, 30, SIZE_OF_IMAGE, SIZE_OF_IMAGE)],
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
    assert f'enlarged to an image of {SIZE - 4}×{SIZE}' in said
    stride = said.partition('size_divisor=')[2].split()[0]
    options = [f'model.data_preprocessor.test_cfg.size_divisor={stride}']
    assert evaluate(place, *options, checkpoint=checkpoint) is None
    options = [
        'model.test_cfg.mode=slide',
        'model.test_cfg.crop_size=48,64',
        'model.test_cfg.stride=48,64',
    ]
    assert evaluate(place, *options, checkpoint=checkpoint) is None
    assert len(warned) == 1

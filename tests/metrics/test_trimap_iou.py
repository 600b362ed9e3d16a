"""Trimap IoU: what bounds where a label is void or of no class, and DeepLab's trimap of void."""

from functools import partial

import pytest
import torch
from scipy.ndimage import binary_dilation

from mmseg_boundary.metrics import TrimapIoU, count_trimap_iou, trimap_iou
from tests.support import naive
from tests.support.engines import ENGINES
from tests.support.scenes import large_segmentation, ringed, segmentation, square


def test_only_void_bounds_in_voc():
    """An object in a ring of void: no two classes touch, and void is all the boundary there is."""
    label = square(1, 1, 8, 8) * 255
    label[3:6, 3:6] = 1
    assert count_trimap_iou(label, label, 2, (1,)).sum() == 0
    assert count_trimap_iou(label, label, 2, (1,), void_is_boundary=True).tolist() == [
        [[28, 28]],
        [[8, 8]],
    ]


@pytest.mark.parametrize('void_is_boundary', [False, True])
def test_two_numbers_of_no_class_have_a_boundary_between_them(void_is_boundary):
    """And one to void, where void bounds; the class beside void is then a boundary as well."""
    label = torch.tensor([[0, 0, 1, 1, 9, 9, 7, 7, 255, 255, 1, 1]])
    ours = partial(count_trimap_iou, void_is_boundary=void_is_boundary)
    expected = naive.trimap_iou(label, label, 10, (1, 2), 255, void_is_boundary)
    measured = ours(label, label, 2, (1, 2), unknown_labels='wrong')
    assert measured.tolist() == expected[:2]
    known_wrong = ours(torch.zeros_like(label), label, 2, (1,), unknown_labels='wrong')
    # class 0 is predicted throughout the boundary; class 1 has its own pixels there
    boundary = [1, 2, 3, 4, 5, 6] + [7, 10] * void_is_boundary
    assert known_wrong[0].tolist() == [[1, len(boundary)]]


# --- DeepLab's ------------------------------------------------------------------------------------


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('void_share', [0.005, 0.0, 1.0])
def test_deeplab_is_its_definition(void_share, engine):
    """In loops: with half a percent of void, with none, and of void alone."""
    pred, label = segmentation((40, 50), void_share=void_share, seed=3)
    assert (label == 255).double().mean() == pytest.approx(void_share, abs=0.004)
    assert void_share in (0, 1) or (label == 255).any()
    with ENGINES[engine]():
        ours = count_trimap_iou(pred, label, 3, (1, 2, 5), mode='deeplab')
    assert ours.tolist() == naive.deeplab_trimap_iou(pred, label, 3, (1, 2, 5))
    assert bool(ours.any()) == (void_share == 0.005)
    per_class, mean = trimap_iou(pred, label, 3, (1, 2, 5), mode='deeplab')
    assert mean.isnan().all().item() == (not ours.any())


@pytest.mark.parametrize('width', [1, 4, 15])
def test_deeplab_by_dilation(width):
    """Void widened by a square; nothing of it around where two classes touch."""
    for pred, label in (large_segmentation(0.002), (ringed().roll(4, 1) % 255, ringed())):
        void = (label == 255).numpy()
        band = torch.from_numpy(binary_dilation(void, torch.ones(2 * width + 1, 2 * width + 1)))
        band &= label != 255
        counts = count_trimap_iou(pred, label, 3, (width,), mode='deeplab')[:, 0]
        for k in range(3):
            true, predicted = (label == k) & band, (pred == k) & band
            assert counts[k].tolist() == [(true & predicted).sum(), (true | predicted).sum()]


def test_deeplab_is_neither_band():
    """Worked by hand, in one row: at 1 px only the pixels that touch void; at 2 px the next ones,
    which lie on the boundary between 1 and 0."""
    label = torch.tensor([[0, 0, 255, 1, 1, 0, 0, 0]])
    pred = torch.tensor([[0, 1, 1, 1, 0, 0, 0, 0]])
    counts = count_trimap_iou(pred, label, 2, (1, 2), mode='deeplab')
    assert counts.tolist() == [[[0, 1], [1, 3]], [[1, 2], [1, 3]]]
    shifted = ringed().roll(4, 1) % 255
    scores = [
        100 * trimap_iou(shifted, ringed(), 3, (1,), void_is_boundary=void, mode=mode).mean.item()
        for void, mode in ((False, 'band'), (True, 'band'), (False, 'deeplab'))
    ]
    assert [round(score, 2) for score in scores] == [49.74, 58.26, 46.62]


@pytest.mark.parametrize(
    'make',
    [
        lambda **options: count_trimap_iou(ringed(), ringed(), 3, (1,), **options),
        lambda **options: trimap_iou(ringed(), ringed(), 3, (1,), **options),
        lambda **options: TrimapIoU((1,), **options),
    ],
)
def test_modes_are_named(make):
    with pytest.raises(ValueError, match="mode is 'kohli'; choose one of 'band', 'deeplab'"):
        make(mode='kohli')
    with pytest.raises(ValueError, match="void_is_boundary=True has no meaning with mode='deep"):
        make(mode='deeplab', void_is_boundary=True)


def test_what_has_no_pixel_to_count_is_remarked():
    metric = TrimapIoU((1,), mode='deeplab')
    some, none = (
        [count_trimap_iou(each, each, 3, (1,), mode='deeplab')] for each in (ringed(), square())
    )
    assert 'no pixel to count' in metric.remark(none + none)
    assert metric.remark(none + some) == '' and TrimapIoU((1,)).remark(none) == ''

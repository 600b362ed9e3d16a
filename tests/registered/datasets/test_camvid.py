"""CamVid's folder layout, on files made here and on the real ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules

import mmseg_boundary.registered  # noqa: F401
from tests.support.skips import CAMVID, needs_camvid

PIPELINE = [dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')]
FOLDERS = dict(img_path='train', seg_map_path='trainannot')


def build(root, type='CamVidDataset', **options):
    register_all_modules()
    options = dict(data_prefix=FOLDERS, pipeline=PIPELINE) | options
    return DATASETS.build(dict(type=type, data_root=str(root), **options))


def labels_of(sample):
    return sample['data_samples'].gt_sem_seg.data


@pytest.fixture
def copy(tmp_path, request):
    """One image of 3 x 12 pixels, whose columns hold the labels 0 to 11, in the given format."""
    suffix = getattr(request, 'param', '.png')
    for folder in FOLDERS.values():
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / f'train/a{suffix}'), np.zeros((3, 12, 3), np.uint8))
    labels = np.broadcast_to(np.arange(12, dtype=np.uint8), (3, 12))
    cv2.imwrite(str(tmp_path / 'trainannot/a.png'), labels)
    return tmp_path


@pytest.mark.parametrize('copy', ['.png', '.jpg'], indirect=True)
def test_both_image_formats_and_unlabelled_as_void(copy):
    (sample,) = build(copy)
    assert labels_of(sample)[0, 0].tolist() == [*range(11), 255]


def test_a_subset_of_the_classes(copy):
    (sample,) = build(copy, metainfo=dict(classes=('road', 'sky')))
    assert labels_of(sample)[0, 0].tolist() == [1, *[255] * 2, 0, *[255] * 8]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images in '.*train'.*CAMVID_ROOT"):
        build(tmp_path)


def test_a_part_of_each_drive(tmp_path):
    """Both parts are contiguous, and together they are all."""
    pixels = np.zeros((2, 2), np.uint8)
    names = [f'{drive}_{frame:05}' for drive, n in (('b', 10), ('a', 5)) for frame in range(n)]
    for folder in FOLDERS.values():
        (tmp_path / folder).mkdir()
        for name in names:
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), pixels)

    def stems(part):
        dataset = build(tmp_path, drive_part=part)
        return [Path(dataset.get_data_info(i)['img_path']).stem for i in range(len(dataset))]

    assert stems((0.8, 1)) == ['a_00004', 'b_00008', 'b_00009']
    assert sorted(stems((0, 0.8)) + stems((0.8, 1))) == sorted(names) == stems((0, 1))
    with pytest.raises(ValueError, match=r'drive_part is \(1, 0\); give two fractions'):
        stems((1, 0))


def test_half_of_it_is_half_as_large(copy):
    with pytest.raises(ValueError, match=r'a\.png is 12x3, and half of CamVid is 240x180: make a'):
        build(copy, 'HalfCamVidDataset')
    cv2.imwrite(str(copy / 'train/a.png'), np.zeros((180, 240, 3), np.uint8))
    assert len(build(copy, 'HalfCamVidDataset')) == 1


@needs_camvid
def test_the_real_images():
    train = build(CAMVID)
    val = build(CAMVID, data_prefix=dict(img_path='val', seg_map_path='valannot'))
    assert (len(train), len(val)) == (367, 101)
    labels = labels_of(val[0])
    assert labels.shape == (1, 360, 480) and set(labels.unique().tolist()) <= {*range(11), 255}

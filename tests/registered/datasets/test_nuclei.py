"""The nuclei, on files made here, and halved copies of paired folders."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import DATASETS, MODELS
from mmseg.utils import register_all_modules

from tests.support.skips import ROOT
from tests.support.small_run import run_tool

PIPELINE = [dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')]
FOLDERS = dict(img_path='train', seg_map_path='trainannot')


def build(root):
    register_all_modules()
    given = dict(type='NucleiDataset', data_root=str(root), data_prefix=FOLDERS)
    return DATASETS.build(dict(given, pipeline=PIPELINE))


@pytest.fixture
def copy(tmp_path):
    """A JPEG of 6 x 9 pixels, and labels of 0 and 1."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (6, 9), np.uint8)
    for folder, name, pixels in (
        ('train', 'a.jpg', rng.integers(0, 256, (6, 9, 3), np.uint8)),
        ('trainannot', 'a.png', label),
    ):
        (tmp_path / 'full' / folder).mkdir(parents=True)
        assert cv2.imwrite(str(tmp_path / 'full' / folder / name), pixels)
    return tmp_path


def test_labels_are_background_and_nucleus(copy):
    dataset = build(copy / 'full')
    (sample,) = dataset
    assert dataset.metainfo['classes'] == ('background', 'nucleus')
    assert sample['data_samples'].gt_sem_seg.data.unique().tolist() == [0, 1]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images in '.*train'.*NUCLEI_ROOT"):
        build(tmp_path)


def halve(copy, *options):
    return run_tool('dataset_converters/halve', copy / 'full', copy / 'half', *options)


def test_the_halves(copy):
    assert halve(copy) is None and halve(copy, '--check') is None
    image = cv2.imread(str(copy / 'full/train/a.jpg')).astype(float)
    means = image[:6, :8].reshape(3, 2, 4, 2, 3).mean((1, 3))
    halved = cv2.imread(str(copy / 'half/train/a.png'))
    assert halved.shape == (3, 4, 3) and np.abs(halved - means).max() <= 0.5
    label = cv2.imread(str(copy / 'full/trainannot/a.png'), cv2.IMREAD_UNCHANGED)
    kept = cv2.imread(str(copy / 'half/trainannot/a.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(kept, label[::2, :8:2])
    assert len(build(copy / 'half')) == 1  # as PNG
    assert halve(copy).endswith('has a copy already: --check it, or remove it first.')


def test_one_pixel_more_is_seen(copy):
    halve(copy)
    path = str(copy / 'half/trainannot/a.png')
    label = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    label[0, 0] ^= 1
    cv2.imwrite(path, label)
    assert 'files were changed, added or lost' in halve(copy, '--check')


def test_what_cannot_be_halved_is_said(copy):
    assert 'has no digest.txt: make the copy first' in halve(copy, '--check')
    (copy / 'full/train/a.jpg').write_bytes(b'no image')
    assert halve(copy).endswith('a.jpg is no image: restore it, or take it out of the data set.')
    said = run_tool('dataset_converters/halve', copy / 'nowhere', copy / 'half')
    assert "name the data set's own folder." in said


@pytest.mark.parametrize('size', [(128, 128), (239, 320)])
def test_the_net_takes_images_of_any_size(size):
    """Halved ones have sides that are no multiples of 16."""
    register_all_modules()
    model = Config.fromfile(ROOT / 'configs/unet/unet-s5-d16_ce_nuclei.py').model
    net = revert_sync_batchnorm(MODELS.build(model)).eval()
    with torch.no_grad():
        pixels = torch.rand(1, 3, *size)
        info = [dict(img_shape=size, ori_shape=size, pad_shape=size, padding_size=[0] * 4)]
        assert net.inference(pixels, info).shape == (1, 1, *size)

"""Images that exist in memory alone, the same on every machine."""

import hashlib

import numpy as np
import pytest
import torch
from mmengine import fileio
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules

from mmseg_boundary.registered.datasets.shapes import VOID, draw

PIPELINE = [dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')]


def build(**options):
    register_all_modules()
    return DATASETS.build(dict(type='ShapesDataset', pipeline=PIPELINE, **options))


def test_every_machine_draws_the_same_pixels():
    """numpy promises no stable stream of integers; this says when it has moved."""
    digest = hashlib.sha256()
    for index in range(20):
        for pixels in draw(0, index, 96, 160):
            digest.update(pixels.tobytes())
    assert digest.hexdigest().startswith('35e6d23f')


def test_seed_and_index_make_the_image():
    images = [draw(seed, index, 64, 64)[0] for seed, index in ((0, 0), (0, 1), (1, 0))]
    assert not any(np.array_equal(images[i], images[i - 1]) for i in range(3))


def test_samples_are_what_the_backend_draws():
    dataset = build(length=3, seed=4, size=(64, 96))
    assert len(dataset) == 3
    sample = dataset[2]
    image, label = draw(4, 2, 64, 96)
    assert sample['data_samples'].img_path == 'shapes://4/64x96/image/000002.png'
    assert torch.equal(sample['inputs'].flip(0).permute(1, 2, 0), torch.from_numpy(image))
    assert torch.equal(sample['data_samples'].gt_sem_seg.data[0], torch.from_numpy(label).long())


def test_images_hold_every_class_and_some_void():
    labels = np.stack([draw(0, index, 128, 128)[1] for index in range(20)])
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 5, VOID}
    assert 0.002 < (labels == VOID).mean() < 0.1
    assert 0.4 < (labels == 0).mean() < 0.9


def test_a_subset_of_the_classes():
    """The others become void, as in any data set of MMSegmentation."""
    dataset = build(length=4, metainfo=dict(classes=('table', 'ground')))
    labels = torch.cat([each['data_samples'].gt_sem_seg.data for each in dataset])
    assert set(labels.unique().tolist()) == {0, 1, VOID}
    assert len(dataset.metainfo['palette']) == 2


def test_other_classes_as_ground():
    """Void stays void; the class is 3 % of the pixels."""
    metainfo = dict(classes=('ground', 'table'))
    dataset = build(length=20, metainfo=metainfo, others_as_ground=True)
    labels = torch.cat([each['data_samples'].gt_sem_seg.data for each in dataset])
    drawn = torch.from_numpy(np.stack([draw(0, index, 128, 128)[1] for index in range(20)]))
    assert torch.equal(labels == 1, drawn == 2) and torch.equal(labels == VOID, drawn == VOID)
    assert set(labels.unique().tolist()) == {0, 1, VOID}
    assert 0.01 < (labels == 1).float().mean() < 0.05
    with pytest.raises(ValueError, match="'ground' as the first class, and 'table' is it"):
        build(length=2, metainfo=dict(classes=('table', 'ground')), others_as_ground=True)


def test_the_backend_reads_images_alone():
    with pytest.raises(ValueError, match='is an image: read it with `get`'):
        fileio.get_text('shapes://0/8x8/image/000000.png')

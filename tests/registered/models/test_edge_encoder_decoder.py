"""The segmentor that adds the edges of images to the features."""

import cv2
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.geometry.image_edges import sobel_edges

NORMALIZED = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)


class Copy(BaseModule):
    """A backbone that returns the images, and half of them."""

    def forward(self, x):
        return [x, x[..., ::2, ::2]]


class Watching(BaseDecodeHead):
    """A head that keeps what it is given."""

    def __init__(self, edge_source='sobel', **options):
        super().__init__(3, 3, num_classes=3, **options)
        self.edge_source = edge_source
        self.seen = []

    def forward(self, inputs):
        self.seen.append(inputs)
        return self.conv_seg(inputs[0])


@pytest.fixture
def build(monkeypatch):
    for each in (Copy, Watching):
        monkeypatch.setitem(MODELS._module_dict, each.__name__, each)

    def built(edge_source, auxiliary_head=None, test_cfg=None, **preprocessor):
        init_default_scope('mmseg')
        return MODELS.build(
            ConfigDict(
                type='EdgeEncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor', size=(24, 32), seg_pad_val=255, **preprocessor
                ),
                backbone=dict(type='Copy'),
                decode_head=dict(type='Watching', edge_source=edge_source),
                auxiliary_head=auxiliary_head,
                test_cfg=test_cfg or dict(mode='whole'),
            )
        )

    return built


def images():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 6, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (24, 32), mode='bilinear')
    return (255 * smooth).round().byte()


def batch_of(model, training=True):
    given = dict(
        inputs=list(images()),
        data_samples=[
            SegDataSample(
                gt_sem_seg=PixelData(data=torch.zeros(1, 24, 32, dtype=torch.long)),
                metainfo=dict(img_shape=(24, 32), ori_shape=(24, 32)),
            )
            for _ in range(2)
        ],
    )
    return model.data_preprocessor(given, training=training)


@pytest.mark.parametrize('preprocessor', [NORMALIZED, {}], ids=['normalized', 'plain'])
def test_edges_are_those_of_the_images_as_they_were(build, preprocessor):
    """Whatever the normalization; the order of channels does not count."""
    model = build('sobel', **preprocessor)
    *found, edges = model.extract_feat(batch_of(model)['inputs'].float())
    assert len(found) == 2 and not edges.requires_grad
    torch.testing.assert_close(edges, sobel_edges(images().float() / 255), atol=1e-5, rtol=1e-4)


def test_canny_is_that_of_the_8_bits_of_the_images(build):
    """In the order that the network has."""
    model = build('canny', **NORMALIZED)
    edges = model.extract_feat(batch_of(model)['inputs'])[-1]
    for image, found in zip(images(), edges, strict=True):
        expected = cv2.Canny(image.flip(0).permute(1, 2, 0).contiguous().numpy(), 10, 100)
        assert found[0].bool().equal(torch.from_numpy(expected) > 0)
    assert edges.any() and set(edges.unique().tolist()) == {0.0, 1.0}


def test_without_edges_there_are_the_features_alone(build):
    model = build('none', **NORMALIZED)
    assert len(model.extract_feat(batch_of(model)['inputs'])) == 2


def test_auxiliary_heads_get_the_features_alone(build):
    """Which they may count from the last."""
    auxiliary = dict(type='FCNHead', in_channels=3, channels=3, num_convs=0, concat_input=False)
    model = build('sobel', dict(auxiliary, num_classes=3, in_index=-1), **NORMALIZED)
    losses = model.loss(**batch_of(model))
    assert losses['aux.loss_ce'].isfinite() and len(model.decode_head.seen[0]) == 3


def test_each_crop_has_its_own_edges(build):
    crop, stride = (16, 16), (8, 16)
    model = build('sobel', test_cfg=dict(mode='slide', crop_size=crop, stride=stride), **NORMALIZED)
    model.eval().predict(**batch_of(model, training=False))
    assert len(model.decode_head.seen) == 4
    whole = images().float() / 255
    corners = [(0, 0), (0, 16), (8, 0), (8, 16)]
    for (row, column), (*_, edges) in zip(corners, model.decode_head.seen, strict=True):
        own = sobel_edges(whole[..., row : row + 16, column : column + 16])
        torch.testing.assert_close(edges, own, atol=1e-5, rtol=1e-4)

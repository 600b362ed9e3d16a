import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_boundary.registered  # noqa: F401

SEGMENTOR = ConfigDict(
    type='EncoderDecoder',
    backbone=dict(
        type='ResNet', depth=18, stem_channels=4, base_channels=4, norm_cfg=dict(type='BN')
    ),
    data_preprocessor=dict(type='SegDataPreProcessor'),
    test_cfg=dict(mode='whole'),
)


def build(tta_model, **head):
    decode_head = dict(
        type='FCNHead', in_channels=32, channels=4, num_convs=1, in_index=3, num_classes=2, **head
    )
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(
        dict(type=tta_model, module=ConfigDict(SEGMENTOR, decode_head=decode_head))
    ).eval()
    with torch.no_grad():
        # spread the probabilities about the threshold of 0.3
        model.module.decode_head.conv_seg.weight.mul_(500)
        model.module.decode_head.conv_seg.bias.fill_(-0.8)
    return model


def augmented(scales=(1.0, 0.5), flips=(False, True)):
    """One image as the pipeline of --tta hands it over."""
    image = torch.randint(256, (3, 64, 96), generator=torch.Generator().manual_seed(1))
    inputs, samples = [], []
    for scale in scales:
        for flip in flips:
            resized = torch.nn.functional.interpolate(image[None].float(), scale_factor=scale)[0]
            inputs.append([resized.flip(2) if flip else resized])
            info = dict(
                img_shape=resized.shape[1:],
                flip=flip,
                flip_direction='horizontal',
                ori_shape=(64, 96),
                img_path='a.png',
            )
            label = PixelData(data=torch.zeros(1, 64, 96))
            samples.append([SegDataSample(metainfo=info, gt_sem_seg=label)])
    return dict(inputs=inputs, data_samples=samples)


@torch.no_grad()
def predict(model, **augmentations):
    (sample,) = model.test_step(augmented(**augmentations))
    assert 'gt_sem_seg' in sample and sample.img_path == 'a.png'
    return sample.pred_sem_seg.data.squeeze()


def test_one_logit_is_one_sigmoid():
    ours, theirs = (
        build(name, out_channels=1, threshold=0.3)
        for name in ('BoundarySegTTAModel', 'SegTTAModel')
    )
    (plain,) = ours.module.test_step({key: each[0] for key, each in augmented().items()})
    plain = plain.pred_sem_seg.data.squeeze()
    assert 0.1 < plain.mean() < 0.9
    # Not augmented, it is what the segmentor says by itself; MMSeg's says foreground everywhere.
    assert predict(ours, scales=(1.0,), flips=(False,)).equal(plain)
    assert predict(theirs, scales=(1.0,), flips=(False,)).eq(1).all()
    assert 0.5 < (predict(ours) == plain).float().mean() < 1


def test_one_logit_averages_probabilities():
    """(0.9 + 0.1)/2 is above the threshold of 0.3, (0.4 + 0.1)/2 is not."""
    model = build('BoundarySegTTAModel', out_channels=1, threshold=0.3)
    samples = [
        SegDataSample(seg_logits=PixelData(data=torch.tensor([[probs]])))
        for probs in ([0.9, 0.4], [0.1, 0.1])
    ]
    (merged,) = model.merge_preds([samples])
    assert merged.pred_sem_seg.data.tolist() == [[[1.0, 0.0]]]
    assert merged.seg_logits.data[0, 0].tolist() == pytest.approx([0.5, 0.25])


def test_several_logits_are_mmsegs():
    ours, theirs = build('BoundarySegTTAModel'), build('SegTTAModel')
    assert predict(ours).equal(predict(theirs)) and 0 < predict(ours).float().mean() < 1

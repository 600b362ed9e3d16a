"""The networks of EPL's experiments that MMSegmentation lacks, put together: a training step."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary import stacks
from tests.support.nets import preprocessed
from tests.support.skips import NO_OPERATORS

NORM = dict(type='BN')
NVIDIA = dict(
    type='ASPPDecoderHead',
    in_index=1,
    projection_norm=False,
    c1_first=True,
    logits_bias=False,
    aspp_dropout=0.0,
    decoder_dropout=0.0,
    dropout_ratio=0.0,
)
WRN = dict(
    type='WiderResNet',
    stem_channels=4,
    structure=(1, 1, 1, 1, 1, 1),
    widths=((8, 8), (8, 8), (8, 8), (8, 8), (8, 8, 12), (8, 8, 16)),
)
# {network: (backbone, decode head), of few channels}
SMALL = {
    'deeplabv3plus-wrn38': (
        WRN | dict(out_indices=(1, 6)),
        NVIDIA | dict(in_channels=16, c1_in_channels=8, channels=8, c1_channels=4),
    ),
    'ccnet-wrn38': (
        WRN | dict(out_indices=(6,)),
        dict(type='CCHead', in_channels=16, in_index=0, channels=8, norm_cfg=NORM),
    ),
    'deeplabv3plus-drn54': (
        dict(type='DRN', base_channels=2),
        dict(type='ASPPDecoderHead', in_channels=64, c1_in_channels=32, channels=8, in_index=1),
    ),
    'deeplabv3plus-mbv2': (
        dict(
            type='MobileNetV2',
            widen_factor=0.25,
            strides=(1, 2, 2, 2, 1, 1, 1),
            dilations=(1, 1, 1, 1, 1, 1, 2),
            out_indices=(1, 6),
        ),
        dict(type='ASPPDecoderHead', in_channels=80, c1_in_channels=8, channels=8, in_index=1),
    ),
    'psanet-r18': (
        dict(type='ResNet', depth=18, stem_channels=4, base_channels=4, strides=(1, 2, 1, 1)),
        dict(type='UnpaddedPSAHead', in_channels=32, channels=8, mask_size=(7, 11), norm_cfg=NORM),
    ),
}


@pytest.mark.parametrize('num_logits', [1, 3])
@pytest.mark.parametrize('network', SMALL)
def test_one_step_with_epl(network, num_logits):
    """Of EPL alone, all parameters of the head move, and every one of the backbone has a gradient,
    as DistributedDataParallel requires."""
    if network.startswith('ccnet') and not stacks.has_compiled_operators():
        pytest.skip(NO_OPERATORS)
    init_default_scope('mmseg')
    torch.manual_seed(0)
    size, classes = (64, 96), max(num_logits, 2)
    backbone, head = SMALL[network]
    epl = dict(type='EPLLoss', kernel_size=7, mu=2, point_weight=1.0, line_weight=1.0)
    model = MODELS.build(
        ConfigDict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', size=size, seg_pad_val=255),
            backbone=backbone,
            decode_head=dict(
                head,
                num_classes=classes,
                out_channels=num_logits,
                threshold=0.5,
                align_corners=False,
                loss_decode=[epl],
            ),
            test_cfg=dict(mode='whole'),
        )
    )
    model.init_weights()
    if hasattr(model.decode_head, 'cca'):
        model.decode_head.cca.gamma.scale.data.fill_(0.5)  # begins as the identity
    model.train()
    before = {name: each.detach().clone() for name, each in model.decode_head.named_parameters()}
    batch = preprocessed(model, classes, *size)
    total, log = model.parse_losses(model.loss(batch['inputs'], batch['data_samples']))
    assert log['loss'].isfinite() and log['loss'] > 0
    total.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    for name, each in model.decode_head.named_parameters():
        # which the softmax over positions cancels
        assert not each.equal(before[name]) or name == 'cca.key_conv.bias', name
    for name, each in model.named_parameters():
        assert each.grad is not None and each.grad.isfinite().all(), name
    assert any(each.grad.abs().max() > 0 for each in model.backbone.parameters())

"""The decoder of DeepLabV3+ with dense convolutions, in two published forms."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import mmseg_boundary.registered  # noqa: F401

NVIDIA = dict(
    dilations=(1, 12, 24, 36),
    projection_norm=False,
    c1_first=True,
    logits_bias=False,
    aspp_dropout=0.0,
    decoder_dropout=0.0,
    dropout_ratio=0.0,
)
SMALL = dict(in_channels=6, c1_in_channels=4, channels=8, c1_channels=3, num_classes=3)
# Written down by another hand, from published code: (settings, pyramid, decoder).
COUNTS = {
    'ResNet-101': (dict(in_channels=2048, c1_in_channels=256), 15_535_104, 1_309_045),
    'DRN-D-54': (dict(in_channels=512, c1_in_channels=256), 4_131_840, 1_309_045),
    'MobileNetV2': (dict(in_channels=320, c1_in_channels=24), 2_706_432, 1_297_909),
}


def build(**settings):
    init_default_scope('mmseg')
    return MODELS.build(dict(type='ASPPDecoderHead', **settings))


def small(**settings):
    """In the evaluation mode, with normalizations that are none of the identity."""
    torch.manual_seed(0)
    head = build(**SMALL, **settings).eval()
    for each in head.modules():
        if isinstance(each, nn.BatchNorm2d):
            for values in (each.weight, each.bias, each.running_mean, each.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
    return head


def features(low=(16, 24), high=(8, 12)):
    torch.manual_seed(1)
    return [torch.randn(2, 4, *low), torch.randn(2, 6, *high)]


def count(*modules):
    return sum(each.numel() for module in modules for each in module.parameters())


@pytest.mark.parametrize('backbone', COUNTS)
def test_counts_of_zhangs_form(backbone):
    settings, pyramid, decoder = COUNTS[backbone]
    with torch.device('meta'):
        head = build(num_classes=21, **settings)
    assert count(head.image_pool, head.aspp_modules, head.bottleneck) == pyramid
    assert count(head.c1_bottleneck, head.decoder, head.conv_seg) == decoder
    assert count(head) == pyramid + decoder


def test_counts_of_nvidias_form():
    with torch.device('meta'):
        head = build(in_channels=4096, c1_in_channels=128, num_classes=19, **NVIDIA)
    assert count(head.image_pool, head.aspp_modules) == 30_411_264
    assert count(head.bottleneck) == 327_680
    assert count(head.c1_bottleneck) == 6_144
    assert count(head.decoder, head.conv_seg) == 1_296_128
    assert count(head) == 137_103_936 - 105_062_720


def test_the_logits_have_the_stride_of_the_lower_feature():
    with torch.no_grad():
        assert small()(features((17, 25), (5, 7))).shape == (2, 3, 17, 25)
        head = small(c1_in_index=1, in_index=0)
        assert head(features()[::-1]).shape == (2, 3, 16, 24)


def computed(head, given, normed, c1_first, align_corners):
    """The logits by the equations, of the head's own parameters."""

    def conv(module, x, activates=True, **options):
        weight = module.conv.weight
        x = F.conv2d(
            x, weight, padding=weight.shape[-1] // 2 * options.get('dilation', 1), **options
        )
        if not activates:
            return x
        norm = module.bn
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        return (x * scale[:, None, None] + shift[:, None, None]).clamp(min=0)

    low, high = given
    branches = [
        conv(head.image_pool[1], high.mean((2, 3), keepdim=True)).expand(-1, -1, *high.shape[2:])
    ]
    for module, dilation in zip(head.aspp_modules, head.dilations):
        branches.append(conv(module, high, dilation=dilation))
    x = conv(head.bottleneck[0], torch.cat(branches, 1), normed)
    x = F.interpolate(x, low.shape[2:], mode='bilinear', align_corners=align_corners)
    c1 = conv(head.c1_bottleneck, low, normed)
    x = conv(head.decoder[0], torch.cat([c1, x] if c1_first else [x, c1], 1))
    return F.conv2d(conv(head.decoder[2], x), head.conv_seg.weight, head.conv_seg.bias)


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('form', [{}, NVIDIA])
def test_the_equations(form, align_corners):
    head = small(**form, align_corners=align_corners)
    given = features()
    with torch.no_grad():
        found = head(given)
        expected = computed(head, given, not form, bool(form), align_corners)
    assert expected.std() > 1e-3 and (head.conv_seg.bias is None) == bool(form)
    torch.testing.assert_close(found, expected)


def test_dropouts_are_of_single_elements():
    """After the first 1x1 convolution, between the two 3x3 convolutions, and before the logits."""
    head = small(aspp_dropout=0.1, decoder_dropout=0.2, dropout_ratio=0.3)
    called = []
    for name, module in head.named_modules():
        if type(module) in (nn.Conv2d, nn.Dropout):
            said = getattr(module, 'p', name)
            module.register_forward_hook(lambda *_, said=said: called.append(said))
    head(features())
    assert called[-8:] == [
        *('bottleneck.0.conv', 0.1, 'c1_bottleneck.conv'),
        *('decoder.0.conv', 0.2, 'decoder.2.conv', 0.3, 'conv_seg'),
    ]
    assert len([each for each in head.modules() if isinstance(each, nn.Dropout)]) == 3


def test_the_defaults_are_zhangs():
    head = small()
    assert [head.bottleneck[1].p, head.decoder[1].p, head.dropout.p] == [0.5, 0.5, 0.1]
    assert head.dilations == (1, 6, 12, 18) and head.align_corners
    with torch.device('meta'):
        assert build(num_classes=3).c1_bottleneck.conv.weight.shape == (48, 256, 1, 1)


def test_each_normalization_is_the_configured_one():
    head = build(**SMALL, norm_cfg=dict(type='GN', num_groups=1))
    kinds = {type(each) for each in head.modules() if 'Norm' in type(each).__name__}
    assert kinds == {nn.GroupNorm}

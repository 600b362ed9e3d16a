"""DRN-D: sizes and names."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import mmseg_boundary.registered  # noqa: F401

# Written down by another hand, from published code.
COUNTS = {22: 15_880_752, 38: 25_988_912, 54: 35_296_176, 105: 54_288_304}
LAYERS_OF_54 = [
    2_384,
    2_336,
    4_672,
    205_568,
    1_219_584,
    7_098_368,
    14_964_736,
    9_438_208,
    2_360_320,
]
STRIDES = (1, 1, 2, 4, 8, 8, 8, 8, 8)
CHANNELS = (16, 16, 32, 256, 512, 1024, 2048, 512, 512)


def build(**settings):
    init_default_scope('mmseg')
    return MODELS.build(dict(type='DRN', **settings))


def count(module):
    return sum(each.numel() for each in module.parameters())


def test_counts_of_parameters():
    with torch.device('meta'):
        models = {depth: build(depth=depth) for depth in COUNTS}
    assert {depth: count(model) for depth, model in models.items()} == COUNTS
    assert [count(layer) for layer in models[54].children()] == LAYERS_OF_54


def test_features():
    """Output stride 8; by default, the two that DeepLabV3+ takes."""
    with torch.device('meta'):
        features = build(out_indices=range(9))(torch.zeros(1, 3, 96, 160))
        default = build()(torch.zeros(1, 3, 513, 513))
        small = build(depth=22, base_channels=4, in_channels=1)(torch.zeros(1, 1, 32, 32))
    sizes = [(c, 96 // s, 160 // s) for c, s in zip(CHANNELS, STRIDES)]
    assert [tuple(each.shape[1:]) for each in features] == sizes
    assert [tuple(each.shape) for each in default] == [(1, 256, 129, 129), (1, 512, 65, 65)]
    assert [tuple(each.shape) for each in small] == [(1, 16, 8, 8), (1, 128, 4, 4)]


def test_names_are_those_of_the_public_checkpoint():
    with torch.device('meta'):
        state = build().state_dict()
    norm = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')

    def names(conv, bn):
        return {f'{conv}.weight'} | {f'{bn}.{part}' for part in norm}

    expected = set()
    for number in (0, 1, 2, 7, 8):
        expected |= names(f'layer{number}.0', f'layer{number}.1')
    for number, blocks in {3: 3, 4: 4, 5: 6, 6: 3}.items():
        expected |= names(f'layer{number}.0.downsample.0', f'layer{number}.0.downsample.1')
        for block in range(blocks):
            for conv in (1, 2, 3):
                name = f'layer{number}.{block}'
                expected |= names(f'{name}.conv{conv}', f'{name}.bn{conv}')
    assert set(state) == expected


@pytest.mark.parametrize('depth', COUNTS)
def test_dilations(depth):
    """Of every 3x3 convolution of a layer, its first block's too."""
    with torch.device('meta'):
        model = build(depth=depth)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None, name
            expected = dict(layer5=2, layer6=4, layer7=2).get(name.split('.')[0], 1)
            if module.kernel_size == (3, 3):
                assert module.dilation == module.padding == (expected, expected), name


def test_the_last_layers_have_no_shortcut():
    """Two convolutions whose result is normalized and activated, after what ends in a ReLU too."""
    torch.manual_seed(0)
    model = build(base_channels=2, out_indices=(6, 7, 8)).eval()
    sixth, seventh, eighth = model(torch.randn(1, 3, 32, 32))
    for layer, given, found in ((model.layer7, sixth, seventh), (model.layer8, seventh, eighth)):
        conv, norm, _ = layer
        assert found.equal(norm(conv(given)).relu())


def test_each_normalization_is_the_configured_one():
    with torch.device('meta'):
        model = build(base_channels=4, norm_cfg=dict(type='GN', num_groups=1))
    kinds = {type(each) for each in model.modules() if 'Norm' in type(each).__name__}
    assert kinds == {nn.GroupNorm}


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(depth=50), 'DRN got depth=50; choose 22, 38, 54 or 105'),
        (dict(out_indices=(9,)), r'out_indices=\(9,\); choose from 0 to 8, where 0 is the conv'),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)

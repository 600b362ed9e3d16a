"""Networks of EPL's experiments, compared with a second implementation, which somebody wrote from a
description of the published ones without a look at these."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import mmseg_boundary.registered  # noqa: F401
from tests.support import second_networks

BLOCKS = (1, 2, 1, 1, 1, 1)
WIDTHS = ((8, 8), (8, 8), (8, 8), (8, 12), (8, 12, 16), (8, 12, 24))
PLANES = (2, 2, 4, 8, 16, 32, 64, 64, 64)
DRN = {
    22: dict(block=second_networks.BasicBlock, depths=(1, 1, 2, 2, 2, 2, 1, 1)),
    38: dict(block=second_networks.BasicBlock),
    54: dict(),
}
NVIDIA = dict(projection_norm=False, c1_first=True, logits_bias=False)
# {part of ours: the second's}
DECODER = {
    'image_pool.1': 'aspp.pool',
    'aspp_modules.0': 'aspp.point',
    'aspp_modules.1': 'aspp.dilated.0',
    'aspp_modules.2': 'aspp.dilated.1',
    'aspp_modules.3': 'aspp.dilated.2',
    'bottleneck.0': 'merge',
    'c1_bottleneck': 'low',
    'decoder.0': 'first',
    'decoder.2': 'second',
    'conv_seg': 'logits',
}


def build(**settings):
    """In double precision, with normalizations that are none of the identity, without dropout."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(settings).double()
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d):
            for values in (each.weight, each.bias, each.running_mean, each.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
        elif isinstance(each, (nn.Dropout, nn.Dropout2d)):
            each.p = 0.0
    return model


def drawn(*shape):
    torch.manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def agree(ours, theirs, given, arguments, state=None):
    """In training and in evaluation: the outputs, and the gradients of what is given.

    Args:
        ours, theirs: the networks.
        given: the tensors.
        arguments: takes a network and gives what it returns of them, a tensor or several.
        state: the weights of `ours` by the names of `theirs`; None if they have the same.
    """
    theirs.double().load_state_dict(state or ours.state_dict())
    for training in (True, False):
        results = []
        for model in (ours, theirs):
            outputs = arguments(model.train(training))
            outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
            total = sum((each * drawn(*each.shape)).sum() for each in outputs)
            results.append([*outputs, *torch.autograd.grad(total, given)])
        for one, other in zip(*results, strict=True):
            assert other.std() > 1e-4
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10 * other.abs().max().item())


@pytest.mark.parametrize(
    'settings',
    [{}, dict(strides=(1, 1, 2, 2, 2, 1), dilations=(1,) * 6), dict(final_norm=True)],
)
def test_wrn38(settings):
    ours = build(type='WiderResNet', stem_channels=4, structure=BLOCKS, widths=WIDTHS, **settings)
    theirs = second_networks.WRN38(
        stem=4, blocks=BLOCKS, widths=WIDTHS, dropouts=(0,) * 6, **settings
    )
    images = drawn(2, 3, 49, 66)
    agree(ours, theirs, [images], lambda model: model(images))


@pytest.mark.parametrize('depth', DRN)
def test_drn_d(depth):
    ours = build(type='DRN', depth=depth, base_channels=2, out_indices=range(9))
    theirs = second_networks.DRND(widths=PLANES, **DRN[depth])
    images = drawn(2, 3, 49, 66)
    agree(ours, theirs, [images], lambda model: model(images))


def test_names_and_shapes_at_the_published_size():
    with torch.device('meta'):
        pairs = [
            (build(type='WiderResNet', final_norm=True), second_networks.WRN38(final_norm=True)),
            (build(type='DRN'), second_networks.DRND()),
        ]
    for pair in pairs:
        ours, theirs = (
            {name: each.shape for name, each in model.state_dict().items()} for model in pair
        )
        assert ours == theirs


@pytest.mark.parametrize('form', ['jfz', 'NVIDIA'])
def test_decoders_of_deeplabv3plus(form):
    ours = build(
        type='ASPPDecoderHead',
        in_channels=6,
        channels=8,
        c1_in_channels=4,
        c1_channels=3,
        dilations=(1, 2, 4, 6),
        num_classes=3,
        **(NVIDIA if form == 'NVIDIA' else {}),
    )
    second = dict(low_channels=4, top_channels=6, rates=(2, 4, 6), channels=8, reduced=3)
    if form == 'NVIDIA':
        theirs = second_networks.NVIDIADecoder(num_classes=3, **second)
    else:
        theirs = second_networks.JFZDecoder(num_classes=3, dropouts=(0.0, 0.0, 0.0), **second)
    state = {}
    for name, values in ours.state_dict().items():
        (part,) = (part for part in DECODER if name.startswith(f'{part}.'))
        name = DECODER[part] + name.removeprefix(part)
        if form == 'NVIDIA':
            name = name.replace('merge.conv', 'merge').replace('low.conv', 'low')
        elif name == 'merge.conv.weight':
            values = values.roll(-8, 1)  # the image's mean is the last there
        state[name] = values
    low, top = drawn(2, 4, 17, 25), drawn(2, 6, 9, 13)
    agree(
        ours,
        theirs,
        [low, top],
        lambda model: model([low, top]) if model is ours else model(low, top),
        state,
    )


@pytest.mark.parametrize('mask_size', [(5, 7), (3, 3), (4, 6)])
@pytest.mark.parametrize('size', [(9, 11), (8, 10), (9, 10)])
def test_the_head_of_psanet(size, mask_size):
    ours = build(
        type='UnpaddedPSAHead',
        in_channels=6,
        channels=4,
        mask_size=mask_size,
        num_classes=3,
        norm_cfg=dict(type='BN'),
        align_corners=True,
    )
    theirs = second_networks.PSAHead(6, 4, mask_size, 3)
    x = drawn(2, 6, *size)
    agree(ours, theirs, [x], lambda model: model([x]) if model is ours else model(x))


# {part of ours: the second's}
GSCNN = {
    'shape_stream.last': 'fuse',
    'edge_attention': 'attention',
    'bottleneck': 'decoder.merge',
    'low': 'decoder.low',
    'conv_seg': 'decoder.logits',
    'aspp.pool.1': 'decoder.aspp.pool.conv',
    'aspp.pool.2': 'decoder.aspp.pool.bn',
}
for _place, _second in (
    ('aspp.edge', 'aspp.edge'),
    ('aspp.convs.0', 'aspp.point'),
    *((f'aspp.convs.{number}', f'aspp.dilated.{number - 1}') for number in (1, 2, 3)),
    *(('decoder.0', 'first'), ('decoder.1', 'second')),
):
    GSCNN |= {f'{_place}.0': f'decoder.{_second}.conv', f'{_place}.1': f'decoder.{_second}.bn'}
for _number in range(3):
    GSCNN |= {
        f'shape_stream.sources.{_number}': f'sources.{_number}',
        f'shape_stream.blocks.{_number}': f'steps.{_number}.residual',
        f'shape_stream.convs.{_number}': f'steps.{_number}.narrow',
        f'shape_stream.gates.{_number}.attention': f'steps.{_number}.gate.alpha',
        f'shape_stream.gates.{_number}.conv': f'steps.{_number}.gate.last',
    }


@pytest.mark.parametrize('edge_source', ['none', 'canny'])
def test_gscnn(edge_source):
    inputs = (6, 5, 4, 7, 9)
    sizes = ((33, 49), (17, 25), (9, 13), (5, 7), (5, 7))
    settings = dict(channels=8, num_classes=3)
    ours = build(
        type='GSCNNHead',
        in_channels=inputs,
        edge_channels=(5, 4, 3),
        dilations=(1, 2, 3),
        low_channels=3,
        edge_source=edge_source,
        **settings,
    )
    theirs = second_networks.GSCNNHead(
        inputs, stream=(5, 4, 3), rates=(1, 2, 3), reduced=3, **settings
    )
    state = {}
    for name, values in ours.state_dict().items():
        (part,) = (part for part in GSCNN if name.startswith(f'{part}.'))
        state[GSCNN[part] + name.removeprefix(part)] = values
    features = [drawn(4, width, *size) for width, size in zip(inputs, sizes, strict=True)]
    edges = None if edge_source == 'none' else drawn(4, 1, *sizes[0]).detach().sigmoid()

    def arguments(model):
        if model is ours:
            return model([*features, *([] if edges is None else [edges])])
        return model(features, sizes[0], edges)

    agree(ours, theirs, features, arguments, state)

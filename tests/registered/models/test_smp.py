"""U-Net and DeepLabV3+ of segmentation_models_pytorch: the same networks, which our losses train.

What that package has is in smp.json; `make_smp_fixture.py` says how it was made.
"""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from torch import nn

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.cli.checkpoints import load_fully
from tests.support.formula import images, weights
from tests.support.nets import preprocessed

SMP = json.loads(Path(__file__).with_name('smp.json').read_text())
ENCODERS = {
    'r34': (dict(type='ResNetEncoder', depth=34), (64, 64, 128, 256, 512)),
    'r50': (dict(type='ResNetEncoder', depth=50), (64, 256, 512, 1024, 2048)),
    'mbv2': (dict(type='MobileNetV2Encoder'), (16, 24, 32, 96, 1280)),
}
STRIDE_16 = {
    'ResNetEncoder': dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    'MobileNetV2Encoder': dict(strides=(1, 2, 2, 2, 1, 1, 1), dilations=(1, 1, 1, 1, 1, 2, 2)),
}
SMALL = {
    'r34': (dict(stem_channels=4, base_channels=4), (4, 4, 8, 16, 32)),
    'r50': (dict(stem_channels=4, base_channels=4), (4, 16, 32, 64, 128)),
    'mbv2': (dict(widen_factor=0.25), (8, 8, 8, 24, 1280)),
}
NETWORKS = [f'{decoder}-{encoder}' for decoder in ('unet', 'deeplabv3plus') for encoder in ENCODERS]
# Written down by another hand, from published code: (K = 1, K = 19).
COUNTS = {
    'unet-r34': (24_436_369, 24_438_979),
    'unet-r50': (32_521_105, 32_523_715),
    'unet-mbv2': (6_628_945, 6_631_555),
    'deeplabv3plus-r34': (22_437_457, 22_442_083),
    'deeplabv3plus-r50': (26_677_585, 26_682_211),
    'deeplabv3plus-mbv2': (4_378_513, 4_383_139),
}
TO_MMSEG = {
    'encoder': 'backbone',
    'decoder': 'decode_head.decoder',
    'segmentation_head': 'decode_head.segmentation_head',
}


def build(network, num_logits, small=False, size=None, loss_decode=None, **head):
    """`network` as in `NETWORKS`."""
    init_default_scope('mmseg')
    decoder, encoder = network.split('-')
    backbone, channels = ENCODERS[encoder]
    if small:
        changes, channels = SMALL[encoder]
        backbone = backbone | changes
    if decoder == 'unet':
        decode_head = dict(type='UNetHead', in_channels=channels)
        decode_head |= dict(decoder_channels=(16, 8, 8, 4, 4)) if small else {}
    else:
        backbone = backbone | STRIDE_16[backbone['type']]
        decode_head = dict(type='DeepLabV3PlusHead', in_channels=(channels[1], channels[4]))
        decode_head |= dict(channels=8, low_channels=4) if small else {}
    decode_head |= dict(num_classes=max(num_logits, 2), out_channels=num_logits, threshold=0.5)
    if loss_decode:
        decode_head['loss_decode'] = loss_decode
    return MODELS.build(
        ConfigDict(
            type='SMPEncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', size=size, seg_pad_val=255),
            backbone=backbone,
            decode_head=decode_head | head,
            test_cfg=dict(mode='whole'),
        )
    )


def renamed(state_dict):
    """The names that segmentation_models_pytorch has for what a net of ours holds."""
    names = {}
    for key, value in state_dict.items():
        (theirs,) = (
            f'{theirs}.{key.removeprefix(f"{ours}.")}'
            for theirs, ours in TO_MMSEG.items()
            if key.startswith(f'{ours}.')
        )
        names[theirs] = value
    return names


def shapes_of(state_dict):
    return {key: list(each.shape) for key, each in state_dict.items()}


def logits_of(model, given):
    """At the size of the images."""
    with torch.no_grad():
        features = model.extract_feat(given)
        return model.decode_head.predict(features, [dict(img_shape=tuple(given.shape[2:]))], {})


# --- The same networks ----------------------------------------------------------------------------


@pytest.mark.parametrize('network', NETWORKS)
def test_counts_names_and_shapes(network):
    encoder = network.split('-')[1]
    expected = {f'encoder.{key}': shape for key, shape in SMP['shapes'][encoder].items()}
    expected |= SMP['shapes'][network]
    with torch.device('meta'):
        models = [build(network, classes) for classes in (1, 19)]
    assert shapes_of(renamed(models[1].state_dict())) == expected
    counts = tuple(sum(each.numel() for each in model.parameters()) for model in models)
    assert counts == COUNTS[network] == tuple(SMP['counts'][network].values())


@pytest.mark.parametrize('network', NETWORKS)
def test_features_and_logits(network):
    """Strides 2 to 32, the last one 16 before the pyramid."""
    decoder, encoder = network.split('-')
    _, channels = ENCODERS[encoder]
    with torch.device('meta'):
        model = build(network, 19).eval()
        features = model.extract_feat(torch.zeros(1, 3, 96, 160))
        logits = model.decode_head(features)
    strides = (2, 4, 8, 16, 32 if decoder == 'unet' else 16)
    sizes = [(1, width, 96 // each, 160 // each) for width, each in zip(channels, strides)]
    assert [tuple(each.shape) for each in features] == sizes
    stride = 1 if decoder == 'unet' else 4
    assert logits.shape == (1, 19, 96 // stride, 160 // stride)


@pytest.mark.parametrize('case', SMP['outputs'])
def test_outputs(case):
    """In the evaluation mode, of weights from a formula, which are loaded by the names of
    segmentation_models_pytorch."""
    row = SMP['outputs'][case]
    network = f'{row["network"]}-{row["encoder"]}'
    with torch.device('meta'):
        model = build(network, row['classes']).eval()
    given = weights(shapes_of(renamed(model.state_dict())))
    model.load_state_dict(given, assign=True)
    step = row['step']
    found = logits_of(model, images(*row['size']))[0, :, ::step, ::step].flatten()
    expected = torch.tensor(row['logits'])
    assert expected.std() > 0.3
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4 * expected.abs().max().item())


@pytest.mark.parametrize('network', NETWORKS)
def test_any_size_of_images(network):
    model = build(network, 3, small=True).eval()
    assert logits_of(model, images(49, 71)).shape == (1, 3, 49, 71)


@pytest.mark.parametrize('network', NETWORKS)
def test_each_normalization_is_the_configured_one(network):
    norm_cfg = dict(type='GN', num_groups=1)
    with torch.device('meta'):
        model = build(network, 3, small=True, norm_cfg=norm_cfg)
        backbone = MODELS.build(dict(ENCODERS[network.split('-')[1]][0], norm_cfg=norm_cfg))
    for part in (model.decode_head, backbone):
        kinds = {type(each) for each in part.modules() if 'Norm' in type(each).__name__}
        assert kinds == {nn.GroupNorm}


@pytest.mark.parametrize('network', ['unet-r34', 'deeplabv3plus-mbv2'])
def test_weights_begin_as_published(network):
    """Kaiming's uniform distribution in the decoder, Xavier's for the logits, biases of 0."""
    torch.manual_seed(0)
    head = build(network, 19, small=True).decode_head
    head.init_weights()
    for name, each in head.named_parameters():
        if each.dim() == 4:
            fans = each[0].numel()
            if name.startswith('segmentation_head'):
                fans = fans + each[:, 0].numel()
            bound = (6 / fans) ** 0.5
            assert 0.8 * bound < each.abs().max() <= bound, name
            assert each.std().item() == pytest.approx(bound / 3**0.5, rel=0.2), name
        elif name.endswith('bias'):
            assert each.eq(0).all(), name


# --- Checkpoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize('network', NETWORKS)
def test_a_bare_state_dict_loads(network, tmp_path):
    """From a file, as our tools load it, with nothing missing; and what is saved loads too."""
    source, target = (build(network, 2, small=True).eval() for _ in range(2))
    torch.save(renamed(source.state_dict()), tmp_path / 'smp.pth')
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'ours.pth')
    given = images(32, 64)
    for file in ('smp.pth', 'ours.pth'):
        with torch.no_grad():
            target.decode_head.conv_seg.weight.zero_()
        path = str(tmp_path / file)
        load_fully(partial(load_checkpoint, target, path, strict=True), path, target, partial=False)
        assert logits_of(target, given).equal(logits_of(source, given))


def test_of_a_segmentor_within_another_module(tmp_path):
    source, target = (build('unet-r34', 2, small=True) for _ in range(2))
    wrapped = nn.ModuleDict(dict(module=target))
    theirs = {f'module.{key}': each for key, each in renamed(source.state_dict()).items()}
    wrapped.load_state_dict(theirs)
    assert set(theirs) == {f'module.{key}' for key in renamed(source.state_dict())}
    for ours, loaded in zip(source.parameters(), target.parameters()):
        assert ours.equal(loaded)
    del theirs['module.decoder.blocks.0.conv1.0.weight']
    words = r'Missing key.* "module.decode_head.decoder.blocks.0.conv1.0.weight"'
    with pytest.raises(RuntimeError, match=words):
        wrapped.load_state_dict(theirs)


@pytest.mark.parametrize('network', ['deeplabv3plus-r34', 'deeplabv3plus-mbv2'])
def test_parts_begin_from_a_file(network, tmp_path):
    """The encoder alone, from ImageNet's classifier or from a whole network; the head alone."""
    source = build(network, 2, small=True)
    whole, encoder = str(tmp_path / 'whole.pth'), str(tmp_path / 'encoder.pth')
    torch.save(renamed(source.state_dict()), whole)
    torch.save(source.backbone.state_dict() | {'classifier.1.weight': torch.ones(2)}, encoder)
    kind = network.split('-')[1]
    settings = ENCODERS[kind][0] | SMALL[kind][0] | STRIDE_16[ENCODERS[kind][0]['type']]
    for begin in (
        dict(pretrained=encoder),
        dict(init_cfg=dict(type='Pretrained', checkpoint=whole, prefix='encoder')),
    ):
        backbone = MODELS.build(settings | begin)
        backbone.init_weights()
        assert same(backbone, source.backbone)
    model = build(network, 2, small=True, init_cfg=dict(type='Pretrained', checkpoint=whole))
    model.init_weights()
    assert same(model.decode_head, source.decode_head) and not same(model.backbone, source.backbone)


def same(one, other):
    return all(a.equal(b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# --- Training -------------------------------------------------------------------------------------


@pytest.mark.parametrize('num_logits', [1, 3])
@pytest.mark.parametrize('network', NETWORKS)
def test_one_step_with_epl(network, num_logits):
    """Of EPL alone, all parameters of the head move, and every one of the backbone has a gradient,
    as DistributedDataParallel requires."""
    torch.manual_seed(0)
    size = 64, 96
    epl = dict(type='EPLLoss', kernel_size=7, mu=2, point_weight=1.0, line_weight=1.0)
    model = build(network, num_logits, small=True, size=size, loss_decode=[epl])
    model.init_weights()
    model.train()
    before = {name: each.detach().clone() for name, each in model.decode_head.named_parameters()}
    batch = preprocessed(model, max(num_logits, 2), *size)
    total, log = model.parse_losses(model.loss(batch['inputs'], batch['data_samples']))
    assert log['loss'].isfinite() and log['loss'] > 0
    total.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    for name, each in model.decode_head.named_parameters():
        assert not each.equal(before[name]), name
    for name, each in model.named_parameters():
        assert each.grad is not None and each.grad.isfinite().all(), name
    assert any(each.grad.abs().max() > 0 for each in model.backbone.parameters())


# --- Arguments ------------------------------------------------------------------------------------


def test_features_are_chosen_by_their_stride():
    with torch.device('meta'):
        for kind in ENCODERS:
            settings, channels = ENCODERS[kind]
            encoder = MODELS.build(dict(settings, out_indices=(0, 3)))
            features = encoder(torch.zeros(1, 3, 64, 64))
            assert [each.shape[1] for each in features] == [channels[0], channels[3]]
            assert [each.shape[2] for each in features] == [32, 4]


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(type='ResNetEncoder', depth=34, out_indices=(0, 5)), r'\(0, 5\); choose from 0 to 4'),
        (dict(type='ResNetEncoder', depth=34, deep_stem=True), 'leave out `deep_stem`, or take'),
        (dict(type='MobileNetV2Encoder', out_indices=()), r'out_indices=\(\); choose from 0 to 4'),
        (dict(type='MobileNetV2Encoder', strides=(1, 2)), 'give seven of each, one per layer'),
        (
            dict(type='MobileNetV2Encoder', pretrained='a.pth', init_cfg=dict(type='Kaiming')),
            "pretrained='a.pth' and an init_cfg; give one of them",
        ),
        (
            dict(type='UNetHead', in_channels=(4, 8), num_classes=3),
            r'in_channels=\(4, 8\), in_index=\(0, 1, 2, 3, 4\), decoder_channels=\(256, 128, ',
        ),
        (
            dict(type='UNetHead', in_channels=4, in_index=0, num_classes=3),
            r'UNetHead got in_channels=4, in_index=0, decoder_channels=.* of each, two or more.$',
        ),
        (
            dict(type='DeepLabV3PlusHead', in_channels=(4, 8, 8), num_classes=3),
            r'in_channels=\(4, 8, 8\), in_index=\(1, 4\); give two of each',
        ),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(settings)

"""WRN-38: sizes, names and what its blocks compute."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.registered.models.wider_resnet import PreActivationBlock

# Written down by another hand, from published code.
COUNTS = {
    'mod1': 1_728,
    'mod2': 820_608,
    'mod3': 3_279_616,
    'mod4': 27_274_752,
    'mod5': 26_484_736,
    'mod6': 9_442_304,
    'mod7': 37_758_976,
}
CHANNELS = (64, 128, 256, 512, 1024, 2048, 4096)
SMALL = dict(
    stem_channels=4,
    structure=(1, 2, 1, 1, 1, 1),
    widths=((8, 8), (8, 8), (8, 8), (8, 12), (8, 12, 16), (8, 12, 24)),
)


def build(**settings):
    init_default_scope('mmseg')
    return MODELS.build(dict(type='WiderResNet', **settings))


def count(module):
    return sum(each.numel() for each in module.parameters())


def shapes(features):
    return [tuple(each.shape[1:]) for each in features]


# --- The network ----------------------------------------------------------------------------------


def test_counts_of_parameters():
    with torch.device('meta'):
        model, normed = build(), build(final_norm=True)
    assert {name: count(module) for name, module in model.named_children()} == COUNTS
    assert count(model) == sum(COUNTS.values()) == 105_062_720
    assert count(normed) == 105_070_912


@pytest.mark.parametrize(
    'size, sizes',
    [(560, (560, 280, 140, 70, 70, 70, 70)), (769, (769, 385, 193, 97, 97, 97, 97))],
)
def test_features(size, sizes):
    """Output stride 8."""
    with torch.device('meta'):
        features = build().eval()(torch.zeros(1, 3, size, size))
    assert shapes(features) == [(c, s, s) for c, s in zip(CHANNELS, sizes)]


def test_without_dilation_as_for_classification():
    with torch.device('meta'):
        model = build(strides=(1, 1, 2, 2, 2, 1), dilations=(1,) * 6)
        features = model(torch.zeros(1, 3, 64, 64))
    assert shapes(features) == [(c, s, s) for c, s in zip(CHANNELS, (64, 32, 16, 8, 4, 2, 2))]
    assert count(model) == 105_062_720


def test_names_are_those_of_the_public_checkpoint():
    with torch.device('meta'):
        state = build(final_norm=True).state_dict()
    shapes = {key: tuple(each.shape) for key, each in state.items()}
    assert shapes['mod1.conv1.weight'] == (64, 3, 3, 3)
    assert shapes['mod2.block1.proj_conv.weight'] == (128, 64, 1, 1)
    assert shapes['mod7.block1.convs.conv3.weight'] == (4096, 2048, 1, 1)
    assert shapes['bn_out.0.weight'] == (4096,)
    norm = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    expected = {'mod1.conv1.weight'} | {f'bn_out.0.{part}' for part in norm}
    for number, blocks in enumerate((3, 3, 6, 3, 1, 1), 2):
        for block in range(1, blocks + 1):
            name = f'mod{number}.block{block}'
            convs = (1, 2, 3) if number > 5 else (1, 2)
            expected |= {f'{name}.convs.conv{conv}.weight' for conv in convs}
            expected |= {f'{name}.bn1.0.{part}' for part in norm}
            expected |= {f'{name}.convs.bn{conv}.0.{part}' for conv in convs[1:] for part in norm}
            if block == 1:
                expected.add(f'{name}.proj_conv.weight')
    assert set(shapes) == expected


def test_dilations_and_dropouts():
    with torch.device('meta'):
        model = build()
    for name, module in model.named_modules():
        dilation = dict(mod5=2, mod6=4, mod7=4).get(name.split('.')[0], 1)
        if isinstance(module, nn.Conv2d):
            dilation = dilation if module.kernel_size == (3, 3) else 1
            assert module.dilation == (dilation, dilation), name
            assert module.bias is None, name
    dropouts = {
        name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout2d)
    }
    assert dropouts == {
        'mod6.block1.convs.dropout': 0.3,
        'mod7.block1.convs.dropout': 0.5,
    }


# --- Blocks ---------------------------------------------------------------------------------------


def block(in_channels, widths, stride=1, dropout_ratio=0.0):
    """With normalizations that are none of the identity."""
    torch.manual_seed(0)
    made = PreActivationBlock(in_channels, widths, stride, 2, dropout_ratio, dict(type='BN')).eval()
    for each in made.modules():
        if isinstance(each, nn.BatchNorm2d):
            for values in (each.weight, each.bias, each.running_mean, each.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
    return made


@pytest.mark.parametrize('widths', [(6, 4), (6, 6, 4)])
def test_the_identity_takes_what_is_given_and_the_projection_what_is_activated(widths):
    """Nothing follows the sum; the blocks' last convolutions are 0 here."""
    given = torch.randn(2, 4, 7, 9)
    identity, projection = block(4, widths), block(4, (*widths[:-1], 5), stride=2)
    for each in (identity, projection):
        list(each.convs)[-1].weight.data.zero_()
    assert identity(given).equal(given) and identity.proj_conv is None
    expected = projection.proj_conv(projection.bn1(given))
    assert projection.bn1(given).min() == 0
    assert projection(given).equal(expected) and expected.shape == (2, 5, 4, 5)


def test_the_dropout_is_of_whole_channels_before_the_last_convolution():
    given = torch.randn(1, 4, 5, 5)
    made = block(4, (6, 6, 4), dropout_ratio=1.0)
    assert not made(given).equal(given)
    made.convs.dropout.train()
    assert made(given).equal(given)


def test_the_final_norm_is_of_the_last_feature_alone():
    torch.manual_seed(0)
    model = build(**SMALL, final_norm=True).eval()
    given = torch.randn(1, 3, 32, 32)
    *others, last = model(given)
    normed, model.bn_out = model.bn_out, None
    *raw, final = model(given)
    assert all(a.equal(b) for a, b in zip(others, raw))
    assert final.min() < 0 and last.equal(normed(final))


# --- Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['WiderResNet', 'DRN'])
def test_checkpointing_changes_no_gradient(kind):
    """And computes what is in each block twice, as far as its gradient needs it."""
    init_default_scope('mmseg')
    settings = dict(SMALL) if kind == 'WiderResNet' else dict(base_channels=2)
    settings |= dict(type=kind, norm_cfg=dict(type='GN', num_groups=1))
    torch.manual_seed(0)
    plain = MODELS.build(settings)
    saving = MODELS.build(dict(settings, with_cp=True))
    saving.load_state_dict(plain.state_dict())
    given = torch.randn(2, 3, 33, 33)
    calls = []
    for each in saving.modules():
        if isinstance(each, nn.Conv2d):
            each.register_forward_hook(lambda *_: calls.append(1))
    for model in (plain, saving):
        torch.manual_seed(1)
        sum(feature.square().mean() for feature in model(given)).backward()
    convs = sum(isinstance(each, nn.Conv2d) for each in saving.modules())
    assert len(calls) > 1.5 * convs
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    with torch.no_grad():
        assert all(a.equal(b) for a, b in zip(plain.eval()(given), saving.eval()(given)))


def test_features_are_chosen_and_normalized_as_configured():
    with torch.device('meta'):
        model = build(**SMALL, out_indices=(1, 6), norm_cfg=dict(type='GN', num_groups=1))
        features = model(torch.zeros(1, 3, 40, 64))
        images = build(**dict(SMALL, in_channels=4))(torch.zeros(1, 4, 16, 16))
    assert shapes(features) == [(8, 20, 32), (24, 5, 8)] and len(images) == 7
    kinds = {type(each) for each in model.modules() if 'Norm' in type(each).__name__}
    assert kinds == {nn.GroupNorm}


def test_a_shorter_one():
    """Each setting has one number per module, so that parts that no head needs can be left out."""
    settings = dict(structure=(1, 1), widths=((8, 8), (8, 8)), strides=(1, 1), dilations=(1, 1))
    with torch.device('meta'):
        model = build(**settings, dropout_ratios=(0, 0), out_indices=(2,))
    assert [name for name, _ in model.named_children()] == ['mod1', 'mod2', 'mod3']


@pytest.mark.parametrize('kind', ['WiderResNet', 'DRN'])
def test_weights_begin_by_kaimings_normal_distribution(kind):
    """DRN's published: a standard deviation of the root of 2 / (height x width x channels out)."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    settings = dict(SMALL) if kind == 'WiderResNet' else dict(base_channels=4)
    model = MODELS.build(dict(type=kind, **settings))
    model.init_weights()
    for name, each in model.named_modules():
        if isinstance(each, nn.Conv2d) and each.weight.numel() > 500:
            std = (2 / (each.weight[0, 0].numel() * each.out_channels)) ** 0.5
            assert each.weight.std().item() == pytest.approx(std, rel=0.2), name
        elif isinstance(each, nn.BatchNorm2d):
            assert each.weight.eq(1).all() and each.bias.eq(0).all(), name


def test_it_begins_from_the_public_checkpoint(tmp_path):
    """Which was written by DataParallel, and has a classifier."""
    torch.manual_seed(0)
    source = build(**SMALL, final_norm=True)
    theirs = {f'module.{key}': each for key, each in source.state_dict().items()}
    theirs |= {'module.classifier.fc.weight': torch.ones(7, 24)}
    file = tmp_path / 'wider_resnet38.pth'
    torch.save(dict(state_dict=theirs), file)
    model = build(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    model.init_weights()
    ours = source.state_dict()
    assert all(each.equal(ours[key]) for key, each in model.state_dict().items())


@pytest.mark.parametrize(
    'settings, message',
    [
        (
            dict(out_indices=(0, 7)),
            r'\(0, 7\); choose from 0 to 6, where 0 is the convolution at st',
        ),
        (dict(structure=(3, 3)), r'structure=\(3, 3\), widths=.*; give one of each per module af'),
        (dict(widths=((8,),) * 6), r'widths=\(\(8,\), .*; give two or three per module'),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)

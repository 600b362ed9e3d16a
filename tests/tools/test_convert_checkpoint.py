"""Published weights, on small files with their key names."""

import argparse
import pickle

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.models import ResNetV1c

from mmseg_boundary.registered.models import MobileNetV2Encoder, ResNetEncoder
from tests.support.hostile import Touch
from tests.support.small_run import run_tool, truncate

# {where MMSegmentation has a part of the deep stem: where semseg has it}
DEEP_STEM = {
    'stem.0': 'conv1', 'stem.1': 'bn1', 'stem.3': 'conv2', 'stem.4': 'bn2', 'stem.6': 'conv3',
    'stem.7': 'bn3',
}  # fmt: skip


def convert(folder, content, *options, name='given.pth', **how):
    if content is not None:
        torch.save(content, folder / name, **how)
    return run_tool('convert_checkpoint', folder / name, folder / 'new/new.pth', *options)


def result(folder):
    return torch.load(folder / 'new/new.pth', weights_only=True)['state_dict']


def small_resnet():
    return ResNetEncoder(18, base_channels=4, stem_channels=4)


def small_semseg():
    return ResNetV1c(depth=50, base_channels=4, stem_channels=8)


def small_mobilenet():
    return MobileNetV2Encoder(widen_factor=0.25)


def in_semseg(key):
    begin, _, end = key.rpartition('.')
    return f'{DEEP_STEM.get(begin, begin)}.{end}'


@pytest.mark.parametrize(
    'build, rename, classifier',
    [
        (small_resnet, lambda key: key, 'fc'),
        (small_semseg, in_semseg, 'fc'),
        (small_mobilenet, lambda key: key, 'classifier.1'),
    ],
    ids=['ResNet', 'semseg', 'MobileNetV2'],
)
@pytest.mark.parametrize('wrapped', [False, True])
def test_all_weights_arrive(build, rename, classifier, wrapped, tmp_path, capsys):
    """Bare, or as training scripts leave them: of DataParallel, with the optimizer beside them."""
    torch.manual_seed(0)
    given = {rename(key): torch.randn(value.shape) if value.is_floating_point() else value
             for key, value in build().state_dict().items()}  # fmt: skip
    given |= {f'{classifier}.weight': torch.ones(2, 2), f'{classifier}.bias': torch.ones(2)}
    content = given
    if wrapped:
        content = {f'module.{key}': value for key, value in given.items()}
        content = dict(epoch=3, arch='x', state_dict=content, optimizer=dict(state={}))
    assert convert(tmp_path, content) is None
    said = capsys.readouterr().out
    assert said.endswith(f'left out: {classifier}.weight, {classifier}.bias\n')
    net = build()
    load_checkpoint(net, str(tmp_path / 'new/new.pth'), strict=True)
    for key, value in net.state_dict().items():
        assert torch.equal(value, given[rename(key)]), key
    assert set(result(tmp_path)) == set(net.state_dict())


WRN = [
    'mod1.conv1.weight', 'mod2.block1.bn1.0.weight', 'mod2.block1.convs.conv1.weight',
    'mod6.block1.proj_conv.weight', 'mod7.block1.convs.bn3.0.running_var', 'bn_out.0.weight',
]  # fmt: skip
DRN = [
    'layer0.0.weight', 'layer1.0.weight', 'layer3.0.conv1.weight', 'layer3.0.downsample.0.weight',
    'layer8.0.weight', 'layer8.1.running_mean',
]  # fmt: skip
DRN_C = ['conv1.weight', 'layer1.0.conv1.weight', 'layer4.0.conv1.weight', 'layer8.0.conv1.weight']


@pytest.mark.parametrize(
    'name, keys, classifier',
    [
        ('WRN-38', WRN, ['classifier.fc.weight', 'classifier.fc.bias']),
        ('DRN', DRN, ['fc.weight', 'fc.bias']),
        ('DRN', DRN_C, ['fc.weight', 'fc.bias']),
    ],
)
def test_names_of_wrn_and_drn_stay(name, keys, classifier, tmp_path, capsys):
    content = {f'module.{key}': torch.ones(1) for key in [*keys, *classifier]}
    assert convert(tmp_path, dict(state_dict=content)) is None
    assert list(result(tmp_path)) == keys
    said = capsys.readouterr().out
    assert f'{name}: {len(keys)} tensors in ' in said and classifier[0] in said


RESNET = {'conv1.weight': torch.ones(1), 'layer4.0.conv1.weight': torch.ones(1)}


def test_tensors_alone_are_kept(tmp_path):
    """Parameters without gradients, and views without what they are a part of."""
    large = torch.arange(100_000.0)
    content = dict(RESNET, bn1=None, **{'bn1.weight': large[:2], 'note': 'mine', 'bn1.eps': 1e-5})
    content['layer4.0.conv1.weight'] = torch.nn.Parameter(torch.ones(1))
    assert convert(tmp_path, content) is None
    found = result(tmp_path)
    assert set(found) == {*RESNET, 'bn1.weight'}
    assert type(found['layer4.0.conv1.weight']) is torch.Tensor
    assert not found['layer4.0.conv1.weight'].requires_grad
    assert found['bn1.weight'].tolist() == [0, 1]
    assert (tmp_path / 'new/new.pth').stat().st_size < 10_000


@pytest.mark.parametrize('zipped', [True, False])
def test_code_runs_by_request_alone(zipped, tmp_path, monkeypatch):
    """Also of files in torch's format of 2018."""
    how = dict(_use_new_zipfile_serialization=zipped)
    content = dict(state_dict=RESNET, args=argparse.Namespace(lr=1), code=Touch(tmp_path / 'touch'))
    said = convert(tmp_path, content, **how)
    assert 'given.pth cannot be read as tensors and plain values' in said
    assert said.endswith('so it is refused. If you know where it comes from, give --unsafe.')
    assert not (tmp_path / 'touch').exists() and not (tmp_path / 'new').exists()
    # The tests of other tools in this process have set it.
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    assert convert(tmp_path, content, '--unsafe', **how) is None
    assert (tmp_path / 'touch').exists() and set(result(tmp_path)) == set(RESNET)


def test_a_file_of_numbers_needs_no_request(tmp_path, monkeypatch):
    """Such as the best precision, as NumPy's; the old format is read safely too."""
    import numpy as np

    content = dict(state_dict=RESNET, best_prec1=np.float64(75.9), epoch=np.int64(3))
    assert convert(tmp_path, content, _use_new_zipfile_serialization=False) is None
    assert set(result(tmp_path)) == set(RESNET)


def test_what_cannot_be_converted_is_a_sentence(tmp_path):
    assert convert(tmp_path, None).startswith(f'{tmp_path}/given.pth does not exist.')
    said = convert(tmp_path, {'backbone.a': torch.ones(1), 'backbone.b': torch.ones(1)})
    assert 'given.pth begins with backbone.a, and is of none of the networks' in said
    assert said.endswith("torchvision's ResNet, torchvision's MobileNetV2.")
    assert 'given.pth has no tensors, and is' in convert(tmp_path, dict(state_dict={}))
    torch.save(RESNET, tmp_path / 'given.pth')
    truncate(tmp_path / 'given.pth', 0.9)
    for options in ((), ('--unsafe',)):
        assert 'given.pth is damaged, not whole or no check' in convert(tmp_path, None, *options)
    (tmp_path / 'given.pth').write_bytes(b'no checkpoint')
    assert 'given.pth cannot be read' in convert(tmp_path, None)
    assert 'given.pth is damaged or no checkpoint' in convert(tmp_path, None, '--unsafe')
    (tmp_path / 'given.pth').write_bytes(pickle.dumps([1]))
    assert 'is refused' in convert(tmp_path, None)
    assert not (tmp_path / 'new').exists()
    assert convert(tmp_path, RESNET) is None
    assert 'new.pth exists; name a new file' in convert(tmp_path, RESNET)
    said = run_tool('convert_checkpoint', tmp_path / 'given.pth', tmp_path / 'given.pth/new.pth')
    assert 'has to be a folder' in said

"""Operators, data and checkpoints that are missing are one sentence with the remedy."""

import re

import pytest
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper

from mmseg_boundary import stacks
from mmseg_boundary.cli import parts
from mmseg_boundary.cli.parts import require_parts
from mmseg_boundary.cli.runner import build_runner
from tests.support.commands import ROOT, SHAPES, attempt, free_port, sentence

TRAIN, TEST = ROOT / 'tools/train.py', ROOT / 'tools/test.py'


@pytest.mark.parametrize('config', ['pspnet_epl_city', 'pspnet_epl_voc', 'pspnet_epl_camvid'])
def test_missing_data(config, tmp_path):
    """And where the remedy is followed, the next thing that is missing is named."""
    command = [TRAIN, f'configs/{config}.py', '--work-dir', tmp_path]
    said = sentence(*command, CAMVID_ROOT='data/CamVid')
    assert said.startswith('The data set is not there: data/')
    option = re.search(r'--cfg-options (train_dataloader\.\S+)=/path/to/data', said)[1]
    said = sentence(*command, '--cfg-options', f'{option}={tmp_path}')
    assert said.startswith(f'The data set is not there: {tmp_path}/')


CAMVID = ROOT / 'configs/pspnet_epl_camvid.py'
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def said_of(config, dataloaders=LOADERS):
    with pytest.raises(SystemExit) as end:
        require_parts(config, dataloaders)
    return end.value.code


@pytest.mark.parametrize('root', [None, '/no/where'])
def test_the_folder_of_camvid_is_named_once_for_all_loaders(root, tmp_path, monkeypatch):
    """By the variable that the config reads, set or not, or by options."""
    monkeypatch.delenv('CAMVID_ROOT', raising=False)
    if root:
        monkeypatch.setenv('CAMVID_ROOT', root)
    config = Config.fromfile(CAMVID)
    said = said_of(config)
    options = [f'{loader}.dataset.data_root=/path/to/data' for loader in LOADERS]
    ways = f'CAMVID_ROOT=/path/to/data, or --cfg-options {" ".join(options)}'
    assert said.startswith(f'The data set is not there: {root or "data/CamVid"}/train (')
    assert said.endswith(f' or name its place: {ways}')
    for name in ('train', 'val'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'a.png').touch()
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path))
    require_parts(Config.fromfile(CAMVID), LOADERS)
    given = dict(option.split('=') for option in options)
    config.merge_from_dict(dict.fromkeys(given, str(tmp_path)))
    require_parts(config, LOADERS)


def test_a_variable_that_the_data_are_not_read_from_is_no_remedy(tmp_path, monkeypatch):
    """Of two variables the one is named; neither where an option has set another folder."""
    monkeypatch.delenv('CAMVID_ROOT', raising=False)
    monkeypatch.delenv('CAMVID_HALF_ROOT', raising=False)
    config = Config.fromfile(ROOT / 'configs/pspnet_ce_camvidhalf.py')
    said = said_of(config)
    assert 'name its place: CAMVID_HALF_ROOT=' in said and 'CAMVID_ROOT' not in said
    config.merge_from_dict({'train_dataloader.dataset.data_root': str(tmp_path)})
    said = said_of(config)
    assert said.endswith(': --cfg-options train_dataloader.dataset.data_root=/path/to/data')


def test_a_config_of_another_project_may_read_a_variable_too(tmp_path, monkeypatch):
    monkeypatch.delenv('MY_DATA', raising=False)
    (tmp_path / 'mine.py').write_text(
        f"_base_ = ['{SHAPES}']\ntest_dataloader = dict(dataset=dict(_delete_=True, "
        "type='BaseSegDataset', data_root='{{ $MY_DATA:no/where }}', "
        "data_prefix=dict(img_path='images')))\n"
    )
    said = said_of(Config.fromfile(tmp_path / 'mine.py'), ('test_dataloader',))
    assert 'name its place: MY_DATA=/path/to/data, or --cfg-options test_' in said


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        dict(type=AmpOptimWrapper, optimizer=dict(type='SGD', lr=0.1)),
        dict(constructor='Several', net=dict(type='AmpOptimWrapper'), other=dict(type='SGD')),
    ],
    ids=['by name', 'by class', 'one of several'],
)
def test_mixed_precision_needs_a_gpu(wrapper, monkeypatch):
    config = Config.fromfile(SHAPES)
    config.optim_wrapper = wrapper
    for device, refused in (('cpu', True), ('mps', True), ('cuda', False), ('npu', False)):
        monkeypatch.setattr(parts, 'get_device', lambda: device)
        if refused:
            with pytest.raises(SystemExit, match='^Mixed precision .--amp, or AmpOptimWrapper in'):
                parts.require_device(config)
        else:
            parts.require_device(config)
    monkeypatch.setattr(parts, 'get_device', lambda: 'cpu')
    require_parts(config, LOADERS)  # for a tool that has no optimizer, such as loss_balance.py


def test_missing_data_is_said_once_by_several_ranks(tmp_path):
    done = attempt(
        'bash', 'tools/dist_train.sh', 'configs/pspnet_epl_city.py', 2, '--work-dir', tmp_path,
        PORT=free_port(),
    )  # fmt: skip
    assert done.returncode != 0 and done.stdout.count('The data set is not there') == 1


def test_a_test_set_without_labels_is_no_missing_data(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/a.png').touch()
    config = Config.fromfile(SHAPES)
    config.test_dataloader.dataset = dict(
        type='CamVidDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
    )
    require_parts(config, ('test_dataloader',))
    config.test_dataloader.dataset.data_prefix.img_path = 'photos'
    with pytest.raises(SystemExit, match='photos .* does not exist'):
        require_parts(config, ('test_dataloader',))


def data_set(folder, **changes):
    """A config whose test images lie in FOLDER/images."""
    config = Config.fromfile(SHAPES)
    config.test_dataloader.dataset = dict(
        type='BaseSegDataset', data_root=str(folder), data_prefix=dict(img_path='images'), **changes
    )
    return config


def test_images_may_lie_anywhere_in_the_folder(tmp_path):
    """Cityscapes has a folder per town, which may be a link."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'images/town').symlink_to(tmp_path / 'elsewhere')
    for name, fits in (('a.txt', False), ('a.png', True)):
        (tmp_path / 'elsewhere' / name).touch()
        config = data_set(tmp_path, img_suffix='.png')
        if fits:
            require_parts(config, ('test_dataloader',))
        else:
            with pytest.raises(SystemExit, match="images .* has no images that end in '.png'"):
                require_parts(config, ('test_dataloader',))


def test_a_list_without_a_line(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'list.txt').write_text('\n')
    config = data_set(tmp_path, ann_file='list.txt')
    with pytest.raises(SystemExit, match='The data set is empty: .*list.txt'):
        require_parts(config, ('test_dataloader',))
    (tmp_path / 'list.txt').write_text('a\n')
    require_parts(config, ('test_dataloader',))


@pytest.mark.parametrize('how', ['test', 'pretrained', 'resume'])
def test_a_missing_checkpoint(how, tmp_path):
    command = [TRAIN, SHAPES, '--work-dir', tmp_path]
    if how == 'test':
        command = [TEST, SHAPES, 'nothing.pth', '--work-dir', tmp_path]
    elif how == 'pretrained':
        command += ['--cfg-options', 'model.pretrained=nothing.pth']
    else:
        (tmp_path / 'last_checkpoint').write_text('nothing.pth')
        command += ['--resume']
    assert 'The checkpoint nothing.pth does not exist' in sentence(*command)


def test_missing_operators(monkeypatch):
    """On both stacks: where the operators are installed, they are hidden."""
    monkeypatch.setattr(stacks, 'has_compiled_operators', lambda: False)
    for head, operator in (('psanet', 'PSAMask'), ('ccnet', 'CrissCrossAttention')):
        config = Config.fromfile(ROOT / f'configs/{head}_epl_city.py')
        with pytest.raises(SystemExit, match=f"needs mmcv's compiled {operator}.*pip install"):
            build_runner(config, ())

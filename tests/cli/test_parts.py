"""Operators, data and checkpoints that are missing are one sentence with the remedy."""

import re

import pytest
from mmengine.config import Config

from mmseg_boundary import stacks
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

"""What a user can mend is said in one sentence with the remedy, and no checkpoint runs code."""

import os
import pickle
import re
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS

from mmseg_boundary import stacks
from mmseg_boundary.cli import launch, safe_loading
from mmseg_boundary.cli.launch import build_runner, check_losses, plain_errors, require_parts, stop
from mmseg_boundary.registered import CheckFiniteLossHook
from tests.support.commands import ROOT, SHAPES, TINY, attempt, free_port
from tests.support.hostile import Touch

TRAIN, TEST = ROOT / 'tools/train.py', ROOT / 'tools/test.py'


def sentence(*command, **environment):
    """The last line of a process that ends without a stack of frames."""
    done = attempt(sys.executable, *command, **environment)
    assert done.returncode == 1 and 'Traceback' not in done.stdout, done.stdout
    return done.stdout.strip().splitlines()[-1]


def test_a_missing_config(tmp_path):
    assert 'configs/nothing.py does not exist. `ls configs`' in sentence(
        TRAIN, 'configs/nothing.py', '--work-dir', tmp_path
    )


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
    config.test_dataloader.dataset.data_prefix.img_path = 'pictures'
    with pytest.raises(SystemExit, match='pictures .* does not exist'):
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


def test_a_checkpoint_that_cannot_be_downloaded(tmp_path):
    url = 'http://127.0.0.1:9/a.pth'
    said = sentence(TEST, SHAPES, url, '--work-dir', tmp_path, TORCH_HOME=str(tmp_path))
    assert said.startswith(f'{url} could not be downloaded')


def test_missing_weights_without_a_network(tmp_path):
    """The stock weights' name and an address at which nobody answers."""
    said = sentence(
        TRAIN,
        SHAPES,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        *TINY,
        'model.pretrained=http://127.0.0.1:9/resnet18.pth',
        TORCH_HOME=str(tmp_path),
    )
    assert said.startswith('http://127.0.0.1:9/resnet18.pth could not be downloaded')
    assert '--cfg-options model.pretrained=None' in said


def test_missing_operators(monkeypatch):
    """On both stacks: where the operators are installed, they are hidden."""
    monkeypatch.setattr(stacks, 'has_compiled_operators', lambda: False)
    for head, operator in (('psanet', 'PSAMask'), ('ccnet', 'CrissCrossAttention')):
        config = Config.fromfile(ROOT / f'configs/{head}_epl_city.py')
        with pytest.raises(SystemExit, match=f"needs mmcv's compiled {operator}.*pip install"):
            build_runner(config, ())


@pytest.mark.parametrize('switch', [{}, {'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': '1'}])
def test_a_checkpoint_with_code_is_refused(switch, tmp_path):
    """Also for those who once told torch to load everything."""
    torch.save(dict(state_dict={}, meta=Touch(tmp_path / 'touched')), tmp_path / 'bad.pth')
    said = sentence(TEST, SHAPES, tmp_path / 'bad.pth', '--work-dir', tmp_path, **switch)
    assert 'bad.pth cannot be read as tensors and plain values' in said
    assert not (tmp_path / 'touched').exists()


@pytest.mark.parametrize('form', ['zip', 'legacy', 'bare pickle'])
def test_a_checkpoint_with_code_is_refused_in_every_form(form, tmp_path):
    content = dict(state_dict={}, meta=Touch(tmp_path / 'touched'))
    if form == 'bare pickle':
        (tmp_path / 'bad.pth').write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / 'bad.pth', _use_new_zipfile_serialization=form == 'zip')
    config = Config(dict(model={}, load_from=str(tmp_path / 'bad.pth')))
    with pytest.raises(SystemExit, match='bad.pth cannot be read as tensors and plain values'):
        with plain_errors(config):
            CheckpointLoader.load_checkpoint(str(tmp_path / 'bad.pth'), 'cpu')
    assert not (tmp_path / 'touched').exists()


def test_the_pickle_of_the_test_above_works(tmp_path):
    pickle.loads(pickle.dumps(Touch(tmp_path / 'touched')))
    assert (tmp_path / 'touched').exists()


@pytest.mark.parametrize('name', ['__init__', '__class__'])
def test_the_loader_fetches_nothing_but_statistics(name):
    """MMEngine's history is pickled with `getattr`, which fetches anything else as well."""
    from mmengine.logging import HistoryBuffer

    history = safe_loading._History
    assert safe_loading._statistic(history, 'mean') is HistoryBuffer.mean
    for owner in (history, HistoryBuffer, os):
        with pytest.raises(pickle.UnpicklingError, match='is refused'):
            safe_loading._statistic(owner, name)


# --- Who says it, and what keeps its stack of frames ----------------------------------------------


@pytest.mark.parametrize('rank, every_rank, said', [(0, False, 'a'), (1, False, 1), (1, True, 'a')])
def test_what_one_rank_alone_knows_it_says(rank, every_rank, said, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', str(rank))
    monkeypatch.setattr(launch, 'PATIENCE', 0)
    with pytest.raises(SystemExit) as end:
        stop('a', every_rank)
    assert end.value.code == said


def failing(error):
    raise error


@pytest.mark.parametrize(
    'error',
    [
        ValueError('of another package'),
        KeyError('name'),
        TypeError("f() got an unexpected keyword argument 'x'"),  # no config was being built
        RuntimeError('PytorchStreamReader failed'),  # no checkpoint was being read
        IndexError('list index out of range'),
    ],
    ids=repr,
)
def test_errors_in_programs_keep_their_stack_of_frames(error):
    with pytest.raises(type(error)) as caught:
        with plain_errors(Config(dict(model={}))):
            failing(error)
    assert caught.value is error


def test_a_device_that_is_full_does_not_make_a_checkpoint_damaged(tmp_path):
    """Resuming reads onto the device."""
    torch.save(dict(state_dict={'weight': torch.ones(3)}), tmp_path / 'a.pth')

    def full(storage, location):
        raise torch.OutOfMemoryError('CUDA out of memory.')

    config = Config(dict(model={}, load_from=str(tmp_path / 'a.pth')))
    with pytest.raises(torch.OutOfMemoryError):
        with plain_errors(config):
            torch.load(tmp_path / 'a.pth', map_location=full, weights_only=True)


def test_a_bug_in_a_constructor_keeps_its_stack_of_frames():
    """Although a config is being built."""

    class Broken:
        def __init__(self):
            self.size = None + 1

    with pytest.raises(TypeError, match='unsupported operand'):
        with plain_errors(Config(dict(model={}))):
            MODELS.build(dict(type=Broken))


def test_the_hook_on_losses_is_added_once():
    config = Config(dict(model={}))
    check_losses(config)
    check_losses(config)
    # with its scope: a config may have another as its default
    assert config.custom_hooks == [dict(type='mmseg.CheckFiniteLossHook', uncalled_loss='stop')]
    config = Config(dict(custom_hooks=[dict(type='EMAHook'), dict(type=CheckFiniteLossHook)]))
    check_losses(config)
    assert config.custom_hooks[1:] == [dict(type=CheckFiniteLossHook, uncalled_loss='stop')]


def test_a_config_may_have_the_hook_warn():
    given = dict(type='CheckFiniteLossHook', uncalled_loss='warn')
    config = Config(dict(custom_hooks=[dict(given)]))
    check_losses(config)
    assert config.custom_hooks == [given]

"""Who says a sentence, and which errors stay what they are."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_boundary.cli import errors
from mmseg_boundary.cli.errors import plain_errors, stop
from tests.support.commands import ROOT, SHAPES, TINY, sentence

TRAIN, TEST = ROOT / 'tools/train.py', ROOT / 'tools/test.py'


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


@pytest.mark.parametrize('rank, every_rank, said', [(0, False, 'a'), (1, False, 1), (1, True, 'a')])
def test_what_one_rank_alone_knows_it_says(rank, every_rank, said, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', str(rank))
    monkeypatch.setattr(errors, 'PATIENCE', 0)
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

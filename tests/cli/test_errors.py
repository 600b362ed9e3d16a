"""Which rank says a sentence, and which errors are raised as they are."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.registry import MODELS

from mmseg_boundary.cli import errors
from mmseg_boundary.cli.errors import plain_errors, stop
from mmseg_boundary.files import UnwrittenFile
from tests.support import last_run
from tests.support.commands import ROOT, SHAPES, TINY, sentence
from tests.support.logs import text_of
from tests.support.small_run import run_tool, train

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
def test_errors_in_programs_keep_their_traceback(error):
    with pytest.raises(type(error)) as caught:
        with plain_errors(Config(dict(model={}))):
            failing(error)
    assert caught.value is error


@pytest.mark.parametrize(
    'batch_size, said',
    [
        (1, 'train_dataloader.batch_size is 1: give 2 or more, or take another norm'),
        (2, 'the last batch of an epoch has one image: .* train_dataloader.drop_last=True, or'),
        (None, 'the last batch of an epoch has one image: '),
    ],
)
@pytest.mark.parametrize('norm', [torch.nn.BatchNorm2d, torch.nn.SyncBatchNorm])
def test_a_batch_of_one_image_has_no_variance(batch_size, said, norm):
    """Where a head pools it to a single pixel."""
    config = Config(dict(model={}, train_dataloader=dict(batch_size=batch_size)))
    with pytest.raises(SystemExit, match=rf'per channel \(1 x 4 x 1 x 1\), .*; {said}'):
        with plain_errors(config):
            norm(4)(torch.zeros(1, 4, 1, 1))


def test_a_device_that_is_full_does_not_make_a_checkpoint_damaged(tmp_path):
    """Resuming reads onto the device."""
    torch.save(dict(state_dict={'weight': torch.ones(3)}), tmp_path / 'a.pth')

    def full(storage, location):
        raise torch.OutOfMemoryError('CUDA out of memory.')

    config = Config(dict(model={}, load_from=str(tmp_path / 'a.pth')))
    with pytest.raises(torch.OutOfMemoryError):
        with plain_errors(config):
            torch.load(tmp_path / 'a.pth', map_location=full, weights_only=True)


def test_a_bug_in_a_constructor_keeps_its_traceback():
    """Although a config is being built."""

    class Broken:
        def __init__(self):
            self.size = None + 1

    with pytest.raises(TypeError, match='unsupported operand'):
        with plain_errors(Config(dict(model={}))):
            MODELS.build(dict(type=Broken))


# --- The traceback --------------------------------------------------------------------------------

BAD = 'model.decode_head.loss_decode.1.mu=-1'
TRACEBACK = 'Traceback (most recent call last)'


@pytest.fixture
def new_log():
    """The run under test is the first of this process."""
    last_run.forget()


def test_the_traceback_of_a_sentence_is_in_the_log(place, new_log, capsys):
    said = train(place, BAD)
    assert 'mu' in said and '\n' not in said
    log = text_of(place / 'work')
    assert log.count(f'\n{TRACEBACK}') >= 1 and said in log
    assert re.search(r'File ".*mmseg_boundary/losses/', log)
    printed = ''.join(capsys.readouterr())
    assert TRACEBACK not in printed and '--debug' not in printed


@pytest.mark.parametrize('tool', ['train', 'test', 'loss_balance'])
def test_debug_prints_it_too(tool, place, new_log, capsys):
    given = [place / 'config.py', '--debug', '--cfg-options', BAD]
    given[1:1] = [place / 'none.pth'] if tool == 'test' else []
    given[1:1] = [] if tool == 'loss_balance' else ['--work-dir', place / 'work']
    (place / 'none.pth').touch()
    said = run_tool(tool, *given)
    printed = capsys.readouterr().err
    assert TRACEBACK in printed and re.search(r'File ".*mmseg_boundary/losses/', printed)
    assert printed.strip().splitlines()[-1] == f'ValueError: {said}'


def test_before_there_is_a_log_it_is_in_the_work_folder(place, new_log, capsys):
    (place / 'work').mkdir()
    (place / 'work/last_checkpoint').touch()
    said = train(place, resume=True)
    written = (place / 'work/errors.log').read_text()
    assert written.startswith(TRACEBACK) and written.endswith(f'UnfitStart: {said}\n')
    assert TRACEBACK not in capsys.readouterr().err
    assert train(place, resume=True) == said
    assert (place / 'work/errors.log').read_text().count(TRACEBACK) == 2


def test_a_mistake_in_our_code_is_not_hidden_behind_a_sentence(new_log, tmp_path):
    """It may raise a ValueError too."""
    ours = {'__name__': 'mmseg_boundary.made_up'}
    exec("def mistaken(): int('x')", ours)
    with pytest.raises(SystemExit, match='invalid literal'):
        with plain_errors(Config(dict(model={}, work_dir=str(tmp_path)))):
            ours['mistaken']()
    assert 'in mistaken\n' in (tmp_path / 'errors.log').read_text()


def test_an_error_that_is_raised_is_in_the_log_too(new_log, tmp_path):
    logger = MMLogger.get_instance('errors', log_file=str(tmp_path / 'a.log'))
    logger.info('before')
    with pytest.raises(RuntimeError):
        with plain_errors(Config(dict(model={}))):
            failing(RuntimeError('of another package'))
    log = (tmp_path / 'a.log').read_text()
    assert log.index('before') < log.index(TRACEBACK) < log.index('in failing\n')


@pytest.mark.parametrize('every_rank', [True, False])
def test_another_rank_has_a_file_of_its_own(every_rank, new_log, tmp_path, monkeypatch):
    """Where it is the one that says it: the first may be writing to the log."""
    MMLogger.get_instance('errors', log_file=str(tmp_path / 'a.log'))
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setattr(errors, 'PATIENCE', 0)
    monkeypatch.setattr(errors, 'get_rank', lambda: 1)
    with pytest.raises(SystemExit):
        with plain_errors(Config(dict(model={})), debug=True):
            failing(UnwrittenFile('full', every_rank))
    assert (tmp_path / 'a.log').read_text() == ''
    assert (tmp_path / 'a_rank1.log').exists() is every_rank


@pytest.mark.parametrize('log', [None, Path('/dev/full')])
def test_a_log_that_cannot_be_written_leaves_the_sentence(log, monkeypatch, capsys):
    """And how to get at the traceback."""
    monkeypatch.setattr(errors, '_log_file', lambda config: log)
    for debug in (False, True):
        with pytest.raises(SystemExit, match='^full$'):
            with plain_errors(Config(dict(model={})), debug):
                failing(UnwrittenFile('full'))
        printed = capsys.readouterr().err
        assert (TRACEBACK in printed) is debug
        assert ('No log has the traceback of this; --debug prints it.\n' == printed) is not debug

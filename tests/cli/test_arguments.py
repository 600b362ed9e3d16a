"""The command line names a config that exists, and options that fit it."""

import argparse
import os

import pytest

from mmseg_boundary.cli.arguments import add_common_arguments, load_config, read_config
from mmseg_boundary.cli.ranks import LAUNCHERS
from tests.support.commands import ROOT, sentence

TRAIN, TEST = ROOT / 'tools/train.py', ROOT / 'tools/test.py'
CONFIG = """
model = dict(
    pretrained=None,
    heads=[dict(type='A', losses=[dict(weight=1.0), dict(weight=2.0)]), dict(type='B')],
    size=(64, 64),
    rates=[1, 2],
    none=[],
)
hook = dict(name='epoch_{}.pth')
"""


def test_a_missing_config(tmp_path):
    assert 'configs/nothing.py does not exist. `ls configs`' in sentence(
        TRAIN, 'configs/nothing.py', '--work-dir', tmp_path
    )


@pytest.fixture
def given(tmp_path):
    """A function that reads the config with options, as a tool does."""
    (tmp_path / 'config.py').write_text(CONFIG)
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)

    def read(*options):
        args = parser.parse_args(['--cfg-options', *options])
        return read_config(str(tmp_path / 'config.py'), args.cfg_options)

    return read


@pytest.fixture
def said_of(given):
    def said(*options):
        with pytest.raises(SystemExit) as end:
            given(*options)
        assert isinstance(end.value.code, str) and '\n' not in end.value.code
        return end.value.code

    return said


@pytest.mark.parametrize(
    'option',
    [
        'model.heads={"type":"A"}',
        "model.heads.1={'type': 'A'}",
        'model.heads={type:A}',  # as the shell leaves the first
        'model.heads=[{"type":"A"},{"type":"B"}]',
        'model.heads=[(1,2),{"type":"B"}]',
        'model.heads={}',
        'model.heads=dict(type="A")',
        'model.heads=[dict(type=A)]',
        """model.heads='{"type":"A"}'""",
    ],
)
def test_a_dict_is_no_value(option, said_of):
    """MMEngine takes it for a string, which some class then gets in the place of a dict."""
    key = option.partition('=')[0]
    said = said_of('hook.name=a', option)
    assert said.startswith(f'--cfg-options got {option!r}, but no value can be a dict; give each')
    assert f'such as {key}.NAME=VALUE' in said


@pytest.mark.parametrize(
    'option, value',
    [
        ('hook.name={}_best.pth', '{}_best.pth'),
        ('hook.name={:03d}.pth', '{:03d}.pth'),
        ('hook.name=a=b', 'a=b'),
        ('hook.name=/a(1/b]', '/a(1/b]'),
        ('hook.name=[(1,2),[a,b],c]', [(1, 2), ['a', 'b'], 'c']),
        ('hook.name=1,2', [1, 2]),
        ('hook.name=', ''),
    ],
)
def test_other_values_are_read_as_by_mmengine(option, value, given):
    assert given(option).hook.name == value


@pytest.mark.parametrize(
    'options, said',
    [
        (['model.heads.2.type=C'], 'model.heads is a list of length 2; give an index from 0 to 1.'),
        (['model.heads.0.losses.7.weight=1'], 'heads.0.losses is a list of length 2; give an'),
        (
            ['model.heads.-1.type=C'],
            'model.heads is a list of length 2; give an index from 0 to 1.',
        ),
        (
            ['model.heads.first.type=C'],
            'model.heads is a list of length 2; give an index from 0 to 1.',
        ),
        (['model.none.0.type=C'], 'model.none is a list of length 0; give it, model.none=[...].'),
        (['model.rates.0=3'], 'cannot be replaced; give the whole list, model.rates=[...].'),
        (['model.size.0=32'], 'cannot be replaced; give the whole list, model.size=[...].'),
        (['model.heads.1=None'], 'cannot be replaced; give the whole list, model.heads=[...].'),
        (['model.pretrained.a=1'], 'model.pretrained is None, which has no entries; to put a dict'),
        (['model.pretrained.a.b=1'], 'in its place, add model.pretrained._delete_=True.'),
        (['model.rates=3', 'model.rates.a=1'], 'sets model.rates and model.rates.a in it; leave'),
        (['model.rates'], "got 'model.rates'; give KEY=VALUE, without white space"),
        (['model.rates=[1,', '2]'], "got 'model.rates=[1,', whose brackets do not match"),
        (['model.rates=(1,2'], "got 'model.rates=(1,2', whose brackets do not match"),
        (['=1'], "got '=1'; give KEY=VALUE"),
        (['model.=1'], "got 'model.=1'; give KEY=VALUE"),
    ],
)
def test_an_option_that_does_not_fit(options, said, said_of):
    assert said in said_of('hook.name=a', *options)


def test_options_that_fit(given):
    config = given(
        'model.heads.0.losses.1.weight=3',
        'model.rates=[4]',
        'model.pretrained._delete_=True',
        'model.pretrained.a=1',
        'new.part.of.it=5',
        'hook._delete_=True',
        'hook.other=6',
    )
    assert [each.weight for each in config.model.heads[0].losses] == [1, 3]
    assert config.model.rates == [4] and config.model.pretrained == dict(a=1)
    assert config.new.part.of.it == 5 and config.hook == dict(other=6)


@pytest.mark.parametrize('launcher, rank', [('slurm', '1'), ('pytorch', '0')])
def test_one_task_of_slurm_says_it_for_its_node(launcher, rank, monkeypatch, tmp_path):
    """Before MMEngine has set the variable that torchrun sets."""
    monkeypatch.setenv('LOCAL_RANK', '')
    monkeypatch.delenv('LOCAL_RANK')
    monkeypatch.setenv('SLURM_LOCALID', '1')
    for name in LAUNCHERS[launcher].variables:
        monkeypatch.setenv(name, '0')
    (tmp_path / 'config.py').write_text(CONFIG)
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_common_arguments(parser)
    load_config(parser.parse_args([str(tmp_path / 'config.py'), '--launcher', launcher]))
    assert os.environ['LOCAL_RANK'] == rank

"""Installed from a wheel or as editable, and used from a project elsewhere."""

import os
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import mmseg_boundary
from mmseg_boundary.config import path as path_of
from tests.support.commands import MMSEG_TOOLS, TINY, attempt, run
from tests.support.logs import losses, scalars
from tests.support.skips import ROOT

CONFIGS, TOOLS = (
    sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(f'{folder}/**/*.*'))
    for folder in ('configs', 'tools')
)
CONFIGS, TOOLS = (
    [name for name in names if '__pycache__' not in name] for names in (CONFIGS, TOOLS)
)
# What measures and shows this package needs a clone.
OF_A_CLONE = ('tools/benchmark', 'tools/demo.py')
IN_BASE = {
    'by absolute path': "['{path}']",
    'by expression': "[__import__('mmseg_boundary.config', fromlist=['path']).path('{name}')]",
    'by package': "['mmseg_boundary::configs/{name}.py']",
}


def inherits(folder, how, name, path=''):
    """A config elsewhere that inherits ours and changes one number."""
    config = folder / 'mine.py'
    base = IN_BASE[how].format(name=name, path=path)
    config.write_text(f'_base_ = {base}\nmodel = dict(decode_head=dict(dropout_ratio=0.3))\n')
    return config


def where(python, name, cwd):
    return run(python, '-m', 'mmseg_boundary.config', name, cwd=cwd, PYTHONPATH='').strip()


def folder_of(python):
    """The folder of the package in an environment that has our wheel."""
    (package,) = python.parent.parent.glob('lib/python*/site-packages/mmseg_boundary')
    return package


def test_wheel_and_sdist_carry_every_config_and_tool_once(distributions):
    """The wheel, the tools of a user alone."""
    sdist, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        carried = [name for name in archive.namelist() if '/.mim/' in name]
    prefix = 'mmseg_boundary/.mim/'
    users = [name for name in TOOLS if not name.startswith(OF_A_CLONE)]
    assert {f'tools/{name}.py' for name in ('train', 'test', 'loss_balance', 'plot_boundary')} <= {
        *users
    }
    assert {'tools/benchmark.py', 'tools/benchmarks/peers.py', 'tools/demo.py'} <= {*TOOLS} - {
        *users
    }
    expected = [f'configs/{name}' for name in CONFIGS] + users + ['model-index.yml']
    assert sorted(carried) == sorted(prefix + name for name in expected)
    with tarfile.open(sdist) as archive:
        names = [name.partition('/')[2] for name in archive.getnames() if '.' in Path(name).name]
    assert sorted(n for n in names if n.startswith(('configs/', 'tools/'))) == CONFIGS + TOOLS
    assert not [name for name in names if '.mim' in name]


def test_the_sdist_has_no_tests(distributions):
    """A clone has them; some alone could not run."""
    with tarfile.open(distributions[0]) as archive:
        names = [name.partition('/')[2] for name in archive.getnames()]
    assert 'mmseg_boundary/labels.py' in names
    assert not [name for name in names if name.startswith('tests')]
    with zipfile.ZipFile(distributions[1]) as archive:
        assert not [name for name in archive.namelist() if name.startswith('tests')]


def test_a_wheel_names_a_command_that_needs_no_folder_of_ours(installed, tmp_path):
    """Where the stack is missing."""
    script = "import sys; sys.modules['mmcv'] = None; import mmseg_boundary.stacks"
    done = attempt(installed, '-c', script, cwd=tmp_path, PYTHONPATH='')
    said = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 1 and 'mmcv cannot be imported. Install one stack: ' in said
    assert said.endswith('pip install onedl-mmengine onedl-mmcv onedl-mmsegmentation')


def test_the_wheel_is_typed_and_says_what_it_is(distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith('.dist-info/METADATA'))
        said = message_from_bytes(archive.read(metadata))
    assert 'mmseg_boundary/py.typed' in names
    assert said['Version'] == mmseg_boundary.__version__
    assert said['License-Expression'] == 'Apache-2.0'
    assert said['Requires-Python'] == '>=3.10'
    assert 'Typing :: Typed' in said.get_all('Classifier')
    assert said.get_all('Project-URL') and said.get_payload().startswith('# mmseg_boundary')
    # A stack is asked for by name: the two have the same import names.
    needed = said.get_all('Requires-Dist')
    assert [name for name in needed if 'extra ==' not in name] == ['numpy', 'scipy']
    assert {'onedl', 'mmlab'} <= set(said.get_all('Provides-Extra'))


@pytest.mark.parametrize('how', ['by expression', 'by package'])
def test_the_docs_say_so(how):
    base = IN_BASE[how].format(name='pspnet_epl_city')
    assert f'_base_ = {base}' in (ROOT / 'docs/configs.md').read_text()


def test_a_wheel_says_where_its_configs_are(installed, tmp_path):
    path = Path(where(installed, 'pspnet_epl_city', tmp_path))
    assert path == folder_of(installed) / '.mim/configs/configs/pspnet_epl_city.py'
    assert path.read_text() == (ROOT / 'configs/pspnet_epl_city.py').read_text()


def test_a_config_that_is_none_of_ours_is_refused_with_those_that_are(installed, tmp_path):
    done = attempt(
        installed, '-m', 'mmseg_boundary.config', 'pspnet_epl', cwd=tmp_path, PYTHONPATH=''
    )
    assert done.returncode == 1
    assert "has no config 'pspnet_epl', but these: " in done.stdout
    known = done.stdout.partition('these: ')[2].strip().removesuffix('.').split(', ')
    assert sorted(known) == sorted(
        Path(name).stem
        for name in CONFIGS
        if name.endswith('.py')
        and not name.startswith(('configs/_base_/', 'configs/lazy/', 'configs/studies/'))
    )


def test_configs_are_found_in_folders_too(tmp_path, monkeypatch):
    """A net of its own has a folder; what is inherited, and what studies read, is no config."""
    for name in ('a', '_base_/b', '_base_/losses/c', 'net/net-r18_d', 'studies/e', 'lazy/f'):
        file = tmp_path / f'{name}.py'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setattr('mmseg_boundary.config._FOLDERS', [tmp_path / 'none', tmp_path])
    assert path_of('a') == str(tmp_path / 'a.py')
    assert path_of('net-r18_d.py') == str(tmp_path / 'net/net-r18_d.py')
    for name in 'bcef':
        with pytest.raises(ValueError, match=f"has no config '{name}', but these: a, net-r18_d."):
            path_of(name)


def test_a_clone_on_the_path_needs_no_installation(tmp_path):
    """Its `.mim`, if an editable install made one, is the same folder."""
    assert path_of('pspnet_epl_city') == path_of('pspnet_epl_city.py')
    assert os.path.samefile(path_of('pspnet_epl_city'), ROOT / 'configs/pspnet_epl_city.py')


@pytest.mark.parametrize('how', ['by absolute path', 'by expression'])
def test_unmodified_tools_inherit_from_the_wheel(installed, tmp_path, how):
    config = inherits(
        tmp_path,
        how,
        'pspnet_epl_shapes',
        where(installed, 'pspnet_epl_shapes', tmp_path),
    )
    trains(installed, MMSEG_TOOLS / 'train.py', config, tmp_path)


def test_our_tools_inherit_from_the_wheel_by_package(installed, tmp_path):
    """And build what it names, in whose scope the loader puts it."""
    config = inherits(tmp_path, 'by package', 'pspnet_epl_shapes')
    tool = folder_of(installed) / '.mim/tools/train.py'
    trains(installed, tool, config, tmp_path)


def trains(python, tool, config, folder):
    """Trains for two iterations with a validation, where nothing but the wheel is ours."""
    options = [*TINY, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    run(
        python,
        tool,
        config,
        '--work-dir',
        folder / 'work',
        '--cfg-options',
        *options,
        cwd=folder,
        PYTHONPATH='',
    )
    assert losses(folder / 'work')[2]['decode.loss_epl'] > 0
    assert scalars(folder / 'work')[-1]['mBoundaryF_3px'] >= 0


def test_every_way_reads_the_config_of_the_checkout(installed, tmp_path):
    """Stock bases and ours, out of the wheel."""
    script = """
import sys
import mmseg_boundary.registered
from mmengine.config import Config
def plain(node):
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key != '_scope_'}
    return [plain(part) for part in node] if isinstance(node, (list, tuple)) else node
for mine, ours in zip(sys.argv[1::2], sys.argv[2::2]):
    expected = plain(Config.fromfile(ours).to_dict())
    expected['model']['decode_head']['dropout_ratio'] = 0.3
    assert plain(Config.fromfile(mine).to_dict()) == expected, mine
"""
    pairs = []
    for name in ('pspnet_epl_city', 'deeplabv3plus_bf1_voc', 'pspnet_ce_camvid'):
        path = where(installed, name, tmp_path)
        for how in IN_BASE:
            folder = tmp_path / name / how
            folder.mkdir(parents=True)
            pairs += [inherits(folder, how, name, path), ROOT / f'configs/{name}.py']
    run(installed, '-c', script, *pairs, cwd=tmp_path, PYTHONPATH='')


def test_an_editable_install_links_to_the_checkout(editable, tmp_path):
    checkout, python = editable
    mim = checkout / 'mmseg_boundary/.mim'
    assert mim.joinpath('configs/configs').resolve() == checkout.joinpath('configs').resolve()
    assert mim.joinpath('tools').resolve() == checkout.joinpath('tools').resolve()
    path = where(python, 'pspnet_epl_city', tmp_path)
    assert Path(path) == checkout.resolve() / 'configs/pspnet_epl_city.py'
    config = inherits(tmp_path, 'by package', 'pspnet_epl_city')
    script = f"""
import mmseg_boundary.registered
from mmengine.config import Config
assert Config.fromfile('{config}').model.decode_head.loss_decode[1].type == 'EPLLoss'
"""
    run(python, '-c', script, cwd=tmp_path, PYTHONPATH='')

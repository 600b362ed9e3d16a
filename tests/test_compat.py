"""Patches of foreign code: which an import makes, which our tools make, and where they stand."""

import ast
import json
import re
import sys

import pytest
from mmengine.config import config as loader
from mmengine.fileio import io
from mmengine.fileio.handlers import file_handlers

from mmseg_boundary import compat
from mmseg_boundary.stacks import STACK
from tests.support.commands import run
from tests.support.skips import ROOT

# Prints what patches may change, at four points of a process that has imported the stacks.
STATE = """
import importlib, json, os, pkgutil, sys
import mmengine.fileio.backends.registry_utils as files
import mmseg.apis
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.runner import CheckpointLoader, checkpoint
from mmseg.datasets.transforms import LoadAnnotations

def state():
    return {
        'safe list': sorted(map(str, torch.serialization.get_safe_globals())),
        'environment': dict(os.environ),
        'backends': {
            name: str(backend)
            for name, backend in {**files.backends, **files.prefix_to_backends}.items()
            if not backend.__module__.startswith('mmseg_boundary.registered.')
        },
        'transforms': str((LoadImageFromFile.transform, LoadAnnotations._load_seg_map)),
        'loader': str(CheckpointLoader.load_checkpoint),
        'list of the loader': str(getattr(checkpoint, 'get_torch_safe_globals', None)),
    }

states = [state()]
import mmseg_boundary.registered
states.append(state())
import mmseg_boundary.cli
for module in pkgutil.iter_modules(mmseg_boundary.cli.__path__):
    importlib.import_module(f'mmseg_boundary.cli.{module.name}')
states.append(state())
mmseg_boundary.cli.patches.install()
states.append(state())
print('STATES', json.dumps(states))
"""


@pytest.fixture(scope='module')
def states():
    """Before and after importing `registered`, after importing all of `cli`, and as in a tool."""
    said = run(sys.executable, '-W', 'ignore', '-c', STATE)
    return json.loads(said.rpartition('STATES')[2])


def test_registering_leaves_the_rest_of_the_process_alone(states):
    """`ShapesDataset` adds a backend for its own prefix and replaces none."""
    assert states[1] == states[0]


def test_importing_cli_changes_nothing(states):
    assert states[2] == states[0]


def test_a_tool_changes_all_of_it(states):
    """So the tests above compare what patches change."""
    changed = {name for name in states[0] if states[3][name] != states[0][name]}
    assert changed == set(states[0]) - {'safe list'}  # that is changed while a file is read
    backends = states[3]['backends']
    assert backends['local'] == backends[''] == str(compat.AtomicBackend)


def test_other_packages_are_found_as_before():
    """Also by names of distributions, which are no modules."""
    compat.resolve_packages()
    assert loader.get_installed_path('mmseg').endswith('mmseg')
    with pytest.raises(Exception, match='mmaction2|pkg_resources'):
        loader.get_installed_path('mmaction2')


def test_the_index_files_are_read_once(monkeypatch):
    """Not for every `mmseg::` of every config."""
    compat.resolve_packages()
    loader.Config.fromfile(ROOT / 'configs/pspnet_epl_city.py')
    read = []
    monkeypatch.setattr(file_handlers['yml'], 'load_from_fileobj', read.append)
    config = loader.Config.fromfile(ROOT / 'configs/pspnet_epl_voc.py')
    assert config.model.decode_head.type == 'PSPHead' and read == []
    assert io.load.__module__ == 'mmengine.fileio.io'  # MMEngine's own


WAYS = """
from mmengine.config import Config
for name in ('scope', 'file'):
    try:
        print(name, 'READ', Config.fromfile(f'{name}.py').model.decode_head.type)
    except ModuleNotFoundError as error:
        print(name, 'REFUSED', error)
import mmseg_boundary.registered
print('ours READ', Config.fromfile('scope.py').model.decode_head.type)
"""


def test_the_ways_out_where_mmseg_is_not_found_as_a_base(tmp_path):
    """The page names what is said, and the two ways; the config is the page's."""
    page = (ROOT / 'docs/troubleshooting.md').read_text()
    section = page.partition('## `mmsegmentation is not installed`\n')[2].partition('\n## ')[0]
    (by_file,) = re.findall(r'```python\n(.*?)```', section, re.DOTALL)
    (tmp_path / 'file.py').write_text(by_file)
    base = "'mmseg::" + by_file.partition('/configs/')[2].strip().removesuffix(']')
    (tmp_path / 'scope.py').write_text(f'_base_ = [{base}]')
    said = run(sys.executable, '-c', WAYS, cwd=tmp_path)
    refused = {'onedl': 'mmsegmentation is not installed', 'mmlab': 'pkg_resources'}[STACK]
    assert re.search(f'scope REFUSED .*{refused}', said) and refused in section
    assert 'file READ PSPHead' in said and 'ours READ PSPHead' in said


# --- What the stacks say of themselves ------------------------------------------------------------

# A tool, up to its config, and then what a project may do in it.
SAYING = """
import mmseg_boundary.cli
import mmseg.apis
from mmseg_boundary.cli import patches
patches.install()
from mmengine.utils import is_installed
from mmseg.registry import MODELS
assert is_installed('torch')
loss, sampler = dict(type='DiceLoss'), dict(type='OHEMPixelSampler', thresh=0.7)
head = dict(type='FCNHead', in_channels=4, channels=4, num_classes=3)
head = MODELS.build(head | dict(loss_decode=[loss, loss], sampler=sampler))
assert len(head.loss_decode) == 2 and head.sampler.context is head

import project
project.build(loss, sampler)
"""
PROJECT = """
import warnings
from mmengine.logging import print_log
from mmseg.models import build_loss
from mmseg.structures import build_pixel_sampler

def build(loss, sampler):
    print('Could not import project')
    print_log('Could not import OneDL')
    print_log('Could not import project', level=10)
    warnings.warn('pkg_resources is deprecated, says project')
    warnings.warn('Fail to import ``MultiScaleDeformableAttention``, says project')
    build_loss(loss)
    build_pixel_sampler(sampler, context=None)
"""
PKG_RESOURCES = """
import warnings
warnings.warn('pkg_resources is deprecated as an API.', UserWarning, stacklevel=2)
class DistributionNotFound(Exception): pass
def get_distribution(package): pass
"""


def test_a_tool_says_nothing_of_the_stacks_and_all_of_the_project(tmp_path):
    (tmp_path / 'project.py').write_text(PROJECT)
    (tmp_path / 'pkg_resources.py').write_text(PKG_RESOURCES)
    said = run(sys.executable, '-u', '-c', SAYING, cwd=tmp_path, PYTHONPATH=f'{tmp_path}:{ROOT}')
    lines = [line for line in said.splitlines() if not line.startswith('  ')]  # lines of the source
    assert [line.rpartition('Warning: ')[2].strip() for line in lines] == [
        'Could not import project',
        'Could not import OneDL',
        'Could not import project',
        'pkg_resources is deprecated, says project',
        'Fail to import ``MultiScaleDeformableAttention``, says project',
        '``build_loss`` would be deprecated soon, please use ``mmseg.registry.MODELS.build()``',
        '``build_pixel_sampler`` would be deprecated soon, please use '
        '``mmseg.registry.TASK_UTILS.build()``',
    ]


@pytest.mark.parametrize('path', sorted((ROOT / 'tools').glob('*.py')), ids=lambda path: path.name)
def test_a_tool_is_quiet_before_it_imports_mmsegmentation(path):
    """Before what imports it too; imports within functions come later."""
    names = [
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    ]
    noisy = ('mmseg.', 'mmseg_boundary.registered', 'mmseg_boundary.study.checks')
    for place, name in enumerate(names):
        if f'{name}.'.startswith(noisy):
            assert any(each.startswith('mmseg_boundary.cli') for each in names[:place]), name


# --- Where patches stand --------------------------------------------------------------------------

SOURCES = [*(ROOT / 'mmseg_boundary').rglob('*.py'), *(ROOT / 'tools').glob('*.py')]


def patches_in(source):
    """The attributes of imported things, and the methods of any, that a file assigns to; settings
    of a `config`, such as torch's, are made to be assigned to."""
    tree = ast.parse(source)
    imported, functions = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported |= {(alias.asname or alias.name).partition('.')[0] for alias in node.names}
        if isinstance(node, ast.FunctionDef):
            functions.add(node.name)
    for node in ast.walk(tree):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if not isinstance(target, ast.Attribute) or '.config.' in ast.unparse(target):
                continue
            owner, value = target.value, node.value
            while isinstance(owner, ast.Attribute):
                owner = owner.value
            name = owner.id if isinstance(owner, ast.Name) else ''
            wrapped = isinstance(value, ast.Lambda) or (
                isinstance(value, ast.Name) and value.id in functions
            )
            if name in imported or (wrapped and name != 'self'):
                yield ast.unparse(target)


def test_patches_are_found():
    code = 'import a.b, c as d\ndef f(): pass\n'
    code += 'a.b.x = 1\nd.y = f\nz.w = f\nz.v = lambda: 0\nz.u = 1\na.config.t = 1'
    assert list(patches_in(code)) == ['a.b.x', 'd.y', 'z.w', 'z.v']
    assert len(list(patches_in((ROOT / 'mmseg_boundary/compat.py').read_text()))) >= 6


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_foreign_code_is_patched_in_one_place(path):
    if path != ROOT / 'mmseg_boundary/compat.py':
        assert list(patches_in(path.read_text())) == []

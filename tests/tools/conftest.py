import shutil
import sys
import venv
from pathlib import Path

import pytest
import torch

from mmseg_boundary.stacks import STACK
from tests.support.commands import run, train
from tests.support.skips import ROOT

# MIM of the maintained stack alone is in the requirements
collect_ignore = [] if STACK == 'onedl' else ['test_mim.py']


@pytest.fixture(autouse=True)
def one_thread():
    """As the processes have that this one is compared with: more threads round sums differently,
    and where energies all but tie the line loss then takes other pixels."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """The work folder of one tiny run: checkpoints of the iterations 2 and 4, logs, validation; and
    what it said."""
    folder = tmp_path_factory.mktemp('trained')
    said = train(folder, options=['default_hooks.checkpoint.save_best=mBoundaryF_3px'])
    (folder / 'said.txt').write_text(said)
    return folder


def clone(folder):
    """A copy of what an installation is made from, since building writes into it."""
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in ('mmseg_boundary', 'configs', 'tools', 'tests'):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, folder)
    return folder


def environment(folder, *what):
    """The interpreter of an environment with this one's packages, and ours installed anew."""
    venv.create(folder, symlinks=True)
    python = folder / 'bin/python'
    (packages,) = folder.glob('lib/python*/site-packages')
    # as plain folders: an editable install of ours in them stays unseen
    folders = [path for path in sys.path if Path(path).name in ('site-packages', 'dist-packages')]
    (packages / 'stack.pth').write_text('\n'.join(folders))
    pip('--python', python, 'install', '--force-reinstall', *what)
    return python


def pip(*arguments):
    options = ['--quiet', '--no-deps', '--no-build-isolation', '--disable-pip-version-check']
    run(sys.executable, '-m', 'pip', *arguments, *options, PYTHONPATH='')


@pytest.fixture(scope='session')
def distributions(tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    checkout, folder = clone(tmp_path_factory.mktemp('clone')), tmp_path_factory.mktemp('dist')
    build = f'from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})'
    run(sys.executable, '-c', build, cwd=checkout)
    (sdist,) = folder.glob('*.tar.gz')
    pip('wheel', sdist, '--wheel-dir', folder)
    (wheel,) = folder.glob('*.whl')
    return sdist, wheel


@pytest.fixture(scope='session')
def installed(distributions, tmp_path_factory):
    """The interpreter of an environment with our wheel."""
    return environment(tmp_path_factory.mktemp('installed'), distributions[1])


@pytest.fixture(scope='session')
def editable(tmp_path_factory):
    """A checkout, and the interpreter of an environment where it is installed as editable."""
    checkout = clone(tmp_path_factory.mktemp('editable_clone'))
    return checkout, environment(tmp_path_factory.mktemp('editable'), '--editable', checkout)

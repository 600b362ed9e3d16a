"""`python -m mmseg_boundary.check` on a sound installation and on broken ones."""

import importlib.util
import re
import sys

import mmseg
import pytest
import torch
from mmseg.registry import MODELS

from mmseg_boundary import check, losses, stacks
from tests.support.commands import attempt
from tests.support.skips import ROOT

STACK = stacks.STACK


def check_process(*modules, **environment):
    return attempt(sys.executable, '-m', 'mmseg_boundary.check', *modules, **environment)


def only_problem(modules=()):
    (problem,) = check.look(modules).problems
    return problem


def imports_raise(monkeypatch, **errors):
    """`import_module` of check.py, with other answers for some names ('.' written as '__')."""
    errors = {name.replace('__', '.'): error for name, error in errors.items()}

    def import_module(name):
        if name in errors:
            raise errors[name]
        return importlib.import_module(name)

    monkeypatch.setattr(check, 'import_module', import_module)


def test_a_sound_installation():
    done = check_process()
    assert done.returncode == 0 and done.stdout.strip().endswith('No problems.'), done.stdout
    facts = dict(re.findall(r'^(\S+(?: sets)?) +(\S.*(?:\n  +.*)*)', done.stdout, re.MULTILINE))
    assert facts['stack'].startswith(STACK)
    assert facts['python'].startswith('.'.join(map(str, sys.version_info[:2])))
    assert facts['mmseg'].endswith(mmseg.__version__)
    classes = [name for name in losses.__all__ if isinstance(getattr(losses, name), type)]
    assert facts['losses'].replace(',', '').split() == sorted(
        [*classes, 'BalancedEdgeLoss', 'LossSum', 'NeighbourPenalised']
    )
    assert facts['metrics'] == 'BoundaryMetric'
    assert facts['hooks'] == (
        'BoundaryVisualizationHook, CheckFiniteLossHook, LossWeightSchedule, StepSeed'
    )
    assert facts['data sets'].replace(',', '').split() == [
        *('CamVidDataset', 'CelebAMaskHQDataset', 'HalfCamVidDataset', 'InriaAerialDataset'),
        *('NucleiDataset', 'ShapesDataset'),
    ]
    assert facts['transforms'] == 'RandomGaussianBlur, RandomScale'
    assert facts['models'].replace(',', '').split() == [
        *('ASPPDecoderHead', 'BoundarySegTTAModel', 'DRN', 'DeepLabV3PlusHead'),
        *('EdgeEncoderDecoder', 'GSCNNHead', 'MobileNetV2Encoder', 'ResNetEncoder'),
        *('SMPEncoderDecoder', 'SemanticBoundaryHead', 'UNetHead', 'UnpaddedPSAHead'),
        'WiderResNet',
    ]
    assert facts['operators'].startswith('compiled') is stacks.has_compiled_operators()
    assert {'mmseg_boundary', 'torch', 'CUDA', 'distances', 'mmengine', 'mmcv'} <= set(facts)
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize('stack', check.TESTED)
def test_the_named_versions_are_the_pinned_ones(stack):
    pinned = (ROOT / f'.ci/{stack}.txt').read_text().split()
    assert set(check.TESTED[stack].values()) <= set(pinned)


# --- What is installed ----------------------------------------------------------------------------


def test_no_torch(monkeypatch):
    imports_raise(monkeypatch, torch=ModuleNotFoundError("No module named 'torch'", name='torch'))
    assert only_problem()[1] == 'pip install torch'


def test_a_torch_that_runs_the_code_of_checkpoints(monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.5.1+cu121')
    sentence, command = only_problem()
    assert 'without `weights_only`' in sentence and command == "pip install -U 'torch>=2.6'"
    monkeypatch.setattr(torch, '__version__', '2.10.0a0+git1234')
    assert not check.look().problems


def test_neither_opencv_nor_scipy(monkeypatch):
    imports_raise(monkeypatch, cv2=ImportError('libGL.so.1'), scipy=ImportError())
    assert only_problem()[1] == 'pip install scipy'


def test_opencv_does_not_stand_in_for_scipy(monkeypatch):
    imports_raise(monkeypatch, scipy=ImportError())
    assert only_problem()[1] == 'pip install scipy'


def test_scipy_in_place_of_opencv(monkeypatch):
    imports_raise(monkeypatch, cv2=ImportError())
    found = check.look()
    assert dict(found.facts)['distances'].startswith('scipy ') and not found.problems


def test_no_stack(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    sentence, command = only_problem()
    assert 'mmseg cannot be imported' in sentence and command == "pip install -e '.[onedl]'"


@pytest.mark.parametrize('hidden', ['find_spec', '_is_distribution'])
def test_a_wheel_has_no_folder_of_ours(hidden, monkeypatch):
    """In which `pip install -e` would find anything."""
    monkeypatch.setattr(stacks, '_is_clone', lambda: False)
    if hidden == 'find_spec':
        monkeypatch.setattr(importlib.util, hidden, lambda name: None)
    else:
        monkeypatch.setattr(stacks, hidden, lambda name: True)
    sentence, command = only_problem()
    assert command.endswith('pip install onedl-mmengine onedl-mmcv onedl-mmsegmentation')
    assert '-e' not in command.split() and 'folder' not in sentence


def test_a_torch_that_is_too_old(monkeypatch):
    monkeypatch.setattr(torch, '__version__', '1.13.1')
    found = check.look()
    assert "pip install -U 'torch>=2.1'" in [command for _, command in found.problems]
    assert dict(found.facts)['stack'] == 'broken'


def test_both_stacks(monkeypatch):
    monkeypatch.setattr(stacks, '_is_distribution', lambda name: True)
    sentence, command = only_problem()
    assert sentence.startswith('Both OpenMMLab stacks are installed')
    assert re.fullmatch(r"pip uninstall -y (\S+ ){6}&& pip install -e '\.\[onedl\]'", command)
    assert dict(check.look().facts)['stack'] == 'broken'


def test_a_part_that_is_too_old(monkeypatch):
    monkeypatch.setattr(mmseg, '__version__', '0.30.0')
    sentence, command = only_problem()
    assert 'mmseg 1.2.0 or newer, but 0.30.0 is installed' in sentence
    assert re.fullmatch(r"pip install -U '(onedl-)?mmsegmentation>=1\.2\.0'", command)


def test_a_stack_that_refuses_to_be_imported_at_all(tmp_path):
    """In a process of its own, since the import of `stacks` fails."""
    (tmp_path / 'sitecustomize.py').write_text("import sys\nsys.modules['mmcv'] = None\n")
    done = check_process(PYTHONPATH=f'{tmp_path}:{ROOT}')
    assert done.returncode == 1 and 'Traceback' not in done.stdout, done.stdout
    assert re.search(r'mmcv cannot\s+be\s+imported', done.stdout)
    assert "\n  fix:  pip install -e '.[onedl]'\n" in done.stdout


@pytest.mark.parametrize(
    'error, said, remedy',
    [
        (
            AssertionError('MMCV==2.2.0 is used but incompatible.'),
            'the tested versions can. AssertionError: MMCV==2.2.0 is used',
            check.TESTED[STACK]['mmcv'],
        ),
        (
            ModuleNotFoundError("No module named 'ftfy'", name='ftfy'),
            'ftfy is missing',
            'pip install ftfy',
        ),
        (
            ModuleNotFoundError("No module named 'PIL.Image'", name='PIL.Image'),
            'PIL is missing',
            'pip install pillow',
        ),
        (
            ImportError('libGL.so.1: cannot open shared object file'),
            'OpenCV looks for a screen',
            'opencv-python-headless',
        ),
    ],
)
@pytest.mark.parametrize('place', ['mmseg', 'mmseg__utils'])
def test_a_part_that_cannot_be_imported(monkeypatch, error, said, remedy, place):
    imports_raise(monkeypatch, **{place: error})
    sentence, command = only_problem()
    assert said in sentence and remedy in command


def test_operators_that_are_missing(monkeypatch):
    """The frozen stack needs them; the maintained one says so and goes on."""
    monkeypatch.setattr(stacks, 'has_compiled_operators', lambda: False)
    monkeypatch.setattr(stacks, 'installed_stack', lambda: 'mmlab')
    sentence, command = only_problem()
    assert 'compiled operators' in sentence and command.endswith(' mmcv==2.1.0')
    assert "pip install 'setuptools<81' wheel ninja psutil && pip install --force" in command
    assert '--no-build-isolation --no-cache-dir' in command
    monkeypatch.setattr(stacks, 'installed_stack', lambda: 'onedl')
    found = check.look()
    assert not found.problems and 'PSANet' in dict(found.facts)['operators']


def test_operators_that_do_not_load(monkeypatch):
    monkeypatch.setattr(stacks, 'has_compiled_operators', lambda: True)
    imports_raise(monkeypatch, mmcv___ext=ImportError('undefined symbol: _ZN2at'))
    sentence, command = only_problem()
    assert 'undefined symbol: _ZN2at' in sentence
    assert command.endswith(check.TESTED[STACK]['mmcv'])


def test_an_installation_without_the_stock_configs(monkeypatch, tmp_path):
    monkeypatch.setattr(mmseg, '__file__', str(tmp_path / '__init__.py'))
    sentence, command = only_problem()
    assert f'{tmp_path}/.mim/configs does not exist' in sentence
    assert command == f'pip install --force-reinstall --no-deps {check.TESTED[STACK]["mmseg"]}'


# --- What is registered ---------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder on the path; a function that writes a module there with a loss called EPLLoss."""

    def write(name, options=''):
        (tmp_path / f'{name}.py').write_text(
            'from mmseg.registry import MODELS\n\n\n'
            f'@MODELS.register_module({options})\nclass EPLLoss:\n    pass\n'
        )
        return tmp_path / f'{name}.py'

    monkeypatch.syspath_prepend(tmp_path)
    return write


def test_a_name_that_the_project_registers_after_us(project):
    file = project('theirs_after')
    sentence, command = only_problem(['theirs_after'])
    assert sentence.startswith(f'{file} registers EPLLoss, a name that mmseg_boundary has too')
    assert command == f"sed -i 's/\\bEPLLoss\\b/MyEPLLoss/g' {file}"


def test_a_name_that_the_project_registers_before_us(project):
    file = project('theirs_before')
    done = attempt(
        sys.executable,
        '-c',
        'import theirs_before; from mmseg_boundary.check import main; raise SystemExit(main())',
        PYTHONPATH=f'{file.parent}:{ROOT}',
    )
    assert done.returncode == 1 and 'Traceback' not in done.stdout, done.stdout
    assert f"\n  fix:  sed -i 's/\\bEPLLoss\\b/MyEPLLoss/g' {file}\n" in done.stdout


def test_the_remedy_for_a_taken_name_works(project):
    file = project('theirs_fixed')
    environment = dict(PYTHONPATH=f'{file.parent}:{ROOT}')
    done = check_process('theirs_fixed', **environment)
    (remedy,) = re.findall('fix:  (.*)', done.stdout)
    assert done.returncode == 1 and attempt('bash', '-c', remedy).returncode == 0
    assert check_process('theirs_fixed', **environment).returncode == 0


def test_a_name_that_the_project_takes_by_force(project, monkeypatch):
    file = project('theirs_by_force', 'force=True')
    monkeypatch.setitem(MODELS.module_dict, 'EPLLoss', losses.EPLLoss)  # and back again
    sentence, command = only_problem(['theirs_by_force'])
    assert sentence.startswith(f'{file} registers EPLLoss') and str(file) in command


def test_a_name_that_mmseg_takes(monkeypatch):
    """As a version later than the tested ones may."""
    registered = check.TAKEN.join(['EPLLoss', 'model at mmseg.models'])
    imports_raise(monkeypatch, mmseg_boundary__registered=KeyError(registered))
    sentence, command = only_problem()
    assert 'The tested versions do not' in sentence
    assert set(check.TESTED[STACK].values()) <= set(command.split())


def test_a_module_that_is_not_there():
    sentence, command = only_problem(['no_such_project'])
    assert sentence == 'no_such_project is not on the path.'
    assert command == 'PYTHONPATH=/path/to/it python -m mmseg_boundary.check no_such_project'


def test_a_module_that_fails(tmp_path, monkeypatch):
    (tmp_path / 'failing_project.py').write_text('1 / 0\n')
    monkeypatch.syspath_prepend(tmp_path)
    sentence, command = only_problem(['failing_project'])
    assert 'ZeroDivisionError: division by zero' in sentence
    assert command == 'python -c "import failing_project"'


def test_a_module_that_misses_something(tmp_path, monkeypatch):
    (tmp_path / 'greedy_project.py').write_text('import no_such_package.part\n')
    monkeypatch.syspath_prepend(tmp_path)
    sentence, command = only_problem(['greedy_project'])
    assert sentence == f'no_such_package is missing: {tmp_path}/greedy_project.py imports it.'
    assert command == 'pip install no_such_package'

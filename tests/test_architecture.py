"""Imports point one way, and the pure packages need torch alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import longest
from tests.support.losses import LOSSES
from tests.support.metrics import METRICS
from tests.support.skips import ROOT

PACKAGE = ROOT / 'mmseg_boundary'
# {module or package: (what it may import of ours, what it may import of others)}
PURE = {'torch', 'numpy'}
MMSEG = PURE | {'mmengine', 'mmcv', 'mmseg'}
IMPORTS = {
    'requirements': (set(), {'torch'}),
    'compiled': (set(), {'torch'}),
    'devices': (set(), {'torch'}),
    'labels': ({'choices', 'devices', 'requirements'}, PURE),
    'geometry': ({'compiled', 'devices'}, PURE | {'cv2', 'scipy'}),
    'choices': (set(), set()),
    'losses': ({'labels', 'geometry', 'choices', 'compiled', 'devices'}, PURE),
    'metrics': ({'labels', 'geometry', 'choices'}, PURE),
    'stacks': ({'requirements'}, MMSEG),
    'compat': ({'stacks', 'files'}, MMSEG),
    'registered': (
        {
            'choices',
            'labels',
            'geometry',
            'losses',
            'metrics',
            'compat',
            'compiled',
            'files',
            'report',
            'stacks',
        },
        MMSEG | {'cv2', 'prettytable'},
    ),
    'registry': (set(), MMSEG),
    'cli': ({'registered', 'requirements', 'stacks', 'compat', 'files'}, MMSEG),
    'check': (set(), set()),  # imports by name, to tell what cannot be imported
    'files': (set(), set()),
    'report': ({'files'}, set()),
    'config': ({'stock', 'cli', 'requirements'}, set()),
    'stock': ({'registered', 'files', 'stacks'}, MMSEG),
    'study': (
        {'registered', 'files', 'report', 'stacks', 'drawing'},
        MMSEG | {'scipy', 'matplotlib', 'jinja2', 'markupsafe', 'PIL'},
    ),
    'drawing': ({'choices', 'labels', 'losses', 'files'}, PURE | {'matplotlib'}),
    '__init__': (set(), set()),
}
SOURCES = sorted(PACKAGE.rglob('*.py'))


def part_of(path):
    """The module or package directly in `mmseg_boundary` that a file is or belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imports_of(path):
    """The absolute names of everything that a file imports, also within functions."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = '.'.join([*base, *([node.module] if node.module else [])])
            # `from .. import stacks` has the name of a module in what it imports
            in_names = module in ('mmseg_boundary', 'tests')
            names = [alias.name for alias in node.names] if in_names else ['']
            yield from (f'{module}.{name}'.rstrip('.') for name in names)


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = part_of(path)
    ours, others = IMPORTS[part]
    for name in imports_of(path):
        top, *rest = name.split('.')
        if top == 'mmseg_boundary':
            assert not rest or rest[0] in ours | {part}, f'{path} imports {name}'
        elif top not in sys.stdlib_module_names:
            assert top in others, f'{path} imports {name}'


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'tools').rglob('*.py')), ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_tool_imports_tests(path):
    tree = ast.walk(ast.parse(path.read_text()))
    names = [alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names]
    tree = ast.walk(ast.parse(path.read_text()))
    names += [node.module for node in tree if isinstance(node, ast.ImportFrom) if node.module]
    found = [name for name in names if name.split('.')[0] == 'tests']
    assert found == []


def test_every_part_is_listed():
    assert {part_of(path) for path in SOURCES} == set(IMPORTS)


def test_no_module_is_a_catch_all():
    names = {part.removesuffix('.py') for path in SOURCES for part in path.parts}
    assert not names & {'utils', 'common', 'helpers', 'ops', 'core', 'misc'}


# --- Tests ----------------------------------------------------------------------------------------

TESTS = ROOT / 'tests'
# {module without a file of tests of its name: (where it is tested, why there)}
TESTED_IN = {
    'cli/predicting.py': ('tools/test_showing.py', 'two tools use it'),
    'config.py': ('tools/test_installed.py', 'it finds configs in a checkout and in a wheel'),
    'losses/boundary_weighted_ce.py': ('losses/test_cross_entropies.py', 'they share a form'),
    'losses/log_likelihood.py': ('losses/test_cross_entropies.py', 'they share a form'),
    'losses/softmax_focal.py': ('losses/test_cross_entropies.py', 'they share a form'),
    'losses/jaccard.py': ('losses/test_overlaps.py', 'they share a form'),
    'losses/soft_dice.py': ('losses/test_overlaps.py', 'they share a form'),
    'choices.py': ('losses/epl/test_rays.py', 'an argument of this kind'),
    'compiled.py': ('losses/epl/test_epl.py', 'it compiles the kernels of EPL'),
    'drawing/saving.py': ('tools/test_showing.py', 'two tools use it'),
    'devices.py': ('losses/test_device_cost.py', 'it sends meta tensors where CUDA tensors go'),
    'losses/blocks.py': ('losses/epl/test_epl.py', 'both terms use it'),
    'losses/epl/line.py': ('losses/epl/test_epl.py', 'both terms, compared with one reference'),
    'losses/epl/modules.py': ('losses/epl/test_epl.py', 'both terms, compared with one reference'),
    'losses/epl/point.py': ('losses/epl/test_epl.py', 'both terms, compared with one reference'),
    'losses/epl/reference.py': ('losses/epl/test_epl.py', 'the terms are compared with it'),
    'losses/decode_head_loss.py': ('registered/test_battery.py', 'what every loss inherits'),
    'registered/loss_wrapper.py': ('registered/test_loss_sum.py', 'what wrappers inherit'),
    'metrics/areas.py': ('metrics/test_definitions.py', 'the counts of two metrics'),
    'registered/models/deeplabv3plus_head.py': (
        'registered/models/test_smp.py',
        'compared with the package that it is of',
    ),
    'registered/models/encoders.py': ('registered/models/test_smp.py', 'parts of its networks'),
    'registered/models/layers.py': ('registered/models/test_smp.py', 'parts of its networks'),
    'registered/models/unet_head.py': ('registered/models/test_smp.py', 'part of its networks'),
    'registered/datasets/paired_folders.py': (
        'registered/datasets/test_nuclei.py',
        'what two data sets inherit',
    ),
    'registry.py': ('registered/test_losses.py', 'scopes in which a loss is built'),
    'study/checks.py': ('study/test_study.py', 'what MMSegmentation knows, beside the plan'),
    'study/code.py': ('study/test_plan.py', 'what is refused before a run'),
    'study/conclusions.py': ('study/test_report.py', 'what the report says'),
    'study/extremes.py': ('study/test_report.py', 'what the report shows'),
    'study/figures.py': ('study/test_report.py', 'what the report shows'),
    'study/hooks.py': ('study/test_runs.py', 'what a run leaves'),
    'study/locks.py': ('study/test_plan.py', 'what is refused before a run'),
    'study/page.py': ('study/test_report.py', 'what the report is made of'),
    'study/papers.py': ('study/test_report.py', 'what the report shows of papers'),
    'study/reading.py': ('study/test_plan.py', 'what is refused before a run'),
    'study/record.py': ('study/test_report.py', 'what the report says of the runs'),
    'study/results.py': ('study/test_report.py', 'what the report reads'),
    'study/scale.py': ('study/test_sources.py', 'the studies that it makes small'),
    'study/schedule.py': ('study/test_runs.py', 'its runs'),
    'study/scores.py': ('study/test_report.py', 'what the report says of the scores'),
}


def file_of_tests(module):
    """The file of tests with the module's name, in the folder with its package's name."""
    return TESTS / module.parent / f'test_{module.name}'


def has_code(path):
    """Whether a file has more than docstrings, imports and names of other modules."""
    nodes = (ast.FunctionDef, ast.ClassDef, ast.For, ast.If, ast.With)
    return any(isinstance(node, nodes) for node in ast.parse(path.read_text()).body)


def test_every_module_has_a_file_of_tests():
    """Or a row of the tables has its mutants: then the tests generated from the row test it."""
    rows = {file for row in [*LOSSES.values(), *METRICS.values()] for file in row.mutants}
    without = set()
    for path in SOURCES:
        module = path.relative_to(PACKAGE)
        if path.name == '__init__.py' or not has_code(path) or str(module) in rows:
            continue
        if not file_of_tests(module).is_file():
            without.add(str(module))
    assert without == set(TESTED_IN)
    assert all((TESTS / file).is_file() for file, _ in TESTED_IN.values())


@pytest.mark.parametrize(
    'path', sorted(TESTS.rglob('*.py')), ids=lambda path: str(path.relative_to(TESTS))
)
def test_no_test_imports_a_test(path):
    """What several tests need is in tests/support, whose modules import each other and no test."""
    for name in imports_of(path):
        top, *rest = name.split('.')
        if top == 'tests':
            allowed = rest[0] == 'support' or (rest[0] == 'mutate' and path.stem == 'test_mutants')
            assert allowed, f'{path} imports {name}'
        assert 'conftest' not in rest and not top.startswith(('conftest', 'test_')), name


def test_the_longest_files_exist():
    assert [name for name in longest.FILES if not (TESTS / name).is_file()] == []
    assert longest.place(TESTS / 'tools/test_demo.py') == 0
    assert longest.place(TESTS / 'test_labels.py') == len(longest.FILES)


def test_the_naive_definitions_share_nothing_with_the_package():
    tree = ast.parse((ROOT / 'tests/support/naive.py').read_text())
    modules = {
        name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert modules <= {'math', 'torch'}


def test_the_pure_packages_run_with_torch_alone():
    """In a process without the stacks, numpy, scipy and OpenCV."""
    script = """
import sys
for name in ('mmengine', 'mmcv', 'mmseg', 'cv2', 'scipy', 'numpy'):
    sys.modules[name] = None
import torch
import mmseg_boundary
from mmseg_boundary.labels import encode
from mmseg_boundary.losses import EPLLoss, bf1_loss, epl_line_loss, epl_point_loss
from mmseg_boundary.metrics import count_boundary_iou, count_contour_errors

logits = torch.randn(1, 3, 8, 8, requires_grad=True)
labels = torch.randint(3, (1, 8, 8))
target, probs = encode(labels, 3), logits.softmax(1)
value = sum(loss(probs, target) for loss in (bf1_loss, epl_point_loss, epl_line_loss))
(value + EPLLoss()(logits, labels)).backward()
assert logits.grad.isfinite().all() and mmseg_boundary.__version__
"""
    subprocess.run([sys.executable, '-W', 'ignore', '-c', script], check=True, cwd=Path('/'))

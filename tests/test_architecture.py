"""Imports point one way, and the pure rooms need torch alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import ROOT

PACKAGE = ROOT / 'mmseg_boundary'
# What each room may import of the package, and of the world beside the standard library.
PURE = {'torch', 'numpy'}
MMSEG = PURE | {'mmengine', 'mmcv', 'mmseg'}
ROOMS = {
    'labels': (set(), PURE),
    'geometry': (set(), PURE | {'cv2', 'scipy'}),
    'losses': ({'labels', 'geometry'}, PURE),
    'metrics': ({'labels', 'geometry'}, PURE),
    'datasets': (set(), MMSEG | {'cv2'}),
    'models': (set(), MMSEG),
    'stacks': (set(), MMSEG),
    'registered': (
        {'labels', 'geometry', 'losses', 'metrics', 'datasets', 'models', 'stacks', 'report'},
        MMSEG | {'cv2', 'prettytable'},
    ),
    'registry': (set(), MMSEG),
    'checkpoints': (set(), MMSEG),
    'safe_loading': (set(), MMSEG),
    'launch': ({'checkpoints', 'safe_loading', 'stacks', 'report', 'outputs'}, MMSEG),
    'outputs': ({'report'}, MMSEG),
    'preflight': ({'registered'}, MMSEG),
    'check': (set(), set()),  # imports by name, to tell what cannot be imported
    'report': (set(), set()),
    'config': (set(), set()),
    '__init__': (set(), set()),
}
SOURCES = sorted(PACKAGE.rglob('*.py'))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imports_of(path):
    """Absolute names of everything that a file imports, at whatever depth."""
    package = ['mmseg_boundary', *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = '.'.join(base + ([node.module] if node.module else []))
            # `from .. import stacks` names a room in what it imports
            names = [alias.name for alias in node.names] if module == 'mmseg_boundary' else ['']
            yield from (f'{module}.{name}'.rstrip('.') for name in names)


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    room = room_of(path)
    ours, worlds = ROOMS[room]
    for name in imports_of(path):
        top, *rest = name.split('.')
        if top == 'mmseg_boundary':
            assert not rest or rest[0] in ours | {room}, f'{path} imports {name}'
        elif top not in sys.stdlib_module_names:
            assert top in worlds, f'{path} imports {name}'


def test_every_room_is_listed():
    assert {room_of(path) for path in SOURCES} == set(ROOMS)


def test_no_drawers():
    names = {part.removesuffix('.py') for path in SOURCES for part in path.parts}
    assert not names & {'utils', 'common', 'helpers', 'ops', 'core', 'misc'}


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


def test_the_pure_rooms_run_with_torch_alone():
    """In a process where everything of the stacks, and numpy, scipy and OpenCV, is missing."""
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

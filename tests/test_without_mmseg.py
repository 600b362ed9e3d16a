"""The examples for plain PyTorch, in processes that cannot import OpenMMLab."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import ROOT

# What the package may import without MMSegmentation; torch itself asks for the names after cv2.
ONLY = """
import sys
import sysconfig

sysconfig.get_config_vars()  # reads a module of the standard library with a name per platform
ALLOWED = set(sys.stdlib_module_names) | {
    'mmseg_boundary', 'torch', 'numpy', 'scipy', 'cv2',
    'torchgen', 'functorch', 'typing_extensions', 'sympy', 'mpmath', 'networkx', 'jinja2',
    'markupsafe', 'fsspec', 'filelock', 'setuptools', '_distutils_hack', 'triton', 'nvidia',
    'cuda',
}


class AllowedOnly:
    # Other modules are not found; an error would end torch, which looks for them.
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        allowed = name.partition('.')[0] in ALLOWED
        return self.finder.find_spec(name, path, target) if allowed else None


sys.meta_path[:] = [AllowedOnly(finder) for finder in sys.meta_path if hasattr(finder, 'find_spec')]
"""


def example(page='docs/pytorch.md'):
    section = (ROOT / page).read_text().partition('PyTorch')[2]
    return re.search(r'```python\n(import torch\n.*?)```', section, re.DOTALL)[1]


def isolated(script):
    """A process that imports the package from this folder, and nothing that is not allowed."""
    return subprocess.run(
        [
            sys.executable,
            '-W',
            'ignore',
            '-c',
            f'{ONLY}sys.path.insert(0, {str(ROOT)!r})\n{script}',
        ],
        cwd=Path('/'),
        capture_output=True,
        text=True,
        timeout=3600,
    )


def test_the_readmes_lines_run():
    done = isolated(f"""{example('README.md')}
assert logits.grad.isfinite().all() and logits.grad.any()
assert 'mmengine' not in sys.modules
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('tensor([0.')


def test_the_example_trains_and_counts():
    assert len([line for line in example().splitlines() if line.strip()]) < 30
    done = isolated(f"""{example()}
assert loss < 0.5, loss
assert iou.per_class.min() > 0.7, iou
assert f.mean.min() > 0.9, f
assert 'mmengine' not in sys.modules
""")
    assert done.returncode == 0, done.stderr
    assert 'Boundary IoU at 1 and 3 px' in done.stdout


def test_every_module_runs():
    done = isolated("""
import torch
from mmseg_boundary import losses

torch.manual_seed(0)  # of random labels of this size the active boundary loss is sometimes 0
modules = [each for name in losses.__all__ if isinstance(each := getattr(losses, name), type)]
for module in modules:
    logits = torch.randn(2, 3, 24, 24, requires_grad=True)
    labels = torch.randint(3, (2, 24, 24))
    labels[:, 0] = 255
    module()(logits, labels).backward()
    assert logits.grad.isfinite().all() and logits.grad.any(), module
    assert not logits.grad[:, :, 0].any() or module is losses.BF1Loss, module
print(*(module.__name__ for module in modules))
""")
    assert done.returncode == 0, done.stderr
    assert 'EPLLoss' in done.stdout and len(done.stdout.split()) >= 10


@pytest.mark.parametrize('module', ['mmengine', 'mmcv', 'mmseg', 'matplotlib'])
def test_other_modules_are_not_found(module):
    assert f"No module named '{module}'" in isolated(f'import {module}').stderr

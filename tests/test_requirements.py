"""The oldest torch, and what is said of an older one."""

import importlib
import sys

import pytest
import torch

from mmseg_boundary import requirements
from mmseg_boundary.requirements import MINIMUM_TORCH, UnfitInstallation, require_torch

OLD = f'mmseg_boundary needs torch {MINIMUM_TORCH} or newer, but 1.13.1 is installed: '


@pytest.mark.parametrize('version', ['1.13.1', '2.0.1+cu118', '2.0.0a0+git1', '0.4'])
def test_an_old_torch(version, monkeypatch):
    monkeypatch.setattr(torch, '__version__', version)
    with pytest.raises(UnfitInstallation, match='or newer, but') as caught:
        require_torch()
    assert version in str(caught.value)
    assert caught.value.command == f"pip install -U 'torch>={MINIMUM_TORCH}'"


@pytest.mark.parametrize('version', ['2.1.0', '2.1.2+cu121', '2.13.0+cpu', '2.10.0a0+git1', '3.0'])
def test_a_torch_that_is_new_enough(version, monkeypatch):
    monkeypatch.setattr(torch, '__version__', version)
    require_torch()


def test_no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(UnfitInstallation, match='torch cannot be imported .*: pip install torch$'):
        require_torch()


@pytest.mark.parametrize('module', ['labels', 'losses', 'metrics', 'stacks'])
def test_what_needs_torch_refuses_an_old_one(module, monkeypatch):
    """All that imports `labels`, which is every loss and metric, and what MMSegmentation sees."""
    for name in [name for name in sys.modules if name.startswith('mmseg_boundary')]:
        if name != requirements.__name__:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(torch, '__version__', '1.13.1')
    with pytest.raises(UnfitInstallation) as caught:
        importlib.import_module(f'mmseg_boundary.{module}')
    assert str(caught.value).startswith(OLD)

"""The kernels of a device, compiled for the CPU."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from mmseg_boundary import compiled
from mmseg_boundary.losses import blocks

from .scenes import Scene, scene


def require_one_compilation(
    monkeypatch: pytest.MonkeyPatch, modules: list[ModuleType], compare: Callable[[Scene], None]
) -> None:
    """Calls `compare` on scenes of several sizes, for which the first compiles all kernels.

    Args:
        modules: those which ask whether a tensor is on a device, and are told that it is.
        compare: asserts that a loss with these kernels is right.
    """
    monkeypatch.setattr(compiled, 'LARGE', 0)
    assert compiled._can_compile('cpu')  # by compiling, once in a process
    for module in modules:
        monkeypatch.setattr(module, 'is_queued', lambda tensor: True)
    compiled.compiled.cache_clear()
    blocks.compiled_forms.clear()
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters['stats']
    graphs = [counters['unique_graphs']]
    for classes, size in [(3, (2, 30, 40)), (5, (1, 20, 71)), (2, (3, 64, 9))]:
        compare(scene(classes, size))
        graphs.append(counters['unique_graphs'])
    assert graphs[0] < graphs[1] == graphs[2] == graphs[3]

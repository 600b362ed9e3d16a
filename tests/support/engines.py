"""The two engines of distances on the CPU, and that of a device."""

import sys
from contextlib import contextmanager, nullcontext

import pytest

from mmseg_boundary.geometry import distance
from mmseg_boundary.losses import distance_transform, hausdorff


@contextmanager
def without_opencv():
    """As if OpenCV were not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'cv2', None)
        yield


@contextmanager
def as_on_a_device():
    """What a device would do with the tensors of the CPU, its kernels uncompiled."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (distance, distance_transform, hausdorff):
            patch.setattr(module, 'is_queued', lambda tensor: True)
        for module in (distance, hausdorff):
            patch.setattr(module, 'is_compiled', lambda batch: True)
            patch.setattr(module, 'compiled', lambda kernel, *_: kernel)
        yield patch


ENGINES = {'OpenCV': nullcontext, 'scipy': without_opencv}

"""The two engines of distances on the CPU."""

import sys
from contextlib import contextmanager, nullcontext

import pytest


@contextmanager
def without_opencv():
    """As if OpenCV were not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'cv2', None)
        yield


ENGINES = {'OpenCV': nullcontext, 'scipy': without_opencv}

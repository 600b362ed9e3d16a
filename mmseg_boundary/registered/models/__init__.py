"""Models that MMSegmentation lacks; `mmseg_boundary.registered` imports them."""

from .test_time import BoundarySegTTAModel

__all__ = ['BoundarySegTTAModel']

"""Models that MMSegmentation lacks; `mmseg_boundary.registered` imports them."""

from .semantic_boundary_head import SemanticBoundaryHead
from .test_time import BoundarySegTTAModel

__all__ = ['BoundarySegTTAModel', 'SemanticBoundaryHead']

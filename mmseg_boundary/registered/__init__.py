"""All that MMSegmentation sees. Importing this module registers it; configs name it in
`custom_imports`."""

# First, since it refuses a broken installation before MMSegmentation is imported.
from .. import stacks  # noqa: F401

# isort: split
from .. import datasets, models  # noqa: F401
from .losses import EPLLineLoss, EPLLoss, EPLPointLoss
from .metrics import BoundaryMetric
from .visualization import BoundaryVisualizationHook

__all__ = [
    'BoundaryMetric',
    'BoundaryVisualizationHook',
    'EPLLineLoss',
    'EPLLoss',
    'EPLPointLoss',
]

"""All that MMSegmentation sees. Importing this module registers it; configs name it in
`custom_imports`."""

# First, since it refuses a broken installation before MMSegmentation is imported.
from .. import stacks  # noqa: F401

# isort: split
from .. import datasets, models  # noqa: F401
from .hooks import LossWeightSchedule
from .losses import (
    BF1Loss,
    BoundaryWeightedCELoss,
    DistanceTransformLoss,
    EPLLineLoss,
    EPLLoss,
    EPLPointLoss,
    JaccardLoss,
    KervadecBoundaryLoss,
    SoftDiceLoss,
    SoftmaxFocalLoss,
)
from .metrics import BoundaryMetric
from .visualization import BoundaryVisualizationHook

__all__ = [
    'BF1Loss',
    'BoundaryMetric',
    'BoundaryVisualizationHook',
    'BoundaryWeightedCELoss',
    'DistanceTransformLoss',
    'EPLLineLoss',
    'EPLLoss',
    'EPLPointLoss',
    'JaccardLoss',
    'KervadecBoundaryLoss',
    'LossWeightSchedule',
    'SoftDiceLoss',
    'SoftmaxFocalLoss',
]

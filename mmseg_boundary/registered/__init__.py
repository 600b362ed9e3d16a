"""All that MMSegmentation sees. Importing this module registers it; configs name it in
`custom_imports`."""

# First, since it refuses a broken installation before MMSegmentation is imported.
from .. import compat

# isort: split
from . import compiler_log, datasets, losses, models  # noqa: F401
from .check_finite_loss import CheckFiniteLossHook
from .loss_sum import LossSum
from .loss_weight_schedule import LossWeightSchedule
from .metrics import BoundaryMetric
from .neighbour_penalised import NeighbourPenalised
from .step_seed import StepSeed
from .transforms import RandomGaussianBlur, RandomScale
from .visualization import BoundaryVisualizationHook

__all__ = [
    'BoundaryMetric',
    'BoundaryVisualizationHook',
    'CheckFiniteLossHook',
    'LossSum',
    'LossWeightSchedule',
    'NeighbourPenalised',
    'RandomGaussianBlur',
    'RandomScale',
    'StepSeed',
]

compat.install()

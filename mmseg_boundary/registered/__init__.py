"""All that MMSegmentation sees. Importing this module registers it; configs name it in
`custom_imports`."""

# First, since it refuses a broken installation before MMSegmentation is imported.
from .. import stacks  # noqa: F401

# isort: split
from .. import datasets  # noqa: F401
from .hooks import LossWeightSchedule
from .losses import EPLLineLoss, EPLLoss, EPLPointLoss

__all__ = ['EPLLineLoss', 'EPLLoss', 'EPLPointLoss', 'LossWeightSchedule']

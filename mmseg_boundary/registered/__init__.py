"""All that MMSegmentation sees. Importing this module registers it; configs name it in
`custom_imports`."""

from .. import stacks as _  # first: refuses a broken installation before MMSegmentation is imported
from .. import datasets as _
from .losses import EPLLineLoss, EPLLoss, EPLPointLoss

__all__ = ['EPLLineLoss', 'EPLLoss', 'EPLPointLoss']

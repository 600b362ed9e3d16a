"""Pure losses on `labels.Target` and probabilities, or logits where a logarithm is taken: torch
alone (and OpenCV or scipy for distances on the CPU), one file per loss."""

from .bf1 import bf1_loss
from .boundary_weighted_ce import boundary_weighted_ce_loss
from .distance_transform import distance_transform_loss
from .epl import epl_line_loss, epl_point_loss
from .jaccard import jaccard_loss
from .kervadec import kervadec_boundary_loss
from .soft_dice import soft_dice_loss
from .softmax_focal import softmax_focal_loss

__all__ = [
    'bf1_loss',
    'boundary_weighted_ce_loss',
    'distance_transform_loss',
    'epl_line_loss',
    'epl_point_loss',
    'jaccard_loss',
    'kervadec_boundary_loss',
    'soft_dice_loss',
    'softmax_focal_loss',
]

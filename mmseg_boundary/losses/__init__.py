"""Losses on torch alone (and OpenCV or scipy for distances on the CPU), one file per loss: pure
functions of `labels.Target` and probabilities, or logits where a logarithm is taken, and around
each a module that takes logits and labels.

>>> import torch
>>> logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
>>> labels = torch.zeros(2, 8, 8, dtype=torch.long)  # 255 is void
>>> SoftDiceLoss(smooth=0)(logits, labels)  # class 0, with a probability of 1/3 everywhere
tensor(0.5000, grad_fn=<MulBackward0>)
"""

from .active_boundary import ActiveBoundaryLoss, active_boundary_loss
from .balanced_edge import balanced_edge_loss
from .bf1 import BF1Loss, bf1_loss
from .boundary_dou import BoundaryDoULoss, boundary_dou_loss
from .boundary_weighted_ce import BoundaryWeightedCELoss, boundary_weighted_ce_loss
from .distance_transform import DistanceTransformLoss, distance_transform_loss
from .dual_task import DualTaskLoss, dual_task_loss
from .epl import EPLLineLoss, EPLLoss, EPLPointLoss, epl_line_loss, epl_point_loss
from .generalized_dice import GeneralizedDiceLoss, generalized_dice_loss
from .hausdorff import HausdorffDTLoss, hausdorff_dt_loss
from .jaccard import JaccardLoss, jaccard_loss
from .kervadec import KervadecBoundaryLoss, kervadec_boundary_loss
from .neighbour_penalised import neighbour_penalised
from .semantic_boundary import semantic_boundary_loss
from .soft_dice import SoftDiceLoss, soft_dice_loss
from .softmax_focal import SoftmaxFocalLoss, softmax_focal_loss
from .structure import StructureLoss, structure_loss

__all__ = [
    'ActiveBoundaryLoss',
    'BF1Loss',
    'BoundaryDoULoss',
    'BoundaryWeightedCELoss',
    'DistanceTransformLoss',
    'DualTaskLoss',
    'EPLLineLoss',
    'EPLLoss',
    'EPLPointLoss',
    'GeneralizedDiceLoss',
    'HausdorffDTLoss',
    'JaccardLoss',
    'KervadecBoundaryLoss',
    'SoftDiceLoss',
    'SoftmaxFocalLoss',
    'StructureLoss',
    'active_boundary_loss',
    'balanced_edge_loss',
    'bf1_loss',
    'boundary_dou_loss',
    'boundary_weighted_ce_loss',
    'distance_transform_loss',
    'dual_task_loss',
    'epl_line_loss',
    'epl_point_loss',
    'generalized_dice_loss',
    'hausdorff_dt_loss',
    'jaccard_loss',
    'kervadec_boundary_loss',
    'neighbour_penalised',
    'semantic_boundary_loss',
    'soft_dice_loss',
    'softmax_focal_loss',
    'structure_loss',
]

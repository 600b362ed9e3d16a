"""Measures of one image at a time, and the scores made of them over a data set.

One call scores one image or a stack:

>>> import torch
>>> label = torch.zeros(2, 9, 9, dtype=torch.long)
>>> label[:, 2:7, 2:7] = 1
>>> pred = torch.stack([label[0], label[1].roll(1, 1)])
>>> per_class, mean = boundary_iou(pred, label, num_classes=2, widths=(1, 2))
>>> per_class[1]  # of class 1 at 1 and 2 px
tensor([0.6000, 0.7778], dtype=torch.float64)

An `Accumulator` scores a data set, whose images may be of different sizes:

>>> scores = Accumulator([BoundaryIoU((1, 2)), BoundaryF((1, 2))], num_classes=2)
>>> for one_pred, one_label in zip(pred, label):
...     scores.update(one_pred, one_label)
>>> scores.compute()['BoundaryF'].mean
tensor([1., 1.], dtype=torch.float64)

Beneath both, pure functions measure one image and score what was measured:

>>> images = list(zip(pred, label))
>>> counts = sum(count_boundary_iou(*image, num_classes=2, widths=(1, 2)) for image in images)
>>> iou(counts)[1]
tensor([0.6000, 0.7778], dtype=torch.float64)

Counts are int64 and added; F values are kept per image. Neither depends on order or split.
"""

from .areas import iou
from .boundary_errors import count_boundary_errors
from .boundary_f import BoundaryF, boundary_f, boundary_f_score, score_boundary_f
from .boundary_iou import BoundaryIoU, boundary_iou, count_boundary_iou
from .contour_errors import count_contour_errors, share_near_contour
from .metric import Accumulator, Metric, Scores, Share
from .trimap_iou import TrimapIoU, count_trimap_iou, trimap_iou

# `BoundaryMetric` knows every `Metric` that is named here.
__all__ = [
    'Accumulator',
    'BoundaryF',
    'BoundaryIoU',
    'Metric',
    'Scores',
    'Share',
    'TrimapIoU',
    'boundary_f',
    'boundary_f_score',
    'boundary_iou',
    'count_boundary_errors',
    'count_boundary_iou',
    'count_contour_errors',
    'count_trimap_iou',
    'iou',
    'score_boundary_f',
    'share_near_contour',
    'trimap_iou',
]

"""Pure measures of one image at a time, and the scores made of them over a data set.

Counts are int64 and added; F values are kept per image. Neither depends on order or split.

>>> import torch
>>> label = torch.zeros(9, 9, dtype=torch.long)
>>> label[2:7, 2:7] = 1
>>> images = [(label, label), (label.roll(1, 1), label)]  # (prediction, truth)

>>> counts = sum(count_boundary_iou(p, t, num_classes=2, widths=(1, 2)) for p, t in images)
>>> iou(counts)[1]  # of class 1 at 1 and 2 px
tensor([0.6000, 0.7778], dtype=torch.float64)

>>> values = torch.stack([boundary_f(p, t, num_classes=2, tolerances=(1, 2)) for p, t in images])
>>> per_class, mean = score_boundary_f(values)
>>> mean
tensor([1., 1.], dtype=torch.float64)
"""

from .areas import iou
from .boundary_f import boundary_f, score_boundary_f
from .boundary_iou import count_boundary_iou
from .contour_errors import count_contour_errors, share_near_contour
from .trimap_iou import count_trimap_iou

__all__ = [
    'boundary_f',
    'count_boundary_iou',
    'count_contour_errors',
    'count_trimap_iou',
    'iou',
    'score_boundary_f',
    'share_near_contour',
]

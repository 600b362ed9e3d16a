# The evaluator for Cityscapes, whose data set and pipelines are MMSegmentation's.
evaluator = dict(type='BoundaryMetric', iou_metrics=['mIoU'])

# What is evaluated on Cityscapes; its data set and pipelines are stock.
evaluator = dict(type='BoundaryMetric', iou_metrics=['mIoU'])

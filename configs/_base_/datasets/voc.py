# The evaluator for VOC, whose data set and pipelines are MMSegmentation's. VOC's annotators drew
# boundaries as void, so that hardly any two classes touch.
evaluator = dict(type='BoundaryMetric', iou_metrics=['mIoU'], void_is_boundary=True)

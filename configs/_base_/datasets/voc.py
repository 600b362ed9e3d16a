# What is evaluated on VOC; its data set and pipelines are stock. Void is how VOC's annotators drew
# boundaries: hardly two classes touch.
evaluator = dict(type='BoundaryMetric', iou_metrics=['mIoU'], void_is_boundary=True)

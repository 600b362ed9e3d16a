# What every config shares, as names (two bases may not both set a key such as `model`).
# It is listed first: its first line makes `mmseg::` resolve before it is looked up.
__packages__ = __import__('mmseg_boundary.compat').compat.resolve_packages()
custom_imports = dict(imports=['mmseg_boundary.registered'], allow_failed_imports=False)
# Averaged over valid pixels, so that its balance with a boundary term does not move with the void.
cross_entropy = dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)
evaluator = dict(type='BoundaryMetric', iou_metrics=['mIoU'])
# Void is how VOC's annotators drew contours: hardly two classes touch.
voc_evaluator = dict(**evaluator, void_is_boundary=True)

# The structure loss in place of a cross-entropy, at 240x320: the published window, 31 px at
# 352x352, shrinks by the root of the areas' ratio, to the nearest odd number.
_base_ = '../runtime.py'
losses = [dict(type='StructureLoss', window=25)]

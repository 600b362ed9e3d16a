# The structure loss in place of a cross-entropy, at 128x128: the published window, 31 px at
# 352x352, shrinks by the root of the areas' ratio, to the nearest odd number.
_base_ = '../runtime.py'
losses = [dict(type='StructureLoss', window=11)]

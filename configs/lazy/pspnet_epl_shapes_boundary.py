# The boundary metrics in MMEngine's lazy style, with the best checkpoint by one of them. A lazy
# config imports them after the hooks are made, so that these have to be told the rule.
from mmengine.config import read_base

from mmseg_boundary.registered import BoundaryMetric

with read_base():
    from .pspnet_epl_shapes import *  # noqa: F403

val_evaluator.update(type=BoundaryMetric)  # noqa: F405
test_evaluator = val_evaluator  # noqa: F405
default_hooks.checkpoint.update(save_best='mBoundaryF_3px', rule='greater')  # noqa: F405

"""The modules of `losses/`, under their own names."""

from mmseg.registry import MODELS

from .. import losses

for _name in losses.__all__:
    _loss = getattr(losses, _name)
    if isinstance(_loss, type):
        MODELS.register_module(module=_loss)

"""Says where pretrained weights leave much of a network as it was initialized.

MMEngine takes of a file what fits, and goes on whatever that is.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from mmengine.logging import print_log
from torch import nn

from .. import compat

ENOUGH = 0.9  # of the tensors


def watch_pretrained(model: nn.Module) -> None:
    """Has `model.init_weights` warn of each part that finds fewer than 90 % of its tensors in its
    pretrained weights.

    A part begins with pretrained weights by an `init_cfg` of type 'Pretrained', which
    MMSegmentation makes of `pretrained` too. Counters of batches are left out.
    """

    def wrap(init_weights: Callable[[], None]) -> Callable[[], None]:
        def init() -> None:
            with ExitStack() as stack:
                for name, part in model.named_modules():
                    for checkpoint in _checkpoints_of(part):
                        stack.enter_context(_watched(part, name or 'the model', checkpoint))
                init_weights()

        return init

    compat.wrap_init_weights(model, wrap)


def _checkpoints_of(part: nn.Module) -> Iterator[str]:
    given = getattr(part, 'init_cfg', None)
    for each in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(each, dict) and each.get('type') == 'Pretrained':
            yield str(each.get('checkpoint'))


@contextmanager
def _watched(part: nn.Module, name: str, checkpoint: str) -> Iterator[None]:
    """Compares what is loaded into this part by itself with all that it has."""
    kept = []

    def begin(module, state, prefix, metadata, strict, *lists):
        kept[:] = lists if prefix == '' else []

    def end(module, incompatible):
        if kept:
            missing, unknown, errors = kept
            _require_most(part, name, checkpoint, missing, unknown, errors)

    hooks = [
        part.register_load_state_dict_pre_hook(begin),
        part.register_load_state_dict_post_hook(end),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _require_most(
    part: nn.Module,
    name: str,
    checkpoint: str,
    missing: list[str],
    unknown: list[str],
    errors: list[str],
) -> None:
    own = [key for key in part.state_dict() if not key.endswith('num_batches_tracked')]
    # A tensor of another shape is named in a sentence of torch.
    other = [key for key in own if key in missing or any(_names(key, said) for said in errors)]
    if not other or len(own) - len(other) >= ENOUGH * len(own):
        return
    theirs = f' What it has besides begins with {unknown[0]}.' if unknown else ''
    print_log(
        f'Of the {len(own)} tensors of {name}, {len(own) - len(other)} are in its pretrained '
        f'weights {checkpoint}; the others, of which {other[0]} is the first, stay as they are '
        f'initialized.{theirs} Is it a file of this network? tools/convert_checkpoint.py converts '
        'published files.',
        'current',
        logging.WARNING,
    )


def _names(key: str, said: str) -> bool:
    return f'size mismatch for {key}:' in said or f'the parameter named "{key}"' in said

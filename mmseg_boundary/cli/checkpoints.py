"""Checks that a checkpoint is of its net, and that a run can go on from it."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from .. import compat
from ..registered.model_losses import unwrapped
from .errors import UnfitStart


class Differences(NamedTuple):
    """Keys of parameters and buffers that a net and a checkpoint do not share."""

    missing: list[str]  # of the net
    reshaped: list[str]  # in both, but what the file has does not fit
    unknown: list[str]  # of the file


UNUSED_IN_TESTS = 'auxiliary_head.'


def load_fully(
    load: Callable[[], dict], name: str, model: nn.Module, partial: bool, tests: bool = False
) -> dict:
    """Refuses a checkpoint that leaves a part of the net as it was initialised.

    Args:
        load: loads the checkpoint into `model` with MMEngine, and returns it.
        name: its path or URL.
        model: the net, which may be wrapped.
        partial: takes what fits, with a line in the log.
        tests: the net is tested alone, so that its auxiliary heads may be others than those of the
            checkpoint, with a line in the log.

    Raises:
        UnfitStart: something of the net is missing or has another shape.
    """
    with _watched(model) as found:
        try:
            checkpoint = load()
        except RuntimeError as error:
            # EMAHook loads its copy before, and torch refuses another shape there.
            lines = [line for line in str(error).splitlines() if 'size mismatch for' in line]
            if not lines:
                raise
            if partial:
                raise UnfitStart(
                    f'{name} has averaged weights of other shapes, of which EMAHook cannot take a '
                    'part: take EMAHook out of the config, or train without --resume and with '
                    f'--cfg-options load_from={name}'
                ) from None
            found.reshaped.extend(_key_of(line).removeprefix('module.') for line in lines)
            _require_same_net({}, name, model, found, partial)
    if tests:
        found = _without_unused(name, found)
    _require_same_net(checkpoint, name, model, found, partial)
    return checkpoint


@contextmanager
def _watched(model: nn.Module) -> Iterator[Differences]:
    """Collects the differences that torch finds while MMEngine loads; loading goes on.

    They are found after all renaming (`module.` in the file, keys of older versions), and without
    `num_batches_tracked`, which MMEngine does not ask for.
    """
    model = unwrapped(model)
    found, kept = Differences([], [], []), []

    def begin(module, state, prefix, metadata, strict, *lists):
        kept[:] = lists

    def end(module, incompatible):
        missing, unknown, errors = kept
        found.missing.extend(key for key in missing if 'num_batches_tracked' not in key)
        found.reshaped.extend(map(_key_of, errors))
        found.unknown.extend(unknown)
        for each in kept:  # MMEngine would print every key
            each.clear()

    hooks = [
        model.register_load_state_dict_pre_hook(begin),
        model.register_load_state_dict_post_hook(end),
    ]
    try:
        yield found
        assert kept, 'nothing was loaded into this net'
    finally:
        for hook in hooks:
            hook.remove()


def _key_of(error: str) -> str:
    key = re.search(r'size mismatch for (\S+):|the parameter named "([^"]+)"', error)
    return key[1] or key[2] if key else error


def _without_unused(name: str, found: Differences) -> Differences:
    unused = [key for key in [*found.missing, *found.reshaped] if key.startswith(UNUSED_IN_TESTS)]
    if unused:
        print_log(
            f'{name} lacks {len(unused)} tensors of the auxiliary heads ({_few(unused)}), which '
            'stay as they were initialised: no test uses them.',
            'current',
            logging.WARNING,
        )
    missing, reshaped = (
        [key for key in keys if key not in unused] for keys in (found.missing, found.reshaped)
    )
    return found._replace(missing=missing, reshaped=reshaped)


def _require_same_net(
    checkpoint: dict, name: str, model: nn.Module, found: Differences, partial: bool
) -> None:
    if found.unknown:
        more = f'{len(found.unknown)} tensors that the net has not: {_few(found.unknown)}'
        print_log(f'{name} has {more}', 'current', logging.WARNING)
    lacking = list(dict.fromkeys([*found.missing, *found.reshaped]))
    if not lacking:
        return
    counted = [key for key in model.state_dict() if 'num_batches_tracked' not in key]
    says = (
        f'{len(lacking)} of the {len(counted)} tensors of the net are missing in the checkpoint '
        f'{name} or have another shape there ({_few(lacking)})'
    )
    if partial:
        said = f'--partial: {says}; these stay as they were initialised.'
        print_log(said, 'current', logging.WARNING)
        # It is kept by position, and of other shapes too.
        checkpoint.pop('optimizer', None)
        return
    origin = origin_of(checkpoint)
    raise UnfitStart(
        f'{says}: it is of another net{f" (it says: of {origin})" if origin else ""}. Give the '
        'config that it was trained with, or --partial to take what fits and leave the rest as it '
        'is initialised.'
    )


def _few(keys: list[str]) -> str:
    return ', '.join([*keys[:3], '…'] if len(keys) > 3 else keys)


def origin_of(checkpoint: dict) -> str | None:
    """The name of the config that a checkpoint says it was trained with. Nothing is evaluated."""
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    # MMEngine's: the config's name and the time
    said = re.fullmatch(r'([\w.+-]+)_\d{8}_\d{6}', str(meta.get('experiment_name')), re.ASCII)
    if said is None:
        # the config's text, which `safe_loading` finds as `config` in files of MMSegmentation 0.x
        text = str(meta.get('cfg'))
        said = re.search(r"^work_dir = '(?:[^'\n]*/)?([\w.+-]+)/?'$", text, re.ASCII | re.MULTILINE)
    return said and said[1]


def watch_runner(runner: Runner, partial: bool, resumes: bool, updates_every: int = 1) -> None:
    """Lets a runner refuse a checkpoint of another net, and one from which it cannot go on.

    Args:
        runner: one that has not loaded anything yet.
        partial: see `load_fully`.
        resumes: it goes on with a training, for which weights alone are not enough; else it tests.
        updates_every: the `accumulative_counts` of its optimizer.
    """

    def wrap(load_checkpoint: Callable[..., dict]) -> Callable[..., dict]:
        def load(filename: str, *args, **kwargs) -> dict:
            checkpoint = load_fully(
                lambda: load_checkpoint(filename, *args, **kwargs),
                filename,
                runner.model,
                partial,
                tests=not resumes,
            )
            if resumes:
                _require_progress(checkpoint, filename)
                for loss in _losses_of_state(checkpoint, runner.optim_wrapper, updates_every):
                    print_log(f'{filename} {loss}', 'current', logging.WARNING)
            return checkpoint

        return load

    compat.wrap_load_checkpoint(runner, wrap)


def _require_progress(checkpoint: dict, name: str) -> None:
    meta = checkpoint.get('meta')
    counted = isinstance(meta, dict) and {'epoch', 'iter'} <= meta.keys()
    if not counted or 'message_hub' not in checkpoint:
        raise UnfitStart(
            f'{name} holds weights, but not how far the training was: --resume cannot go on from '
            'it. To begin with its weights, train without --resume and with --cfg-options '
            f'load_from={name}'
        )


def _losses_of_state(
    checkpoint: dict, optimizer: OptimWrapper | OptimWrapperDict | dict | None, updates_every: int
) -> Iterator[str]:
    """Says in what the resumed run will differ from an unbroken one. The state of an optimizer of
    other parameters, such as those of an auxiliary head that was removed, is taken out."""
    if 'optimizer' not in checkpoint:
        yield 'holds no state of the optimizer, which starts anew.'
    elif isinstance(optimizer, (OptimWrapper, OptimWrapperDict)) and (
        _group_sizes(checkpoint['optimizer']) != _group_sizes(optimizer.state_dict())
    ):
        del checkpoint['optimizer']
        yield 'holds the state of an optimizer of other parameters: the optimizer starts anew.'
    step = checkpoint['meta']['iter']
    if step % updates_every:
        yield (
            f'was written between two updates (iteration {step}, accumulative_counts='
            f'{updates_every}): the gradients gathered since the last are lost, so that the next '
            'update differs from that of an unbroken run.'
        )


def _group_sizes(state: dict) -> list[int] | dict[str, list[int]]:
    if 'param_groups' in state:
        return [len(group['params']) for group in state['param_groups']]
    return {name: _group_sizes(part) for name, part in state.items() if isinstance(part, dict)}

"""Reads checkpoints of others without running code in them; in our tools alone.

torch's `weights_only` looks the names in a pickle up in a list, and calls what it finds there. The
list here has stand-ins that check what they are given, for the few names that MMEngine's own
checkpoints need. It is the whole list while a checkpoint is read, and empty of ours otherwise.
"""

import pickle
import threading
import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.utils import digit_version

from .. import compat

UNPICKLER = 'torch._weights_only_unpickler'
STATISTICS = ('min', 'max', 'current', 'mean')
DTYPES = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8')


class OldTorch(RuntimeError):
    """This torch cannot read a checkpoint without running the code in it."""


def install() -> None:
    """Has everything in this process read checkpoints as `load_checkpoint` does; may be repeated.

    This is not done at import, since the lists and the environment of other projects are theirs.
    """
    compat.load_checkpoints_with(load_checkpoint, safe_globals)


_one_at_a_time = threading.RLock()  # torch has one list for all threads
_load_anything = CheckpointLoader.load_checkpoint.__func__


def load_checkpoint(cls: type, filename: str, *args: Any, **options: Any) -> Any:
    """`CheckpointLoader.load_checkpoint`, for every scheme, with `safe_globals` alone.

    What it returns is a dict of tensors, plain values, HistoryBuffers and NumPy's arrays and
    scalars. `meta.config`, which files of MMSegmentation 0.x have, is called `meta.cfg` as in those
    of MMEngine, which would run it as Python when a run is resumed.

    Raises:
        OldTorch: torch is older than 2.6.
        pickle.UnpicklingError: the file asks for anything else.
    """
    if digit_version(torch.__version__) < digit_version('2.6.0'):
        raise OldTorch(
            f'torch {torch.__version__} cannot read {filename} without running the code that it '
            "may bring, so it is refused. Update torch: pip install -U 'torch>=2.6'"
        )
    with _one_at_a_time, _these_alone(safe_globals()):
        try:
            loaded = _without_stand_ins(_load_anything(cls, filename, *args, **options), {})
        except Exception as error:
            if _is_about_content(error):
                raise pickle.UnpicklingError(f'{filename} is refused: {error}') from error
            raise
    if not isinstance(loaded, dict):
        raise pickle.UnpicklingError(f'{filename} is refused: it is no dict')
    meta = dict.get(loaded, 'meta')
    if isinstance(meta, dict) and 'config' in meta:
        dict.setdefault(meta, 'cfg', dict.pop(meta, 'config'))
    return loaded


def safe_globals() -> list[tuple[Callable, str]]:
    """What torch allows beside its own names: (stand-in, the name that a file gives it)."""
    return [
        (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (_statistic, 'builtins.getattr'),
        (_Array, 'numpy.ndarray'),
        (_DType, 'numpy.dtype'),
        (_new_array, 'numpy._core.multiarray._reconstruct'),
        (_scalar, 'numpy._core.multiarray.scalar'),
        # as NumPy 1 named them
        (_new_array, 'numpy.core.multiarray._reconstruct'),
        (_scalar, 'numpy.core.multiarray.scalar'),
    ]


def _is_about_content(error: Exception) -> bool:
    """Whether an error, not an UnpicklingError, is about the content of a file that torch read."""
    if isinstance(error, RecursionError):  # lists in lists in lists
        return True
    if isinstance(error, RuntimeError):
        # TorchScript, and a tar as torch once wrote; another zip, such as torch.hub unpacks
        said = ('weights_only=True', 'file in archive is not in a subdirectory')
        return any(words in str(error) for words in said)
    # It calls what is on the list with whatever the file gives.
    given = isinstance(error, (TypeError, ValueError, AttributeError, LookupError, AssertionError))
    frames = traceback.walk_tb(error.__traceback__)
    return given and any(frame.f_globals.get('__name__') == UNPICKLER for frame, _ in frames)


@contextmanager
def _these_alone(allowed: list[tuple[Callable, str]]) -> Iterator[None]:
    # Not torch's own context manager: it takes away at its end what was there before, and what
    # others have added may give a name of ours to something else.
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(allowed)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


class _StandIn:
    """What torch builds in the place of a MMEngine or NumPy object, which is `value` once checked.

    torch calls `__setstate__` of whatever an object says it is: no attribute can be set here. And
    no dict or set can have it as a key, where `_without_stand_ins` would not find it.
    """

    __slots__ = ('value',)
    __hash__ = None


class _DType(_StandIn):
    __slots__ = ()

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if type(code) is not str or code not in DTYPES:
            _refuse(f'arrays of dtype {code!r}')
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        # A state that differs makes another dtype of it: of foreign byte order, or a record.
        if not _is_same(state, _value(self, _DType).__reduce__()[2]):
            _refuse(f'a dtype {state!r}')


class _Array(_StandIn):
    __slots__ = ()

    def __setstate__(self, state: tuple) -> None:
        if type(state) is not tuple or len(state) != 5:
            _refuse('an array without a shape, a dtype and bytes')
        _, shape, dtype, _, data = state
        dtype = _value(dtype, _DType)
        if type(data) is not bytes or not _is_same(shape, (len(data) // dtype.itemsize,)):
            _refuse(f'an array of shape {shape!r}, not as long as its bytes')
        self.value = np.ndarray(shape, dtype, data).copy()


class _History(_StandIn):
    __slots__ = ()

    def __setstate__(self, state: dict) -> None:
        if type(state) is not dict:
            _refuse('a history without a state')
        state = dict(state)
        # MMEngine keeps them for all histories of the process.
        methods = state.pop('statistics_methods', {})
        if type(methods) is not dict or not all(
            _is_statistic(name) and method is getattr(HistoryBuffer, name)
            for name, method in methods.items()
        ):
            _refuse(f'statistics {methods!r}')
        if state.keys() != {'max_length', '_log_history', '_count_history'}:
            _refuse(f'a history with {sorted(map(str, state))}')
        logs, counts = (_value(state[name], _Array) for name in ('_log_history', '_count_history'))
        length = state['max_length']
        if type(length) is not int or length < 1 or len(logs) != len(counts):
            _refuse(f'a history of {len(logs)} values, {len(counts)} counts, at most {length!r}')
        self.value = HistoryBuffer(max_length=length)
        self.value._log_history, self.value._count_history = logs, counts


def _statistic(owner: type, name: str) -> Callable:
    """Stands in for `getattr`, by which a pickled HistoryBuffer names its four statistics."""
    if owner is not _History or not _is_statistic(name):
        _refuse(f'{name!r} of {owner!r}')
    return getattr(HistoryBuffer, name)


def _is_statistic(name: Any) -> bool:
    return type(name) is str and name in STATISTICS


def _new_array(owner: type, shape: tuple, code: bytes) -> _Array:
    if owner is not _Array:
        _refuse(f'an array of type {owner!r}')
    return _Array()


def _scalar(dtype: _DType, data: bytes) -> np.generic:
    dtype = _value(dtype, _DType)
    if type(data) is not bytes or len(data) != dtype.itemsize:
        _refuse(f'a number of type {dtype}, not as long as its bytes')
    return np.frombuffer(data, dtype)[0]


def _value(node: Any, kind: type[_StandIn]) -> Any:
    if type(node) is not kind or not hasattr(node, 'value'):
        _refuse(f'{type(node).__name__} as {kind.__name__}')
    return node.value


def _is_same(given: Any, expected: tuple) -> bool:
    """Compares the types too, before any method of the given objects is called."""
    types = [type(part) for part in expected]
    return type(given) is tuple and [type(part) for part in given] == types and given == expected


def _refuse(what: str) -> NoReturn:
    raise pickle.UnpicklingError(f'The file asks for {what}, which is refused.')


def _without_stand_ins(node: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """`node`, changed in place but for tuples; `done` has (before, after) of all containers, which
    may stand in several places and in themselves.

    Calls methods of the classes, not of the objects: a file can give an OrderedDict, a tensor and a
    storage any attribute. What could be called stands in no honest file by itself.
    """
    if isinstance(node, _StandIn):
        return _value(node, type(node))
    if callable(node):
        _refuse(f'{node!r} as a value')
    if id(node) in done:
        return done[id(node)][1]
    if type(node) in (dict, OrderedDict, Counter):
        done[id(node)] = node, node
        for key, part in list(dict.items(node)):
            _without_stand_ins(key, done)  # can be hashed: no stand-in, but something to call
            dict.__setitem__(node, key, _without_stand_ins(part, done))
        if type(node) is not dict:
            _without_stand_ins(vars(node), done)
    elif type(node) is list:
        done[id(node)] = node, node
        node[:] = [_without_stand_ins(part, done) for part in node]
    elif type(node) is set:
        for part in node:
            _without_stand_ins(part, done)
    elif isinstance(node, torch.Tensor):
        done[id(node)] = node, node
        _without_stand_ins(vars(node), done)
        _without_stand_ins(node._backward_hooks, done)
    elif isinstance(node, (torch.UntypedStorage, torch.TypedStorage)):
        done[id(node)] = node, node
        _without_stand_ins(vars(node), done)
    elif type(node) is tuple:
        done[id(node)] = node, tuple(_without_stand_ins(part, done) for part in node)
        return done[id(node)][1]
    return node

"""Kernels as one pass over the memory, by torch.compile, where that pays.

Which form of a kernel runs follows from the device, the shape and `compile_from`, not from the
calls before: a resumed run has to end in the same bits. So each kernel is compiled with one fixed
input, its sizes left dynamic, and then takes all shapes.
"""

import functools
import logging
import os
import types
import warnings
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

# A training writes this logger's messages into its log: the first that compiles, and the first of
# what is slower than it could be. A script shows the latter, the warnings, once each.
logger = logging.getLogger(__name__)
logger.addHandler(logging.NullHandler())

# Elements of the probabilities from which on kernels are compiled: compilation takes too long for a
# script with a few small batches, and is nothing to a training.
LARGE = 2**20


def compile_from(elements: int) -> None:
    """Sets how many elements the probabilities of a batch have, at least, for kernels that are
    compiled. For the whole process, before its first loss; a training says 0."""
    global LARGE
    LARGE = elements


def is_compiled(batch: Tensor) -> bool:
    """Whether the kernels for probabilities (N, K, H, W) are compiled.

    Small batches, and machines without a compiler, run them uncompiled.
    `TORCHDYNAMO_DISABLE=1` switches the compilation off.
    """
    return (
        batch.numel() >= max(LARGE, 1)
        and min(batch.shape[2:]) > 1  # torch compiles for a size of 1 anew
        and os.environ.get('TORCHDYNAMO_DISABLE') != '1'
        and _can_compile(batch.device.type)
    )


@functools.cache
def compiled(kernel: Callable, form: Hashable, otherwise: Callable | None = None) -> Callable:
    """`kernel`, compiled by its first call, for all sizes of its tensors above 1.

    Args:
        kernel: a function of tensors, named tuples of them, and constants.
        form: all else that the result is compiled for. torch keeps eight variants of a function,
            which all callers share; here each form has a function of its own.
        otherwise: what takes the place of a kernel that torch cannot compile, for one that must not
            run as it stands.
    """
    code, name = kernel.__code__.replace(), kernel.__name__
    own = types.FunctionType(code, kernel.__globals__, name, kernel.__defaults__)
    # As one graph, so that it is an error when torch gives up.
    fast, given_up = torch.compile(own, dynamic=False, fullgraph=True), False

    def call(*args):
        nonlocal given_up
        if not given_up:
            for tensor in _tensors_in(args):
                for dim in range(tensor.dim()):
                    # A size that the code reads, such as the number of directions, stays fixed.
                    torch._dynamo.maybe_mark_dynamic(tensor, dim)
            try:
                return fast(*args)
            except Exception as error:  # of whatever torch, the compiler or a driver raises
                given_up = True
                words = str(error).strip().partition('\n')[0]
                reason = type(error).__name__ + (f': {words}' if words else '')
                _warn(
                    f'torch has given up compiling {name} ({reason}). From here on it runs as it '
                    'stands, several times slower.'
                )
        return (otherwise or kernel)(*args)

    return call


def _tensors_in(args: tuple) -> list[Tensor]:
    found = []
    for arg in args:
        if isinstance(arg, Tensor):
            found.append(arg)
        elif isinstance(arg, tuple):
            found += _tensors_in(arg)
    return found


def left_out_of_graphs(loss: Callable) -> Callable:
    """`torch.compiler.disable`, for a model that is compiled as a whole.

    At the call, since it imports the compiler, which takes a second.
    """

    @functools.wraps(loss)
    def call(*args, **kwargs):
        return torch.compiler.disable(loss)(*args, **kwargs)

    return call


@functools.cache
def _can_compile(device_type: str) -> bool:
    probe = torch.zeros(2, device=device_type)
    try:
        torch.compile(lambda x: x + 1)(probe)
    except Exception as error:  # whatever a missing compiler, header or driver raises
        _warn(
            f'torch.compile does not work here ({type(error).__name__}), so the losses run '
            'uncompiled, several times slower. On the CPU it needs a C++ compiler (g++) and the '
            'headers of Python; TORCHDYNAMO_DISABLE=1 silences this.'
        )
        return False
    return True


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)
    logger.warning(sentence)

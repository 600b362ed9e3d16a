"""Kernels as one pass over the memory, by torch.compile, where that pays."""

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

# Elements of the probabilities above which a compilation of some seconds is worth its time.
LARGE = 2**20


def compiled_if_large(kernel: Callable, batch: Tensor) -> Callable:
    """`kernel`, compiled if the batch has many elements and there is a working compiler.

    Small inputs, and machines without one, take the kernel as it stands. `TORCHDYNAMO_DISABLE=1`
    switches the compilation off.
    """
    return (
        _compiled(kernel) if batch.numel() >= LARGE and _can_compile(batch.device.type) else kernel
    )


def left_out_of_graphs(loss: Callable) -> Callable:
    """`torch.compiler.disable`, for a model that is compiled as a whole.

    At the call, since it imports the compiler, which takes a second.
    """

    @functools.wraps(loss)
    def call(*args, **kwargs):
        return torch.compiler.disable(loss)(*args, **kwargs)

    return call


@functools.cache
def _compiled(kernel: Callable) -> Callable:
    # For the sizes and numbers given: with those left open kernels are slower, or do not compile.
    # After eight of a kind torch says so and runs the plain kernel.
    return torch.compile(kernel, dynamic=False)


@functools.cache
def _can_compile(device_type: str) -> bool:
    probe = torch.zeros(2, device=device_type)
    try:
        torch.compile(lambda x: x + 1)(probe)
    except Exception as error:  # whatever a missing compiler, header or driver raises
        warnings.warn(
            f'torch.compile does not work here ({type(error).__name__}), so the losses run '
            'uncompiled, several times slower. On the CPU it needs a C++ compiler (g++) and the '
            'headers of Python; TORCHDYNAMO_DISABLE=1 silences this.',
            stacklevel=2,
        )
        return False
    return True

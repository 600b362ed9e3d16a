"""Losses of whole maps, a few classes at a time, by kernels that are compiled where that pays.

What such a loss is made of is many times the size of the probabilities (the fields of EPL: four or
eight directions, h levels), so none is kept: a block of classes is summed up as soon as its fields
exist, and these are computed again for the gradient.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from ..compiled import compiled, is_compiled, logger
from ..devices import is_queued
from ..labels import Target, encode

# Elements of a map of classes. On the CPU about what its caches hold.
_CPU_BLOCK, _DEVICE_BLOCK = 2**17, 2**26


def class_blocks(probs: Tensor) -> Iterator[tuple[int, slice]]:
    """Yields the image and the classes of each block."""
    classes, parts = probs.shape[1], _parts(probs)
    ends = [classes * part // parts for part in range(parts + 1)]
    for n in range(len(probs)):
        for first, end in pairwise(ends):
            yield n, slice(first, end)


def _parts(probs: Tensor) -> int:
    """Of how many blocks an image is. None is of a single class if others are of several, for which
    kernels are compiled anew.

    On a device a block is no more than half of the batch: its fields, of four directions, are then
    no larger than two gradients of the logits, and many more blocks would be many more launches.
    """
    images, classes = probs.shape[:2]
    elements = probs[:1].numel()
    if is_queued(probs):
        parts = max(math.ceil(elements / _DEVICE_BLOCK), 2 if images == 1 else 1)
        return min(parts, max(classes // 2, 1))
    return min(
        parts
        for parts in range(1, classes + 1)
        if classes % parts == 0 and (parts == classes or elements <= parts * _CPU_BLOCK)
    )


def at_least_float32(probs: Tensor) -> Tensor:
    """Half types as float32, which has the digits that energies need."""
    return probs.float() if probs.dtype in (torch.float16, torch.bfloat16) else probs


def valid_bits(valid: Tensor, probs: Tensor) -> Tensor:
    """(N, 1, H, W) integers as wide as `probs`: all bits set where valid, none at void."""
    return -valid.to(torch.int64 if probs.dtype == torch.float64 else torch.int32)


def keep_valid(fields: Tensor, bits: Tensor) -> Tensor:
    """Sets void to 0 in place, inf and NaN too: several times as fast as `where`."""
    fields.view(bits.dtype).bitwise_and_(bits)
    return fields


# --- Kernels --------------------------------------------------------------------------------------


def as_it_stands(kernel: Callable, *constants: object) -> Callable:
    """`kernel` with its last arguments bound, uncompiled."""
    return lambda *tensors: kernel(*tensors, *constants)


def kernels_for(probs: Tensor) -> Callable[..., Callable]:
    """`as_it_stands`, or the same with the kernel compiled."""
    if not is_compiled(probs):
        return as_it_stands
    like = _kind(probs), probs.dtype, probs.device
    return lambda kernel, *constants: as_it_stands(compiled(kernel, (constants, like)), *constants)


def _kind(probs: Tensor) -> tuple[bool, bool]:
    """What torch compiles for anew even where sizes are dynamic: several classes or one, and images
    whose pixels it sums in one pass or in several."""
    return _parts(probs) < probs.shape[1], probs.shape[2] * probs.shape[3] > 4096


compiled_forms: set[tuple] = set()


def compile_kernels(loss: str, run: Callable[..., Tensor], probs: Tensor, *options: object) -> None:
    """Compiles the kernels that `run(probs, target, *options)` and its gradient need, if they are
    to be compiled for `probs` and are not yet, and says so before: training seems to hang."""
    if not is_compiled(probs):
        return
    form = run, options, _kind(probs), probs.dtype, probs.device
    if form not in compiled_forms:
        batch = '×'.join(map(str, probs.shape))
        logger.info(f'{loss} compiles its kernels for {batch}, some seconds')
        _compile(*form)
        compiled_forms.add(form)


def _compile(
    run: Callable[..., Tensor],
    options: tuple,
    kind: tuple[bool, bool],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Compiles with one fixed input: what torch makes of a kernel depends on the sizes of its first
    input, even where they are dynamic. They differ, so that torch takes none for another."""
    several, long = kind
    size = ((61, 72) if several else (361, 362)) if long else (31, 42)
    labels = torch.arange(size[0] * size[1], device=device).view(1, *size) // 7 % 2
    target: Target = encode(labels, 29 if several else 1)
    with torch.inference_mode(False), torch.enable_grad():
        probs = (target.masks.to(dtype) / 2).requires_grad_()
        torch.autograd.grad(run(probs, target, *options).sum(), probs)

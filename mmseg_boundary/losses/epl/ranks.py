"""Which pixels of a field hold given ranks, by value and then by index, without sorted indices."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ...devices import is_queued

if TYPE_CHECKING:
    import numpy as np
else:
    try:
        import numpy as np
    except ImportError:  # the losses run with torch alone
        np = None


class RankWindow(NamedTuple):
    """The pixels from (low, first) to (high, last), in the order of value and then index.

    low, high: (...) float, values of the field; NaN where the field holds a NaN.
    first, last: (...) int32, indices of pixels with these values.
    """

    low: Tensor
    first: Tensor
    high: Tensor
    last: Tensor

    def contains(self, fields: Tensor) -> Tensor:
        """Bool, for the (..., M) or (..., H, W) fields that the window was made for."""
        pixels = fields.shape[self.low.dim() :]
        low, first, high, last = (as_scalars(bound, fields) for bound in self)
        places = [torch.arange(n, device=fields.device, dtype=torch.int32) for n in pixels]
        index = places[0] if len(places) == 1 else places[0].unsqueeze(1) * pixels[1] + places[1]
        after = (fields > low) | ((fields == low) & (index >= first))
        return after & ((fields < high) | ((fields == high) & (index <= last)))


def as_scalars(values: Tensor, fields: Tensor) -> Tensor:
    """(...) values, of which each goes with all the pixels of one of the (..., M) or (..., H, W)
    fields."""
    return values.view(*values.shape, *[1] * (fields.dim() - values.dim()))


def empty_window(shape: tuple[int, ...], like: Tensor) -> RankWindow:
    """A window of no pixels for each of `shape` fields, of the type and on the device of `like`."""
    index = like.new_zeros(shape, dtype=torch.int32)
    return RankWindow(like.new_ones(shape), index, like.new_zeros(shape), index.clone())


def rank_window(
    fields: Tensor,
    start: Tensor,
    size: Tensor,
    kernels: Callable[..., Callable] | None = None,
    width: int | None = None,
) -> RankWindow:
    """The window of the `size` pixels with the ranks from `start` on, the lowest value first.

    >>> field = torch.tensor([[0.5, 0.1, 0.5, 0.5, 0.9]])
    >>> window = rank_window(field, torch.tensor([1]), torch.tensor([2]))
    >>> window.contains(field).int().tolist()
    [[1, 0, 1, 0, 0]]

    Args:
        fields: (..., M) float32 or float64, none negative; inf is a value like others.
        start, size: (...) integer, with start + size <= M; a window of size 0 holds no pixel.
        kernels: `blocks.kernels_for`, if it compiles.
        width: of the images that fields are made of, for which ties are looked up faster.

    Returns:
        Bounds of the shape of `start`. On CUDA nothing is read back.
    """
    rows = fields.flatten(0, -2)
    if np is not None and fields.is_cpu and not is_queued(fields):
        find = by_selection
    else:
        width = width or fields.shape[-1]
        find = partial(by_digits, kernels=kernels, width=width) if kernels else by_bisection
    bounds = find(rows, start.flatten(), size.flatten())
    return RankWindow(*(bound.view(start.shape) for bound in bounds))


def by_selection(fields: Tensor, start: Tensor, size: Tensor) -> tuple[Tensor, ...]:
    """`rank_window` of (R, M) fields, by numpy: counting the digits of the values is faster than
    to select in numpy or torch."""

    def bounds(field: 'np.ndarray', start: int, size: int) -> tuple[float, int, float, int]:
        if size == 0:
            return 1.0, 0, 0.0, 0
        if np.isnan(field.max()):
            return np.nan, 0, np.nan, 0
        # The bits of floats that are not negative have the order of the floats, but for -0.
        bits = (field + 0).view(f'i{field.itemsize}')
        width = 0 if _is_half_one_value(bits) else 8 * field.itemsize - 1
        (low, tie, _), (high, last_tie, ties) = _values_of(bits, (start, start + size - 1), width)
        first, last = 0, len(field)
        # Only where equal values lie on both sides of a bound do their indices part them.
        if tie:
            first = np.flatnonzero(bits == low)[tie]
        if last_tie < ties - 1:
            last = np.flatnonzero(bits == high)[last_tie]
        return low.view(field.dtype), first, high.view(field.dtype), last

    # Not in threads: torch's keep spinning for a while after each of its calls and take the cores.
    rows = map(bounds, fields.numpy(), start.tolist(), size.tolist())
    types = fields.dtype, torch.int32, fields.dtype, torch.int32
    columns = zip(*rows, strict=True)
    return tuple(
        torch.tensor(each, dtype=dtype) for each, dtype in zip(columns, types, strict=True)
    )


_DIGIT = 13  # bits that are counted at once: the counters stay in the cache
_FEW = 2048  # sorting takes no longer than counting


def _is_half_one_value(bits: 'np.ndarray') -> bool:
    """Whether half of the values are equal: sorting is then fast, and counting slow."""
    sample = np.sort(bits[::128])
    return (sample[len(sample) // 2 :] == sample[: (len(sample) + 1) // 2]).any()


def _values_of(
    bits: 'np.ndarray', ranks: Sequence[int], width: int
) -> list[tuple['np.integer', int, int]]:
    """The value at each of the ascending ranks, which of its ties it is, and how many ties it has.

    `bits` differ in their lower `width` bits alone; with 0 they are sorted at once.
    """
    if width == 0 or len(bits) <= _FEW:
        ordered = np.sort(bits)
        values = ordered[list(ranks)]
        first, end = (np.searchsorted(ordered, values, side=side) for side in ('left', 'right'))
        return list(zip(values, ranks - first, end - first, strict=True))
    shift = max(width - _DIGIT, 0)
    digits = bits >> shift & 2**_DIGIT - 1
    ends = np.cumsum(np.bincount(digits))
    found = []
    for digit, inside in groupby(ranks, lambda rank: np.searchsorted(ends, rank, side='right')):
        before = int(ends[digit - 1]) if digit else 0
        members = bits[digits == digit]
        found += _values_of(members, [rank - before for rank in inside], shift)
    return found


def by_bisection(fields: Tensor, start: Tensor, size: Tensor) -> tuple[Tensor, ...]:
    """`rank_window` of (R, M) fields without sorting, bit by bit: a value has the rank r if at most
    r others lie below it."""
    width = 8 * fields.element_size()
    bits = _in_the_order_of(fields)
    index = torch.arange(fields.shape[1], device=fields.device, dtype=torch.int32)

    def largest(lies_below: Callable[[Tensor], Tensor], rank: Tensor, bits: int) -> Tensor:
        value = torch.zeros_like(rank)
        for bit in reversed(range(bits)):
            trial = value | 1 << bit
            value = trial.where(lies_below(trial).sum(1, keepdim=True) <= rank, value)
        return value

    bounds = []
    for rank, nothing in ((start, 1), (start + size - 1, 0)):
        rank = rank.unsqueeze(1).to(bits.dtype)
        value = largest(lambda trial: bits < trial, rank, width - 1)
        ties, before = bits == value, rank - (bits < value).sum(1, keepdim=True)
        tie = largest(lambda trial, ties=ties: ties & (index < trial), before, 31)
        value = value.to(bits.dtype).view(fields.dtype).squeeze(1)
        value = value.masked_fill(fields.isnan().any(1), torch.nan).where(size > 0, nothing)
        bounds += [value, tie.squeeze(1).to(torch.int32)]
    return tuple(bounds)


_DIGITS = 15  # that a pass over the pixels tries: four bits of a value


def by_digits(
    fields: Tensor, start: Tensor, size: Tensor, kernels: Callable[..., Callable], width: int
) -> tuple[Tensor, ...]:
    """`by_bisection`, four bits and both bounds at a time: each pass counts the pixels below all
    the values that the next digit allows. One more counts the ties of every line of `width` pixels,
    of which two are then looked through. That pays if a pass is one kernel: `kernels` compiles.

    The counts are whole numbers, the same in any order.
    """
    below, next_digit = kernels(counts_below), kernels(with_next_digit)
    shifts = 8 * fields.element_size() - 5  # of the highest digit: the sign is none
    rank = torch.stack([start, start + size - 1], 1).int()
    value = torch.zeros_like(rank, dtype=_integers_like(fields))
    before, step = value.int(), torch.full_like(value, 1 << shifts)
    for _ in range(math.ceil(shifts / 4) + 1):
        value, before, step = next_digit(value, before, step, rank, below(fields, value, step))
    return kernels(bounds_among_ties)(
        fields.unflatten(1, (-1, width)), value, before, rank, size.unsqueeze(1)
    )


def counts_below(fields: Tensor, value: Tensor, step: Tensor) -> Tensor:
    """(R, 2, 15) int32: how many of the (R, M) pixels lie below the (R, 2) values with the digits
    1 to 15 at the place that `step`, of the same shape, is the unit of."""
    bits = _in_the_order_of(fields)
    counts = [
        (bits < (value + digit * step)[:, place, None]).sum(-1, dtype=torch.int32)
        for place in range(2)
        for digit in range(1, _DIGITS + 1)
    ]
    return torch.stack(counts, 1).unflatten(1, (2, _DIGITS))


def with_next_digit(
    value: Tensor, before: Tensor, step: Tensor, rank: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The largest of the values with at most `rank` pixels below, how many these are, and the unit
    of the next place. The last digits have less than four bits: the values that overlap with those
    of the place before have too many pixels below, as they had there."""
    fits = counts <= rank.unsqueeze(-1)
    value = value + fits.sum(-1, dtype=value.dtype) * step
    before = torch.maximum(before, counts.where(fits, 0).amax(-1))
    return value, before, (step >> 4).clamp(min=1)


def bounds_among_ties(
    fields: Tensor, value: Tensor, before: Tensor, rank: Tensor, size: Tensor
) -> tuple[Tensor, ...]:
    """The bounds of a window, from the (R, 2) values, how many pixels lie below these, and the
    ranks; size (R, 1).

    Args:
        fields: (R, lines, width) float.
    """
    bits = _in_the_order_of(fields)
    ties = [bits == value[:, place, None, None] for place in range(2)]
    per_line = torch.stack([each.sum(-1, dtype=torch.int32) for each in ties], 1)
    is_empty = size == 0
    has_nan = (fields.isnan() & ~is_empty.unsqueeze(-1)).any(-1).any(-1, keepdim=True)
    rank = rank - before
    line, earlier = _place_of(rank, per_line)
    lines = bits.gather(1, line.unsqueeze(-1).expand(-1, -1, fields.shape[2]))
    column, _ = _place_of(rank - earlier, (lines == value.unsqueeze(-1)).int())
    tie = (line * fields.shape[2] + column).int()
    low, high = value.view(fields.dtype).masked_fill(has_nan, torch.nan).split(1, 1)
    low, high = low.masked_fill(is_empty, 1), high.masked_fill(is_empty, 0)
    return low.squeeze(1), tie[:, 0], high.squeeze(1), tie[:, 1]


def _place_of(rank: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """(...) int64: in which of the (..., T) bins the element of a rank lies, and how many elements
    the bins before it hold."""
    passed = counts.cumsum(-1, dtype=torch.int32) <= rank.unsqueeze(-1)
    place = passed.sum(-1).clamp(max=counts.shape[-1] - 1)  # beyond the last: of no such rank
    return place, counts.where(passed, 0).sum(-1)


def _in_the_order_of(fields: Tensor) -> Tensor:
    """Integers in the order of floats of which none is negative: their bits, -0 as 0."""
    return fields.abs().view(_integers_like(fields))


def _integers_like(fields: Tensor) -> torch.dtype:
    return torch.int32 if fields.element_size() == 4 else torch.int64

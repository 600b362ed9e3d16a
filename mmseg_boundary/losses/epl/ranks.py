"""Which pixels of a field hold given ranks, by value and then by index, without sorted indices."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

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
        """(..., M) bool, for the (..., M) fields that the window was made for."""
        low, first, high, last = (bound.unsqueeze(-1) for bound in self)
        index = torch.arange(fields.shape[-1], device=fields.device, dtype=torch.int32)
        after = (fields > low) | ((fields == low) & (index >= first))
        return after & ((fields < high) | ((fields == high) & (index <= last)))


def empty_window(shape: tuple[int, ...], like: Tensor) -> RankWindow:
    """A window of no pixels for each of `shape` fields, of the type and on the device of `like`."""
    index = like.new_zeros(shape, dtype=torch.int32)
    return RankWindow(like.new_ones(shape), index, like.new_zeros(shape), index.clone())


def rank_window(
    fields: Tensor,
    start: Tensor,
    size: Tensor,
    kernels: Callable[..., Callable] | None = None,
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

    Returns:
        Bounds of the shape of `start`. On CUDA nothing is read back.
    """
    rows = fields.flatten(0, -2)
    if np is not None and fields.is_cpu:
        find = by_selection
    else:
        find = partial(by_digits, kernels=kernels) if kernels else by_bisection
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


_TRIALS = 15  # that a pass over the pixels counts: four bits of a value


def by_digits(
    fields: Tensor, start: Tensor, size: Tensor, kernels: Callable[..., Callable]
) -> tuple[Tensor, ...]:
    """`by_bisection`, four bits and both bounds at a time: each pass counts the pixels below all
    the values that the next digit allows. That pays if a pass is one kernel: `kernels` compiles.

    The counts are whole numbers, the same in any order.
    """
    bits = _in_the_order_of(fields)
    num_bits, num_index_bits = 8 * fields.element_size() - 1, (fields.shape[1] - 1).bit_length()
    below, below_among_ties = kernels(counts_below), kernels(counts_of_ties_below)

    def largest(
        lies_below: Callable[[Tensor], Tensor], rank: Tensor, bits: int
    ) -> tuple[Tensor, Tensor]:
        """The largest value of so many bits with at most `rank` below, and how many are."""
        value, count = torch.zeros_like(rank), torch.zeros_like(rank)
        for shift in reversed(range(0, bits, 4)):
            highest = 2 ** min(4, bits - shift) - 1
            digits = torch.arange(_TRIALS + 1, device=rank.device, dtype=rank.dtype)
            trials = value.unsqueeze(-1) + (digits.clamp(max=highest) << shift)
            counts = lies_below(trials[..., 1:]).to(rank.dtype)
            digit = (counts <= rank.unsqueeze(-1)).sum(-1, keepdim=True).clamp(max=highest)
            counts = torch.cat([count.unsqueeze(-1), counts], -1)
            value, count = (each.gather(-1, digit).squeeze(-1) for each in (trials, counts))
        return value, count

    rank = torch.stack([start, start + size - 1], 1).to(bits.dtype)
    value, before = largest(lambda trials: below(bits, trials), rank, num_bits)
    tie, _ = largest(
        lambda trials: below_among_ties(bits, value, trials),
        (rank - before).int(),
        num_index_bits,
    )
    value = value.view(fields.dtype).masked_fill(fields.amax(1).isnan().unsqueeze(1), torch.nan)
    is_empty = size == 0
    low, high = value.unbind(1)
    first, last = tie.unbind(1)
    return low.masked_fill(is_empty, 1), first, high.masked_fill(is_empty, 0), last


def counts_below(bits: Tensor, trials: Tensor) -> Tensor:
    """(R, 2, T) int32: how many of the (R, M) values lie below each of the trials."""
    per_trial = trials.flatten(1).unsqueeze(-1).unbind(1)
    counts = [(bits < trial).sum(-1, dtype=torch.int32) for trial in per_trial]
    return torch.stack(counts, 1).view(trials.shape)


def counts_of_ties_below(bits: Tensor, value: Tensor, trials: Tensor) -> Tensor:
    """(R, 2, T) int32: how many of the pixels with the (R, 2) values have an index below."""
    index = torch.arange(bits.shape[1], device=bits.device, dtype=torch.int32)
    counts = []
    for place in range(2):
        ties = bits == value[:, place, None]
        for trial in trials[:, place].unsqueeze(-1).unbind(1):
            counts.append(((index < trial) & ties).sum(-1, dtype=torch.int32))
    return torch.stack(counts, 1).view(trials.shape)


def _in_the_order_of(fields: Tensor) -> Tensor:
    """Integers in the order of floats of which none is negative: their bits, -0 as 0."""
    return (fields + 0).view(torch.int32 if fields.element_size() == 4 else torch.int64)

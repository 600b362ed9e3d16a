import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_boundary.losses.blocks import as_it_stands
from mmseg_boundary.losses.epl.ranks import (
    RankWindow,
    by_bisection,
    by_digits,
    by_selection,
    empty_window,
    rank_window,
)


def by_digits_uncompiled(fields, start, size):
    """The pixels in lines, as many in a line as lines if that is possible."""
    pixels = fields.shape[1]
    width = min(
        (width for width in range(1, pixels + 1) if pixels % width == 0),
        key=lambda width: abs(width - pixels // width),
    )
    return by_digits(fields, start, size, as_it_stands, width)


METHODS = [by_selection, by_bisection, by_digits_uncompiled]


def by_stable_sort(field, start, size):
    order = field.argsort(stable=True)
    chosen = torch.zeros_like(field, dtype=torch.bool)
    chosen[order[start : start + size]] = True
    return chosen


@given(st.data())
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_the_pixels_are_those_of_a_stable_sort(method, dtype, data):
    """With few values, so that most pixels tie, and inf among them."""
    values = st.sampled_from([0.0, 1e-42, 0.1, 0.30000001, 1.0, 7.0, torch.inf])
    field = torch.tensor(data.draw(st.lists(values, min_size=1, max_size=30)), dtype=dtype)
    start = data.draw(st.integers(0, len(field)))
    size = data.draw(st.integers(0, len(field) - start))
    window = RankWindow(*method(field[None], torch.tensor([start]), torch.tensor([size])))
    assert window.contains(field[None])[0].equal(by_stable_sort(field, start, size))


@given(st.data())
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('share', [0.0, 0.2, 0.9])
def test_so_they_are_in_large_fields(method, share, data):
    """With no, some and mostly equal values: a selection, and a sort."""
    size = data.draw(st.integers(300, 3000))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    field = torch.rand(size, generator=generator)
    field[torch.rand(size, generator=generator) < share] = 0.5
    bounds = sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
    start, count = bounds[0], bounds[1] - bounds[0]
    window = RankWindow(*method(field[None], torch.tensor([start]), torch.tensor([count])))
    assert window.contains(field[None])[0].equal(by_stable_sort(field, start, count))


def hard_fields(size, dtype):
    """What makes digits crowd: spread, crowded in one bin or two, ties within and across bins."""
    generator = torch.Generator().manual_seed(0)
    spread, other = torch.rand(2, size, generator=generator, dtype=dtype)
    return {
        'spread': 4 * spread,
        'nine of ten are 0': spread.where(other < 0.1, 0),
        'and some of these -0': spread.where(other < 0.1, torch.where(other < 0.5, 0.0, -0.0)),
        'one value': torch.full_like(spread, 0.5),
        'all in one bin': 1 + spread / 2**9,
        'all in one bin of two digits': 1 + spread / 2**20,
        'two crowds': (spread / 1000).where(other < 0.5, 1 + spread / 1000),
        'inf': spread.where(other < 0.6, torch.inf),
        'forty values': (40 * spread).round() / 10,
        'a value that a tenth has': spread.where(other < 0.9, 0.5),
        'subnormal': spread * torch.finfo(dtype).smallest_normal,
    }


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('name', hard_fields(1, torch.float32))
@pytest.mark.parametrize('method', METHODS)
def test_so_they_are_where_values_crowd(method, name, dtype):
    field = hard_fields(2**14 + 3, dtype)[name]
    assert field.signbit().any() == (name == 'and some of these -0')
    size = len(field)
    windows = [(0, size), (0, 1), (size - 1, 1), (size // 3, size // 2), (size // 2, 2)]
    windows += [(start, 3000) for start in range(0, size - 3000, 1500)]
    start, count = torch.tensor(windows).T
    window = RankWindow(*method(field.expand(len(start), -1), start, count))
    for chosen, bounds in zip(window.contains(field.expand(len(start), -1)), windows):
        assert chosen.equal(by_stable_sort(field + 0, *bounds)), bounds


@pytest.mark.parametrize('sign', [0, 1])
@pytest.mark.parametrize('dtype, integer', [(torch.float32, 'int32'), (torch.float64, 'int64')])
@pytest.mark.parametrize('method', METHODS)
def test_every_nan_is_one(method, dtype, integer, sign):
    """Of either sign, and that next to inf."""
    fields = torch.rand(3, 5000, generator=torch.Generator().manual_seed(0)).to(dtype)
    fields[1, 17], fields[2, 4000] = torch.nan, torch.inf
    bits = fields.view(getattr(torch, integer))
    bits[2, 4000] += 1
    bits[1:, [17, 4000]] |= sign * torch.iinfo(bits.dtype).min
    assert fields[1:].isnan().any(1).all()
    window = RankWindow(*method(fields, torch.full((3,), 7), torch.full((3,), 9)))
    assert window.low.isnan().tolist() == window.high.isnan().tolist() == [False, True, True]


def test_every_window_of_two_pixels():
    """One selection may happen to put both in their places, not all of them."""
    field = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    start = torch.arange(len(field) - 1)
    fields = field.expand(len(start), -1)
    low, _, high, _ = by_selection(fields, start, torch.full_like(start, 2))
    ordered = field.sort().values
    assert low.equal(ordered[:-1]) and high.equal(ordered[1:])


def test_an_empty_window_has_no_pixel():
    fields = torch.tensor([[[0.0, 0.5, 1.0, 2.0, torch.inf]]])
    assert not empty_window((1, 1), fields).contains(fields).any()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_every_field_has_ranks_of_its_own(dtype):
    generator = torch.Generator().manual_seed(0)
    fields = torch.rand(2, 3, 500, generator=generator).to(dtype)
    start = torch.tensor([[0, 100, 499], [250, 0, 0]])
    size = torch.tensor([[500, 17, 1], [250, 0, 1]])
    chosen = rank_window(fields, start, size).contains(fields)
    for n in range(2):
        for k in range(3):
            expected = by_stable_sort(fields[n, k], start[n, k], size[n, k])
            assert chosen[n, k].equal(expected)


@pytest.mark.parametrize('method', METHODS)
def test_a_field_with_nan_has_bounds_that_are_nan(method):
    fields = torch.tensor([[0.0, torch.nan, 1.0], [0.0, 2.0, 1.0]])
    low, _, high, _ = method(fields, torch.tensor([1, 1]), torch.tensor([1, 1]))
    assert low.isnan().tolist() == high.isnan().tolist() == [True, False]

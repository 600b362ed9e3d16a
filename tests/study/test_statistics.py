"""The statistics of a study, on made-up scores whose answers were worked out by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from mmseg_boundary.metrics import iou, score_boundary_f
from mmseg_boundary.study.statistics import (
    ImageSums,
    Interval,
    blocks_of,
    bootstrap_coverage,
    crossed_bootstrap,
    detectable_difference,
    holm,
    mean_over_classes,
    mean_over_images,
    non_inferiority,
    paired_differences,
    require_reachable,
    sign_flip_p,
    t_coverage,
    t_interval,
)

INF = math.inf


def naive_sign_flip_p(differences):
    """The definition: every way to choose the signs, one after the other."""
    observed = abs(sum(differences))
    ways = list(itertools.product((1, -1), repeat=len(differences)))
    sums = [abs(sum(s * d for s, d in zip(signs, differences))) for signs in ways]
    return sum(each >= observed - 1e-9 for each in sums) / len(ways)


# --- Pairs ----------------------------------------------------------------------------------------


def test_pairs_are_of_the_same_seed():
    arm, baseline = {7: 52.0, 3: 60.0, 9: 1.0}, {3: 61.5, 7: 50.0, 8: 2.0}
    assert paired_differences(arm, baseline).tolist() == [-1.5, 2.0]
    assert paired_differences({}, baseline).tolist() == []


def test_a_run_that_ended_in_nan_has_lost_and_is_no_missing_pair():
    nan = math.nan
    arm = {0: 52.0, 1: nan, 2: 60.0, 3: nan}
    baseline = {0: 50.0, 1: 51.0, 2: nan, 3: nan}
    assert paired_differences(arm, baseline).tolist() == [2, -INF, INF, 0]


# --- Student's interval ---------------------------------------------------------------------------


def test_t_interval_by_hand():
    """Mean 2.5, deviation sqrt(5/3), error 0.6455; t of 3 degrees at 97.5 % is 3.1824."""
    low, high = t_interval([1, 2, 3, 4])
    assert (low, high) == pytest.approx((2.5 - 2.0543, 2.5 + 2.0543), abs=1e-4)
    rows = t_interval([[1, 2, 3, 4], [11, 12, 13, 14]])
    assert rows.low == pytest.approx([low, low + 10]) and rows.high.shape == (2,)


@pytest.mark.parametrize('differences', [[], [1.0], [1, 2, -INF], [INF, -INF], [INF, INF]])
def test_no_interval_where_there_is_nothing_to_average(differences):
    assert np.isnan(t_interval(differences)).all()


# --- The exact test -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'differences, p',
    [
        ([1, 2, 3], 2 / 8),  # 6 and -6 alone are as far out
        ([3, -1, 2], 4 / 8),  # of 6, 4, 2 and 0, each twice
        ([0, 1], 1),
        ([0, 0, 0], 1),
        ([1] * 8, 2 / 256),
        ([-1] * 8, 2 / 256),
        ([1], 1),
        # A run lost against any wins: as far out as it can be without it.
        ([5, 5, 5, 5, 5, 5, 5, -INF], 1),
        ([-5, -5, -INF], 2 / 8),
        ([-INF] * 8, 2 / 256),
        ([INF, -INF, 1, 1], 3 / 4),  # the pair of them away, as [2, 2, 0, 0] and with 1, 1
    ],
)
def test_sign_flips_by_hand(differences, p):
    assert sign_flip_p(differences) == pytest.approx(p)


def test_sign_flips_agree_with_the_definition():
    random = np.random.default_rng(1)
    for size in (2, 3, 5, 7):
        for differences in (random.normal(0.5, 1, size), random.integers(-2, 3, size)):
            assert sign_flip_p(differences) == pytest.approx(naive_sign_flip_p(differences))


def test_without_a_pair_there_is_no_p():
    assert math.isnan(sign_flip_p([]))


def test_holm_by_hand():
    """0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04, which may not come out below 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1] and holm([0.02]) == [0.02] and holm([]) == []


def test_holm_counts_comparisons_that_are_not_in_yet():
    first, waiting, third = holm([0.01, math.nan, 0.02])
    assert (first, third) == pytest.approx((0.03, 0.04)) and math.isnan(waiting)
    for missing in (0.001, 0.015, 0.5):  # and is never too hopeful
        later = holm([0.01, missing, 0.02])
        assert later[0] <= first and later[2] <= third


def test_a_family_that_cannot_reach_the_level_is_refused():
    require_reachable(6, 8)  # 12 / 256 = 0.047
    require_reachable(1, 6)
    with pytest.raises(ValueError, match='7 comparisons over 8 .* 0.055 at best.* 6 arms, .* 9 se'):
        require_reachable(7, 8)
    with pytest.raises(ValueError, match='is asked: give 6 seeds'):
        require_reachable(1, 3)
    with pytest.raises(ValueError, match='17 seeds are given.* at most 16'):
        require_reachable(1, 17)


# --- Non-inferiority ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'differences, outcome',
    [
        # mean -0.1, error 0.0577, t of 3 degrees at 95 % is 2.3534: -0.236 to 0.036
        ([-0.2, 0.0, -0.2, 0.0], 'shown'),
        # ten times as far: -2.36 to 0.36
        ([-2.0, 0.0, -2.0, 0.0], 'not shown'),
        # -1.136 to -0.864
        ([-1.1, -0.9, -1.1, -0.9], 'worse'),
        ([0.3, 0.3, 0.3, -INF], 'not shown'),
        ([0.3], 'not shown'),
    ],
)
def test_three_outcomes(differences, outcome):
    assert non_inferiority(differences, 0.5) == outcome


def test_the_margin_is_where_it_says():
    differences = [-0.2, 0.0, -0.2, 0.0]
    assert non_inferiority(differences, 0.2359) == 'shown'
    assert non_inferiority(differences, 0.2357) == 'not shown'


# --- What can be found at all ---------------------------------------------------------------------


def test_detectable_difference_by_hand():
    """6 x 8: only eight equal signs will do, which 0.8 = Phi(d)^8 has at d = 1.919."""
    assert detectable_difference(1, 8, 6) == pytest.approx(1.919, abs=0.05)
    assert detectable_difference(3, 8, 6) == 3 * detectable_difference(1, 8, 6)
    assert detectable_difference(1, 8, 1) < detectable_difference(1, 8, 2)
    assert detectable_difference(1, 8, 7) == INF


def test_such_a_difference_is_found_four_times_in_five():
    random = np.random.default_rng(3)
    true = detectable_difference(2, 7, 3)
    found = [sign_flip_p(random.normal(true, 2, 7)) <= 0.05 / 3 for _ in range(500)]
    assert 0.76 < np.mean(found) < 0.84


# --- Blocks and the bootstrap ---------------------------------------------------------------------


def test_blocks_are_consecutive_and_never_cross_a_drive():
    """CamVid's test images, in any order: 3 + 8 blocks."""
    names = [f'0001TP_{9 * frame:06}' for frame in range(62)]
    names += [f'Seq05VD_f{30 * frame:05}' for frame in range(171)]
    random = np.random.default_rng(0)
    names = [names[place] for place in random.permutation(len(names))]
    blocks = blocks_of(names)
    assert [len(block) for block in blocks] == [21, 21, 20, 22, 22, 22, 21, 21, 21, 21, 21]
    assert sorted(np.concatenate(blocks)) == list(range(233))
    drives = [{names[place].split('_')[0] for place in block} for block in blocks]
    assert all(len(drive) == 1 for drive in drives)
    in_order = [names[place] for block in blocks for place in block]
    assert in_order == sorted(names)


def test_names_without_a_drive_are_blocks_each():
    assert [block.tolist() for block in blocks_of(['b', 'a', '000010'])] == [[2], [1], [0]]


def test_frames_are_in_the_order_of_their_numbers():
    (block,) = blocks_of(['x_f10', 'x_f9', 'x_f100'])
    assert block.tolist() == [1, 0, 2]


def test_scores_are_those_of_the_metrics():
    random = np.random.default_rng(2)
    union = random.integers(0, 9, (1, 5, 3))
    union[..., 2] = 0  # a class in neither map
    intersection = random.integers(0, union + 1)
    counts = torch.from_numpy(np.stack([intersection, union], -1)[0]).sum(0)
    expected = 100 * iou(counts).nanmean().item()
    assert mean_over_images(ImageSums(intersection, union)) == pytest.approx([expected])

    first = mean_over_classes(intersection[0, 0], union[0, 0])
    assert first == pytest.approx(
        100
        * iou(torch.stack([*map(torch.from_numpy, (intersection[0, 0], union[0, 0]))], -1))
        .nanmean()
        .item()
    )
    assert np.isnan(mean_over_classes(np.zeros(3), np.zeros(3)))

    f = torch.rand(5, 3, 1, dtype=torch.float64)
    f[1:, 1] = f[:, 2] = math.nan
    sums = ImageSums(f.nan_to_num().numpy()[None, ..., 0], ~f.isnan().numpy()[None, ..., 0])
    assert mean_over_images(sums) == pytest.approx([100 * score_boundary_f(f)[1].item()])


def sums_of(differences):
    """What one class of one pixel per image adds, (S, N)."""
    numerators = np.asarray(differences, dtype=float)[..., None]
    return ImageSums(numerators, np.ones_like(numerators))


def test_bootstrap_by_hand():
    """Two seeds, of 0 and 1 in all images: a resample's mean is 0, 50 or 100, in 1:2:1."""
    names = [f'{drive}_{frame:03}' for drive in 'ab' for frame in range(80)]
    blocks = blocks_of(names)
    assert len(blocks) == 8
    arm, baseline = sums_of([[0] * 160, [1] * 160]), sums_of([[0] * 160] * 2)
    assert crossed_bootstrap(arm, baseline, blocks) == (0, 100)
    assert crossed_bootstrap(baseline, arm, blocks) == (-100, 0)
    alike = sums_of([[0.25] * 160] * 2)
    assert crossed_bootstrap(alike, baseline, blocks) == (25, 25)


def test_bootstrap_draws_blocks_not_images():
    """One block of eight differs: it is drawn k times with Binomial(8, 1/8), of which 97.5 % are
    at most 3 (98.9 %) and not 2 (93.0 %)."""
    arm = np.zeros((2, 160))
    arm[:, 20:40] = 1
    blocks = [np.arange(start, start + 20) for start in range(0, 160, 20)]
    low, high = crossed_bootstrap(sums_of(arm), sums_of(0 * arm), blocks, 4000)
    assert (low, high) == pytest.approx((0, 37.5))
    low, high = crossed_bootstrap(sums_of(arm), sums_of(0 * arm), np.arange(160)[:, None], 4000)
    assert low > 5 and high < 25


def test_bootstrap_scores_the_resample_anew():
    """The ratio of sums, not a mean of ratios: with k of eight large images it is 90 k in
    90 k + 10 (8 - k), and 95 % of the resamples have 1 to 7 of them."""
    numerators = np.array([[90, 0, 90, 0, 90, 0, 90, 0]] * 2, dtype=float)[..., None]
    denominators = np.array([[90, 10] * 4] * 2, dtype=float)[..., None]
    arm = ImageSums(numerators, denominators)
    nothing = ImageSums(0 * numerators, denominators)
    blocks = [np.array([place]) for place in range(8)]
    assert mean_over_images(arm) == pytest.approx([90, 90])
    assert crossed_bootstrap(arm, nothing, blocks) == pytest.approx((56.25, 98.4375))


def test_bootstrap_is_the_same_each_time():
    random = np.random.default_rng(0)
    arm, baseline = sums_of(random.random((3, 9))), sums_of(random.random((3, 9)))
    blocks = [np.array([place]) for place in range(9)]
    assert crossed_bootstrap(arm, baseline, blocks) == crossed_bootstrap(arm, baseline, blocks)
    order = random.permutation(9)
    moved = [ImageSums(*(part[:, order] for part in sums)) for sums in (arm, baseline)]
    there = [np.array([np.flatnonzero(order == place)[0]]) for place in range(9)]
    assert crossed_bootstrap(*moved, there) == crossed_bootstrap(arm, baseline, blocks)


@pytest.mark.parametrize('seeds, blocks', [(8, 7), (1, 11)])
def test_no_bootstrap_from_too_few(seeds, blocks):
    """CamVid's val is one clip: five blocks."""
    sums = sums_of(np.ones((seeds, blocks)))
    interval = crossed_bootstrap(sums, sums, [np.array([place]) for place in range(blocks)])
    assert isinstance(interval, Interval) and np.isnan(interval).all()


# --- How often the intervals hold the true mean ---------------------------------------------------


@pytest.mark.parametrize('seeds', [2, 3, 8])
def test_coverage_of_the_t_interval(seeds):
    assert 0.94 <= t_coverage(seeds) <= 0.96


def test_coverage_of_the_bootstrap():
    assert 0.86 <= bootstrap_coverage(8, 11) <= 0.95


def test_coverage_sees_an_interval_that_is_too_short(monkeypatch):
    def half(differences):
        low, high = t_interval(differences)
        return Interval(low + (high - low) / 4, high - (high - low) / 4)

    monkeypatch.setattr('mmseg_boundary.study.statistics.t_interval', half)
    assert t_coverage(8) < 0.8

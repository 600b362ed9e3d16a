"""The statistics of a study's scores.

The unit is the pair: an arm and its baseline, trained from the same seed. Scores are in points, and
a higher score is better.

Shape shorthand:
    S: pairs, one per seed
    N: images, in B blocks
    K: classes
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.05
CONFIDENCE = 1 - LEVEL
POWER = 0.8
MOST_SEEDS = 16  # the exact test goes through 2^seeds signs
BLOCK_LENGTH = 20  # frames
FEWEST_BLOCKS = 8


class Interval(NamedTuple):
    """The ends of a confidence interval; NaN where there is none."""

    low: float
    high: float


class ImageSums(NamedTuple):
    """What the images add to a score, (S, N, K) both: a class scores sum / sum over images.

    Intersection and union give the IoU; F (0 for NaN) and whether it is not NaN give its mean over
    images. Images stand in the same order for all seeds.
    """

    numerators: np.ndarray
    denominators: np.ndarray


# --- Over seeds, given the images -----------------------------------------------------------------


def paired_differences(arm: Mapping[int, float], baseline: Mapping[int, float]) -> np.ndarray:
    """(S,) arm - baseline for each seed that both have, ascending.

    NaN is the score of a run that ended in NaN, which has lost: it counts as minus infinity, so
    that the pair is -inf, or inf if the baseline's run ended so; 0 if both did. No pair is dropped.

    >>> paired_differences({0: 52.0, 1: np.nan, 2: 60.0}, {0: 50.0, 1: 51.0})
    array([  2., -inf])
    """
    seeds = sorted(arm.keys() & baseline.keys())
    ours, theirs = (np.array([run[seed] for seed in seeds], dtype=float) for run in (arm, baseline))
    ours, theirs = (np.where(np.isnan(scores), -np.inf, scores) for scores in (ours, theirs))
    both_lost = np.isinf(ours) & np.isinf(theirs)
    return np.where(both_lost, 0, ours - np.where(both_lost, 0, theirs))


def t_interval(differences: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Student's interval of the mean, over the last axis: (..., S) to two arrays (...).

    Returns:
        The ends; NaN where there are fewer than two differences or one is infinite, since a run
        that ended in NaN has no score to average.
    """
    differences = np.asarray(differences, dtype=float)
    pairs = differences.shape[-1]
    if pairs < 2:
        return Interval(*np.full((2, *differences.shape[:-1]), np.nan))
    with np.errstate(invalid='ignore'):  # inf - inf
        mean = differences.mean(-1)
        error = differences.std(-1, ddof=1) / np.sqrt(pairs)
        reach = stats.t.ppf((1 + confidence) / 2, pairs - 1) * error
        return Interval(mean - reach, mean + reach)


def sign_flip_p(differences: ArrayLike) -> float:
    """The exact two-sided sign-flip test of the mean (Fisher's randomisation test of pairs).

        p = share of the 2^S ways to choose the signs whose |mean| is at least the observed one

    It asks only that each difference be as likely as its negative if the arm changes nothing.
    An infinite difference outweighs all finite ones together. The smallest p is 2 / 2^S.

    Returns:
        In [0, 1]; NaN without a difference.
    """
    differences = np.asarray(differences, dtype=float)
    if differences.size < 2:
        return 1.0 if differences.size else np.nan
    finite = np.isfinite(differences)
    beyond = 2 * np.abs(differences[finite]).sum() + 1
    bounded = np.where(finite, differences, np.sign(differences) * beyond)
    test = stats.permutation_test(
        (bounded,),
        np.mean,
        permutation_type='samples',
        vectorized=True,
        n_resamples=2**differences.size,
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a declared family, adjusted for their number (Holm 1979).

    NaN is a comparison that is not in yet: it stays NaN, and the others are adjusted as if it
    were to end at 1, which never makes them smaller than they will be.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)  # NaN last, so that it spoils none of the others
    factors = len(p) - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * factors)
    return adjusted.clip(max=1).tolist()


def smallest_adjusted_p(comparisons: int, seeds: int) -> float:
    """The smallest p of the sign-flip test, 2 / 2^seeds, as Holm multiplies it."""
    return 2 * comparisons / 2**seeds


def require_reachable(comparisons: int, seeds: int) -> None:
    """Raises a ValueError if no result could make `comparisons` significant together."""
    if seeds > MOST_SEEDS:
        raise ValueError(
            f'{seeds} seeds are given, and the exact test takes at most {MOST_SEEDS}: give fewer.'
        )
    smallest = smallest_adjusted_p(comparisons, seeds)
    if smallest > LEVEL:
        most = int(LEVEL * 2**seeds / 2)
        enough = next(n for n in range(seeds, 64) if smallest_adjusted_p(comparisons, n) <= LEVEL)
        fewer = f'compare at most {most} arms, or ' if most else ''
        raise ValueError(
            f'{comparisons} comparisons over {seeds} seeds can reach an adjusted p of '
            f'{smallest:.2g} at best, and {LEVEL} is asked: {fewer}give {enough} seeds.'
        )


def non_inferiority(differences: ArrayLike, margin: float) -> str:
    """Whether the arm loses less than `margin` points, a positive number.

    Returns:
        'shown': the lower end of the one-sided 95 % interval is above -margin.
        'worse': the upper end of the one-sided 95 % interval is below -margin.
        'not shown': neither, or there is no interval (see `t_interval`).
    """
    low, high = t_interval(differences, 1 - 2 * LEVEL)
    if low > -margin:
        return 'shown'
    return 'worse' if high < -margin else 'not shown'


def detectable_difference(deviation: float, seeds: int, comparisons: int = 1) -> float:
    """The smallest true difference that the study finds with a probability of 80 %.

    Found is: the sign-flip test's p is at most 0.05 / comparisons, Holm's first step. Simulated,
    with normal differences: shifted by d, the observed signs come among the k most extreme as
    soon as -d is no more than the k-th smallest mean over a subset of the differences.

    Args:
        deviation: of the paired differences between runs of different seeds, in points.
        seeds: S.
        comparisons: those that the study declares.

    Returns:
        In points; infinity if such a p cannot be reached at all.
    """
    return deviation * _detectable_deviations(seeds, comparisons)


@lru_cache
def _detectable_deviations(seeds: int, comparisons: int, simulations: int = 2000) -> float:
    most_extreme = int(LEVEL / comparisons * 2**seeds / 2)
    if most_extreme == 0:
        return np.inf
    subsets = (np.arange(1, 2**seeds)[:, None] >> np.arange(seeds) & 1).astype(float)
    subsets /= subsets.sum(1, keepdims=True)
    samples = np.random.default_rng(0).standard_normal((simulations, seeds))
    needed = [
        -np.partition(subsets @ sample, most_extreme - 1)[most_extreme - 1] for sample in samples
    ]
    return float(np.quantile(needed, POWER))


# --- Over seeds and images ------------------------------------------------------------------------


def blocks_of(names: Sequence[str], length: int = BLOCK_LENGTH) -> list[np.ndarray]:
    """The places of the images in blocks of consecutive frames of a drive.

    A drive is cut into as many blocks of at least `length` frames as it has, alike to a frame; a
    shorter one is a block. Neighbouring frames are no independent samples; blocks are nearly so.

    >>> [len(block) for block in blocks_of([f'0001TP_{frame:06}' for frame in range(62)])]
    [21, 21, 20]
    """
    return [
        block
        for frames in drives_of(names).values()
        for block in np.array_split(frames, max(1, len(frames) // length))
    ]


def drives_of(names: Sequence[str]) -> dict[str, np.ndarray]:
    """{drive: the places of its images by frame}.

    The drive is what stands before the last '_' of a name, the frame what follows; an image without
    a drive is one.

    >>> {drive: frames.tolist() for drive, frames in drives_of(['b_2', 'a_1', 'b_1']).items()}
    {'a': [1], 'b': [2, 0]}
    """

    def drive_and_frame(place: int) -> tuple[str, list]:
        drive, _, frame = names[place].rpartition('_')
        # numbers as such: 'f9' comes before 'f10'
        parts = re.split(r'(\d+)', frame)
        return drive or frame, [int(part) if part.isdecimal() else part for part in parts]

    places = sorted(range(len(names)), key=drive_and_frame)
    drives = groupby(places, lambda place: drive_and_frame(place)[0])
    return {drive: np.array(list(frames)) for drive, frames in drives}


def mean_over_images(sums: ImageSums) -> np.ndarray:
    """(S,) the score over all images, in points: the mean over classes of sum / sum."""
    return mean_over_classes(sums.numerators.sum(-2), sums.denominators.sum(-2))


def mean_over_classes(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """(...) from (..., K), in points: the mean ratio of the classes whose denominator is not 0; NaN
    without any. Of single images it is their score."""
    present = denominators > 0
    ratios = np.divide(numerators, denominators, out=np.zeros(present.shape), where=present)
    with np.errstate(invalid='ignore'):  # 0 / 0
        return 100 * ratios.sum(-1) / present.sum(-1)


def crossed_bootstrap(
    arm: ImageSums,
    baseline: ImageSums,
    blocks: Sequence[np.ndarray],
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The 95 % percentile interval of the mean difference of scores over other seeds and images.

    Each resample draws S seeds and, independently of them, B blocks, both with replacement, and
    scores the drawn images anew (Owen 2007, the pigeonhole bootstrap).

    Args:
        arm, baseline: of the same seeds and images, in the same order.
        blocks: from `blocks_of`.

    Returns:
        In points; NaN with fewer than eight blocks or two seeds, too few to resample.
    """
    seeds = len(arm.numerators)
    if len(blocks) < FEWEST_BLOCKS or seeds < 2:
        return Interval(np.nan, np.nan)
    draw = np.random.default_rng(seed).multinomial
    block_counts = draw(len(blocks), np.full(len(blocks), 1 / len(blocks)), resamples)
    seed_counts = draw(seeds, np.full(seeds, 1 / seeds), resamples)

    def scores(sums: ImageSums) -> np.ndarray:
        per_block = (np.stack([part[:, block].sum(1) for block in blocks]) for part in sums)
        return mean_over_classes(*(np.tensordot(block_counts, part, 1) for part in per_block))

    differences = (seed_counts * (scores(arm) - scores(baseline))).sum(1) / seeds
    return Interval(*np.quantile(differences, [LEVEL / 2, 1 - LEVEL / 2]).tolist())


# --- How far the intervals can be trusted ---------------------------------------------------------


def t_coverage(seeds: int, simulations: int = 20_000, seed: int = 0) -> float:
    """The share of simulated studies whose `t_interval` holds the true mean, ideally 95 %.

    Their differences are normal, around 0.
    """
    differences = np.random.default_rng(seed).standard_normal((simulations, seeds))
    low, high = t_interval(differences)
    return float(np.mean((low < 0) & (high > 0)))


@lru_cache
def bootstrap_coverage(
    seeds: int, blocks: int, simulations: int = 500, resamples: int = 400, seed: int = 0
) -> float:
    """The share of simulated studies whose `crossed_bootstrap` holds the true mean.

    Their differences are normal, around 0, and vary over seeds, over blocks, or over both and with
    each single one of them: the least of the three shares. It is below 95 % where seeds or blocks
    are few.
    """
    random = np.random.default_rng(seed)
    one_each = [np.array([block]) for block in range(blocks)]
    ones = np.ones((seeds, blocks, 1))
    baseline = ImageSums(0 * ones, ones)
    held = np.zeros(3)
    for simulation in range(simulations):
        over_seeds = random.standard_normal((seeds, 1, 1)) * ones
        over_blocks = random.standard_normal((1, blocks, 1)) * ones
        over_both = over_seeds + over_blocks + random.standard_normal(ones.shape)
        for place, differences in enumerate((over_seeds, over_blocks, over_both)):
            arm = ImageSums(differences, ones)
            low, high = crossed_bootstrap(arm, baseline, one_each, resamples, simulation)
            held[place] += low < 0 < high
    return float(held.min()) / simulations

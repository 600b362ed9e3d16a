"""The answers of a study's finished runs to its question."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .results import REGION, Endpoint, Study, image_sums
from .statistics import (
    LEVEL,
    ImageSums,
    Interval,
    blocks_of,
    crossed_bootstrap,
    drives_of,
    holm,
    mean_over_images,
    non_inferiority,
    sign_flip_p,
    t_interval,
)

REGION_ENDPOINT = Endpoint(REGION, REGION)


@dataclass(frozen=True)
class Comparison:
    """An arm and the strongest baseline, on one split.

    Attributes:
        adjusted_p: Holm's, of the sign-flip test at the primary endpoint; NaN where no comparison
            was declared, not all of its runs are in, or the split is not a decisive one.
    """

    study: Study
    arm: str
    split: str
    adjusted_p: float

    @property
    def title(self) -> str:
        return self.study.titles[self.arm]

    @property
    def baseline(self) -> str:
        return self.study.baseline

    @cached_property
    def pairs(self) -> int:
        """How many seeds both have."""
        return len(self.differences(self.study.primary))

    def differences(self, endpoint: Endpoint) -> np.ndarray:
        """(S,) points by which the arm is above the baseline."""
        return self.study.differences(self.arm, self.baseline, self.split, endpoint)

    def mean(self, endpoint: Endpoint) -> float:
        """NaN without a pair, and where a run ended in NaN."""
        differences = self.differences(endpoint)
        finite = differences.size and np.isfinite(differences).all()
        return float(differences.mean()) if finite else np.nan

    def interval(self, endpoint: Endpoint) -> Interval:
        """The interval over seeds, given the images."""
        return t_interval(self.differences(endpoint))

    @cached_property
    def region(self) -> str:
        """Whether its mIoU is non-inferior; '' without a margin or two pairs."""
        margin = self.study.plan['margins'].get(REGION)
        if margin is None or self.pairs < 2:
            return ''
        return non_inferiority(self.differences(REGION_ENDPOINT), margin)

    def bootstrap(self, endpoint: Endpoint) -> Interval:
        """The interval over seeds and blocks of images; NaN with too few, or without the per-image
        files."""
        found = self.image_sums(endpoint)
        if found is None:
            return Interval(np.nan, np.nan)
        names, arm, baseline = found
        return crossed_bootstrap(arm, baseline, blocks_of(names))

    def per_drive(self, endpoint: Endpoint) -> dict[str, np.ndarray]:
        """{drive: (S,) the differences on its images alone}; {} without the per-image files."""
        found = self.image_sums(endpoint)
        if found is None:
            return {}
        names, arm, baseline = found

        def scores(sums: ImageSums, frames: np.ndarray) -> np.ndarray:
            return mean_over_images(ImageSums(*(part[:, frames] for part in sums)))

        return {
            drive: scores(arm, frames) - scores(baseline, frames)
            for drive, frames in drives_of(names).items()
        }

    def image_sums(self, endpoint: Endpoint) -> tuple[list[str], ImageSums, ImageSums] | None:
        """The names of the images, and what they add to the scores of the arm and of the baseline;
        None without the per-image files."""
        ours, theirs = self.study.pairs(self.arm, self.baseline, self.split)
        arm, baseline = image_sums(ours, endpoint), image_sums(theirs, endpoint)
        return None if arm is None or baseline is None else (arm[0], arm[1], baseline[1])

    @property
    def is_significant(self) -> bool:
        """At the primary endpoint, adjusted for all declared comparisons; False while runs are
        missing."""
        return self.adjusted_p < LEVEL

    @property
    def meets_target(self) -> bool:
        """At the primary endpoint significant and above the declared gain, on no other endpoint
        below the baseline, and mIoU non-inferior where a margin is declared."""
        gain = self.study.gain or 0
        return (
            self.is_significant
            and self.mean(self.study.primary) >= gain
            and all(self.mean(each) >= 0 for each in self.study.endpoints[1:])
            and self.region in ('', 'shown')
        )


def shown_endpoints(study: Study) -> list[Endpoint]:
    """The endpoints, and mIoU where it is none."""
    named = {each.key for each in study.endpoints if not each.classes}
    return [*study.endpoints, *([] if REGION in named else [REGION_ENDPOINT])]


def compare(study: Study, split: str) -> list[Comparison]:
    """The declared comparisons of a split, or those of all other arms where none are declared;
    without those that have no pair yet."""
    arms = study.compared or [arm for arm in study.titles if arm != study.baseline]
    p_values = [_p_value(study, arm, split) for arm in arms]
    adjusted = holm(p_values) if study.compared else p_values
    comparisons = [Comparison(study, arm, split, p) for arm, p in zip(arms, adjusted, strict=True)]
    return [each for each in comparisons if each.pairs]


def explore(study: Study, split: str) -> list[Comparison]:
    """All other arms beside declared comparisons: exploratory, without a p."""
    others = [arm for arm in study.titles if arm not in (study.baseline, *study.compared)]
    found = [Comparison(study, arm, split, np.nan) for arm in others if study.compared]
    return [each for each in found if each.pairs]


def _p_value(study: Study, arm: str, split: str) -> float:
    differences = study.differences(arm, study.baseline, split, study.primary)
    declared = arm in study.compared and split in study.decisive
    whole = len(differences) == len(study.plan['seeds'])
    return sign_flip_p(differences) if declared and whole else np.nan


def blocks_in(study: Study, split: str) -> int:
    """The blocks of a split's images; 0 without a per-image file."""
    for arm in study.titles:
        for run in study.reported(arm, split):
            names_and_sums = image_sums([run], study.primary)
            if names_and_sums:
                return len(blocks_of(names_and_sums[0]))
    return 0


# --- In words -------------------------------------------------------------------------------------


def verdict(study: Study) -> list[str]:
    """What the study is at its scale, and the answer of each split to the question."""
    scale = study.plan.get('scale')
    small = [f'Scale {scale["name"]}: {scale["title"]}. {scale["caveat"]}'] if scale else []
    return [*small, *(f'{split}: {" ".join(_sentences(study, split))}' for split in study.splits)]


def _sentences(study: Study, split: str) -> Iterator[str]:
    done, all_of_them = study.progress(split)
    if study.is_closed(split):
        yield f'closed. It is opened once, when all finals are in; {done} of {all_of_them} are.'
        return
    comparisons = compare(study, split)
    if not comparisons:
        yield 'no pair of runs is in yet.'
        return
    baseline, what = study.titles[study.baseline], study.primary.title
    ranked = sorted(comparisons, key=_mean_or_last, reverse=True)
    highest = f'Highest of the others is {in_words(ranked[0])} points of {what} over {baseline}.'
    if not study.compared:
        if all(each.pairs < 2 for each in comparisons):
            yield 'one seed says nothing about the losses.'
            return
        yield 'a screening, which tests nothing.'
        yield highest
        return
    if done < all_of_them:
        yield f'{done} of {all_of_them} finals are in; what stands here is preliminary.'
    if split not in study.decisive:
        yield f'nothing is tested here, but on {" and ".join(study.decisive)}.'
        yield highest
        return
    for each in explore(study, split):
        if each.arm in study.plan['baselines'] and each.mean(study.primary) > 0:
            yield f'Another baseline is higher than {baseline}: {in_words(each)}.'
    met = [each for each in ranked if study.gain is not None and each.meets_target]
    for each in met:
        yield f'{in_words(each)} points of {what} over {baseline} meets the target.'
    differing = [each for each in ranked if each.is_significant and each not in met]
    for each in differing:
        better = each.differences(study.primary).sum() > 0
        yield (
            f'{in_words(each)} points of {what} is {"better" if better else "worse"} than '
            f'{baseline}{", short of the target" if better and study.gain is not None else ""}.'
        )
    if done == all_of_them and not met and study.gain is not None:
        yield f'No arm meets the target. Closest comes {in_words(ranked[0])} points of {what}.'
    elif done == all_of_them and not met and not differing:
        yield f'No arm differs from {baseline} beyond chance in {what}.'


def _mean_or_last(comparison: Comparison) -> float:
    mean = comparison.mean(comparison.study.primary)
    return -np.inf if np.isnan(mean) else mean


def in_words(comparison: Comparison) -> str:
    """Such as 'BF1 with +1.20 [0.30, 2.10]', with the adjusted p where there is one."""
    primary = comparison.study.primary
    text = f'{comparison.title} with {with_interval(comparison, primary)}'
    if np.isnan(comparison.adjusted_p):
        return text
    return f'{text} (adjusted p {p_value(comparison.adjusted_p)})'


def with_interval(comparison: Comparison, endpoint: Endpoint) -> str:
    """The mean difference and its 95 % interval."""
    return mean_with_interval(comparison.mean(endpoint), comparison.interval(endpoint))


def mean_with_interval(mean: float, span: Interval) -> str:
    """Such as '+1.20 [+0.30, +2.10]'; the mean alone without an interval."""
    found = points(mean, signed=True)
    return found if np.isnan(span.low) else f'{found} {interval(span)}'


def points(value: float, signed: bool = False) -> str:
    """Two digits; '—' for NaN."""
    if np.isnan(value):
        return '—'
    rounded = round(float(value), 2) + 0.0  # no -0
    return f'{rounded:{"+" if signed and rounded else ""}.2f}'.replace('-', '−')


def interval(span: Interval) -> str:
    """In brackets; '—' for none."""
    if np.isnan(span.low):
        return '—'
    return f'[{points(span.low, signed=True)}, {points(span.high, signed=True)}]'


def p_value(p: float) -> str:
    """Three digits; '—' for NaN."""
    if np.isnan(p):
        return '—'
    return f'{p:.3f}' if p >= 0.001 else '< 0.001'

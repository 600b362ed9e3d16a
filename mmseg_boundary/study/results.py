"""Reads the folder of a study: its plan, and the runs that are finished."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..report import array_of, width_of
from .statistics import ImageSums, mean_over_images, paired_differences

PLAN = 'study.json'
REGION = 'mIoU'


class UnfitResults(ValueError):
    """The folder of a study cannot be reported; says what is wrong, and what to change."""


@dataclass(frozen=True)
class Endpoint:
    """A score that the study is about.

    Attributes:
        key: of the evaluator, such as 'mBoundaryF_2px'.
        classes: the classes that are averaged; an empty tuple is all, as the evaluator averages.
    """

    key: str
    title: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A finished run: a row of the study on one split.

    Attributes:
        stage: 'base', 'tuning', 'final' or 'exploratory'.
        ended: False if the training stopped at a NaN or infinite loss; it then has no scores.
        setting: its place in the tuning grid, if it is of that stage.
        seconds: CPU seconds per iteration, forward and backward.
        memory: peak memory in MiB.
        whole: core-seconds of all its processes.
        validated: {iteration: score}, of the validations in its training.
        per_image, predictions: a file and a folder, None where nothing was kept.
    """

    arm: str
    seed: int
    split: str
    stage: str
    ended: bool
    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]
    setting: int | None
    seconds: float
    memory: float
    commit: str
    code: str
    versions: dict[str, str]
    per_image: Path | None
    predictions: Path | None
    validated: dict[int, float]
    whole: float

    def score(self, endpoint: Endpoint) -> float:
        """In points; NaN if the run ended in NaN, or the evaluator had nothing to score."""
        if not endpoint.classes:
            return self.metrics.get(endpoint.key, math.nan)
        per_class = self.scores_per_class(endpoint.key)
        scores = [per_class.get(name, math.nan) for name in endpoint.classes]
        known = [score for score in scores if not math.isnan(score)]
        return float(np.mean(known)) if known else math.nan

    def scores_per_class(self, key: str) -> dict[str, float]:
        """{class: score} of a mean such as 'mIoU', whose key per class is 'IoU'."""
        prefix, slash, name = key.rpartition('/')
        return self.per_class.get(f'{prefix}{slash}{name.removeprefix("m")}', {})


@dataclass(frozen=True)
class Study:
    """The plan of a study, as `study.json` has it, and its finished runs."""

    folder: Path
    plan: dict[str, Any]
    runs: list[Run] = field(repr=False)

    @property
    def name(self) -> str:
        return self.plan['study']

    @cached_property
    def titles(self) -> dict[str, str]:
        """{arm: title}, in the order of the study's file."""
        return {arm['name']: arm['title'] for arm in self.plan['arms']}

    @cached_property
    def endpoints(self) -> list[Endpoint]:
        """The primary one first."""
        return [
            Endpoint(each['key'], each['title'], tuple(each['classes'] or ()))
            for each in self.plan['endpoints']
        ]

    @property
    def primary(self) -> Endpoint:
        return self.endpoints[0]

    @property
    def gain(self) -> float | None:
        """The points at the primary endpoint that the study asks for; None where it declares
        none."""
        return self.plan['margins'].get(self.primary.key)

    @property
    def splits(self) -> list[str]:
        """Those that are reported."""
        return [split['name'] for split in self.plan['splits']]

    @property
    def data(self) -> str:
        """What the networks were trained on; at a scale, and what its source has instead."""
        named, scale = self.plan.get('data') or '', self.plan.get('scale')
        return f'{scale["data"]["images"]}, not {named}' if scale else named

    @cached_property
    def compared(self) -> list[str]:
        """The declared comparisons: the final arms that are no baseline."""
        return [arm for arm in self.plan['finals'] if arm not in self.plan['baselines']]

    @cached_property
    def declared(self) -> list[str]:
        """The arms without whose runs a split that is opened last stays closed."""
        if not self.compared:
            return list(self.titles)
        named = {self.plan['base_arm'], *self.plan['baselines'], *self.compared}
        return [arm for arm in self.titles if arm in named]

    @cached_property
    def tuning_split(self) -> str | None:
        tuning = self.plan.get('tuning')
        return tuning and tuning['split']['name']

    @cached_property
    def opened_last(self) -> list[str]:
        """The splits of which nothing is shown until all finals are in."""
        return [each['name'] for each in self.plan['splits'] if each['opened_last']]

    @cached_property
    def decisive(self) -> list[str]:
        """The splits on which the declared comparisons are tested: those that are opened last, or
        all where none is."""
        return self.opened_last or self.splits

    def is_closed(self, split: str) -> bool:
        """Whether nothing of a split may be shown yet: it is opened once, with all finals in."""
        done, all_of_them = self.progress(split)
        return split in self.opened_last and done < all_of_them

    def progress(self, split: str) -> tuple[int, int]:
        """How many of the declared runs of a split are in, and how many there are."""
        wanted = {(arm, seed) for arm in self.declared for seed in self.seeds_of(arm)}
        done = {(run.arm, run.seed) for run in self.runs if run.split == split}
        return len(wanted & done), len(wanted)

    def seeds_of(self, arm: str) -> list[int]:
        """The seeds that were declared for an arm; none if it was for tuning alone."""
        (own,) = (each.get('seeds') for each in self.plan['arms'] if each['name'] == arm)
        return self.plan['seeds'] if own is None else own

    def reported(self, arm: str, split: str) -> list[Run]:
        """The runs of an arm that were not for tuning, by seed; none of a closed split."""
        if split == self.tuning_split or self.is_closed(split):
            return []
        runs = [run for run in self.runs if (run.arm, run.split) == (arm, split)]
        return sorted((run for run in runs if run.stage != 'tuning'), key=lambda run: run.seed)

    def pairs(self, arm: str, baseline: str, split: str) -> tuple[list[Run], list[Run]]:
        """The runs of two arms whose seeds both have, by seed; for a declared comparison those of
        the declared seeds alone."""
        ours, theirs = ({run.seed: run for run in self.reported(a, split)} for a in (arm, baseline))
        seeds = sorted(ours.keys() & theirs.keys())
        if arm in self.compared:
            seeds = [seed for seed in seeds if seed in self.plan['seeds']]
        return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]

    def differences(self, arm: str, baseline: str, split: str, endpoint: Endpoint) -> np.ndarray:
        """(S,) points by which the arm is above the baseline, see `paired_differences`."""
        ours, theirs = self.pairs(arm, baseline, split)
        return paired_differences(
            *({run.seed: run.score(endpoint) for run in runs} for runs in (ours, theirs))
        )

    @cached_property
    def baseline(self) -> str:
        """The strongest of the baselines: the one with the best primary score on the split for
        tuning, else on the first split; of those without any, the first."""
        baselines = self.plan['baselines']
        if len(baselines) == 1:
            return baselines[0]

        def strength(arm: str) -> float:
            tuned = self.tuned(arm)
            if tuned:
                return max(tuned.values())
            scores = [run.score(self.primary) for run in self.reported(arm, self.splits[0])]
            return float(np.mean(scores)) if scores else math.nan

        strengths = {arm: strength(arm) for arm in baselines}
        known = [arm for arm in baselines if not math.isnan(strengths[arm])]
        return max(known, key=strengths.__getitem__) if known else baselines[0]

    def tuned(self, arm: str, endpoint: Endpoint | None = None) -> dict[int, float]:
        """{place in the grid: mean score on the split for tuning, of the primary endpoint unless
        told}, -inf where a run ended in NaN."""
        scores: dict[int, list[float]] = {}
        for run in self.runs:
            if run.stage == 'tuning' and run.arm == arm and run.setting is not None:
                score = run.score(endpoint or self.primary) if run.ended else -math.inf
                scores.setdefault(run.setting, []).append(score)
        return {setting: float(np.mean(scores[setting])) for setting in sorted(scores)}


def read(folder: str | Path) -> Study:
    """Reads the folder of a study.

    Raises:
        UnfitResults: there is no plan, a row cannot be read or is of another arm, or rows are of
            different code.
    """
    folder = Path(folder)
    _read_sums.cache_clear()
    if not (folder / PLAN).is_file():
        raise UnfitResults(
            f'{folder} has no {PLAN}: run the study first (`python tools/study.py run STUDY`), or '
            'name the folder of one.'
        )
    study = Study(folder, _load(folder / PLAN), [])
    files = sorted((folder / 'rows').glob('[!.]*.json'))
    for file in files:
        run = _read_run(folder, _load(file))
        if run.arm not in study.titles:
            raise UnfitResults(
                f'{file} is a row of the arm {run.arm!r}, which the study does not have: it has '
                f'{", ".join(study.titles)}. Remove the row, or bring the arm back.'
            )
        study.runs.append(run)
    codes = sorted({run.code for run in study.runs})
    if len(codes) > 1:
        raise UnfitResults(
            f'{folder / "rows"} has rows of different code ({", ".join(codes)}), which do not '
            'compare: remove those of one.'
        )
    return study


def _load(file: Path) -> dict:
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise UnfitResults(f'{file} is no JSON ({error}): restore it, or remove it.') from error


def _read_run(folder: Path, row: dict) -> Run:
    def number(value: float | None) -> float:
        return math.nan if value is None else value  # JSON has no NaN

    seconds = row.get('cpu_seconds') or {}
    per_class = row.get('per_class') or {}
    return Run(
        arm=row['arm'],
        seed=row['seed'],
        split=row['split'],
        stage=row['stage'],
        ended=row['status'] == 'finished',
        metrics={key: number(value) for key, value in (row.get('metrics') or {}).items()},
        per_class={
            key: {name: number(value) for name, value in scores.items()}
            for key, scores in per_class.items()
        },
        setting=row.get('setting'),
        seconds=number(seconds.get('forward')) + number(seconds.get('backward')),
        memory=number(row.get('peak_memory_mib')),
        commit=row.get('commit') or '',
        code=row.get('code_hash') or '',
        versions=row.get('versions') or {},
        per_image=folder / row['per_image'] if row.get('per_image') else None,
        predictions=folder / row['predictions'] if row.get('predictions') else None,
        whole=number(row.get('core_seconds')),
        validated={int(at): number(value) for at, value in row.get('validated', {}).items()},
    )


# --- Per image ------------------------------------------------------------------------------------


def image_sums(runs: Sequence[Run], endpoint: Endpoint) -> tuple[list[str], ImageSums] | None:
    """The names of the images, and what each adds to a score in each of the runs.

    Returns:
        None if a run has no per-image file, as one that ended in NaN, or none of this score.

    Raises:
        UnfitResults: the runs scored different images, or a file does not give the score of its
            row.
    """
    if not runs or any(run.per_image is None or not run.per_image.is_file() for run in runs):
        return None
    names, sums = [], []
    for run in runs:
        of_run, found = _read_sums(str(run.per_image), endpoint)
        if found is None:
            return None
        names = names or of_run
        if of_run != names:
            raise UnfitResults(
                f'{run.per_image} has other images than {runs[0].per_image}: the runs of a study '
                'are evaluated on the same ones. Remove the rows of one of them.'
            )
        scored, of_row = float(mean_over_images(found)), run.score(endpoint)
        if not np.isclose(scored, of_row, rtol=0, atol=0.01, equal_nan=True):
            raise UnfitResults(
                f'{run.per_image} gives {endpoint.key} {scored:.2f}, and its row {of_row:.2f}: the '
                'file is of another run, or F was averaged in another way than '
                "boundary_f_mode='present'. Restore it, or remove it."
            )
        sums.append(found)
    return names, ImageSums(*(np.stack(parts) for parts in zip(*sums, strict=True)))


@lru_cache(maxsize=512)
def _read_sums(file: str, endpoint: Endpoint) -> tuple[list[str], ImageSums | None]:
    with np.load(file) as arrays:
        return arrays['names'].tolist(), _sums_of(arrays, endpoint)


def _sums_of(arrays: Mapping[str, np.ndarray], endpoint: Endpoint) -> ImageSums | None:
    """Of the file that `tools/test.py --per-image` writes; (N, K) both."""
    name, _, rest = endpoint.key.rpartition('/')[2].removeprefix('m').partition('_')
    key = array_of(name)
    width = width_of(endpoint.key)
    widths = arrays['widths'].tolist()
    if name == 'IoU' and not rest:
        sums = ImageSums(arrays['intersection'], arrays['union'])
    elif key not in arrays or width not in widths:
        return None
    else:
        counts = arrays[key][:, :, widths.index(width)]
        if counts.ndim == 3:
            sums = ImageSums(counts[..., 0], counts[..., 1])
        else:
            sums = ImageSums(np.nan_to_num(counts), ~np.isnan(counts))
    if not endpoint.classes:
        return sums
    classes = arrays['classes'].tolist()
    places = [classes.index(name) for name in endpoint.classes]
    return ImageSums(*(part[:, places] for part in sums))

"""How the scores of arms grow over a training, from the validations of their runs."""

from dataclasses import dataclass

import numpy as np

from .results import Run, Study


@dataclass(frozen=True)
class Growth:
    """The validations of an arm.

    Attributes:
        scores: {iteration: mean over seeds}.
        superiority: the percentage of validations at which the arm has the best score of all arms
            of its seed, equals sharing it (the "superiority" of Gül's thesis); the mean over seeds.
        reached: per seed the first iteration with the score that the study asks for, None where no
            validation has it.
    """

    scores: dict[float, float]
    superiority: float
    reached: list[int | None]


def growth(study: Study, split: str) -> dict[str, Growth]:
    """{arm: its validations}, of the arms that have any.

    Iterations and seeds count that all of these arms have.
    """
    runs = {arm: {run.seed: run for run in study.reported(arm, split)} for arm in study.titles}
    runs = {arm: of for arm, of in runs.items() if any(run.validated for run in of.values())}
    if not runs:
        return {}
    seeds = sorted(set.intersection(*(set(of) for of in runs.values())))
    shares = {arm: [] for arm in runs}
    for seed in seeds:
        for arm, share in _shares({arm: of[seed] for arm, of in runs.items()}).items():
            shares[arm].append(share)
    reach = (study.plan.get('validation') or {}).get('reach')
    return {
        arm: Growth(
            _mean(list(of.values())),
            float(np.mean(shares[arm])) if shares[arm] else np.nan,
            [_first(run, reach) for run in of.values()] if reach is not None else [],
        )
        for arm, of in runs.items()
    }


def _shares(runs: dict[str, Run]) -> dict[str, float]:
    """{arm: percentage of the common iterations at which its score is the best}; NaN never is."""
    common = sorted(set.intersection(*(set(run.validated) for run in runs.values())))
    if not common:
        return {}
    scores = np.array([[run.validated[at] for at in common] for run in runs.values()])
    scores = np.nan_to_num(scores, nan=-np.inf)
    best = (scores == scores.max(0)) & np.isfinite(scores)
    shares = (best / np.maximum(best.sum(0), 1)).mean(1)
    return dict(zip(runs, (100 * shares).tolist(), strict=True))


def _mean(runs: list[Run]) -> dict[float, float]:
    common = sorted(set.intersection(*(set(run.validated) for run in runs)))
    return {at: float(np.mean([run.validated[at] for run in runs])) for at in common}


def _first(run: Run, reach: float) -> int | None:
    return min((at for at, score in run.validated.items() if score >= reach), default=None)

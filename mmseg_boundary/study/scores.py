"""The tables and drawings of a study's scores."""

import math
import re
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from ..report import width_of
from . import papers
from .conclusions import (
    REGION_ENDPOINT,
    Comparison,
    compare,
    explore,
    p_value,
    points,
    shown_endpoints,
    with_interval,
)
from .figures import SERIES, Curve, Difference, forest, over_iterations, over_widths
from .over_training import growth
from .page import Drawing, Section, Table
from .results import REGION, Endpoint, Run, Study
from .statistics import LEVEL, Interval

NO_INTERVAL = Interval(math.nan, math.nan)


def how_to_read(study: Study) -> str:
    """What the columns of `table_of_arms` mean."""
    sentences = [
        f'Mean and standard deviation over seeds, in points; Δ is the mean of the paired '
        f'differences from {study.titles[study.baseline]}, seed by seed, with its 95 % interval.'
    ]
    if len(study.plan['baselines']) > 1:
        others = ', '.join(study.titles[arm] for arm in study.plan['baselines'])
        sentences.append(f'It is the strongest of the baselines ({others}).')
    if study.compared:
        count = len(study.compared)
        where = f' on {" and ".join(study.decisive)} alone' if study.opened_last else ''
        sentences.append(
            f'p: exact sign flips{where}, adjusted for {count} declared '
            f'{"comparison" if count == 1 else "comparisons"} (Holm).'
        )
    else:
        sentences.append('No comparison is declared, so that no p is given.')
    margin = study.plan['margins'].get(REGION_ENDPOINT.key)
    if margin is not None:
        sentences.append(
            f'That mIoU is lower by less than {margin:g} is shown, not shown, or it is worse '
            '(one-sided 95 % limits, for one arm at a time).'
        )
    if study.gain is not None and study.compared:
        target = f'The target: Δ {study.primary.title} of {study.gain:g} or more with p < {LEVEL:g}'
        target += ''.join(f', Δ {each.title} not below 0' for each in study.endpoints[1:])
        sentences.append(target + (', and that of mIoU shown.' if margin is not None else '.'))
    if study.plan.get('published_scores'):
        sentences.append(
            'Published: of the paper below, in brackets its difference from the same baseline.'
        )
    base = study.titles[study.plan['base_arm']]
    sentences.append(f'Time of the CPU per iteration and peak memory are multiples of {base}.')
    return ' '.join(sentences)


def table_of_arms(study: Study, split: str) -> Table:
    """Scores, differences and costs of all arms on a split."""
    primary, *further = shown = shown_endpoints(study)
    width = primary.key.rpartition('_')[2] if width_of(primary.key) else '3px'
    named = {each.key for each in shown if not each.classes}
    trimap = re.sub(r'(px|d)$', r' \1', f'trimap IoU, {width}')
    plain = [Endpoint('mBoundaryIoU', 'Boundary IoU'), Endpoint(f'mTrimapIoU_{width}', trimap)]
    plain = [each for each in plain if each.key not in named]
    columns = [
        'arm',
        'runs',
        primary.title,
        f'Δ {primary.title}',
        *(['p'] if study.compared else []),
    ]
    for each in further:
        columns += [each.title, f'Δ {each.title}']
    columns += [*(each.title for each in plain), 'time', 'memory']
    paper = papers.read(study.plan['published']) if study.plan.get('published_scores') else None
    if paper:
        columns += [*(f'{key}, published' for key in study.plan['published_scores']), 'data']
    known = {each.arm: each for each in [*compare(study, split), *explore(study, split)]}
    rows = []
    for arm, title in study.titles.items():
        runs, comparison = study.reported(arm, split), known.get(arm)
        if not runs:
            if study.seeds_of(arm):
                rows.append([title, *[''] * (len(columns) - 1)])
            continue

        def score(endpoint: Endpoint, runs: list[Run] = runs) -> str:
            return _mean_and_deviation([run.score(endpoint) for run in runs])

        def difference(endpoint: Endpoint, comparison: Comparison | None = comparison) -> str:
            return with_interval(comparison, endpoint) if comparison else ''

        row = [title, _count(runs), score(primary), difference(primary)]
        if study.compared:
            row.append(p_value(comparison.adjusted_p) if comparison else '')
        for each in further:
            region = comparison.region if comparison and each.key == REGION else ''
            said = f' ({region})' if region else ''
            row += [score(each), difference(each) + said]
        row += [score(each) for each in plain]
        row += _costs(study, split, runs)
        if paper:
            row += [*_published_scores(study, paper, arm), study.data]
        rows.append(row)
    done, all_of_them = study.progress(split)
    state = f'closed, {done} of {all_of_them} finals are in' if study.is_closed(split) else ''
    opened = study.plan.get('opened', {}).get(split)
    if opened:
        where = f'at commit {opened["commit"]}' if opened['commit'] else 'in place'
        state = f'opened on {opened["date"]} {where}'
    return Table(columns, rows, f'{split}{f" ({state})" if state else ""}', cards=True)


def _published_scores(study: Study, paper: papers.Paper, arm: str) -> list[str]:
    """A paper's numbers of an arm, with their differences from those of its baseline."""
    selectors = {each['name']: each.get('published') for each in study.plan['arms']}
    cells = []
    for column in study.plan['published_scores'].values():
        if not selectors[arm]:
            cells.append('')
            continue
        score, base = (
            paper.score(paper.row(selectors[name]), column) if selectors[name] else math.nan
            for name in (arm, study.baseline)
        )
        difference = points(score - base, signed=True)
        cells.append(points(score) + ('' if difference in ('—', '0.00') else f' ({difference})'))
    return cells


def _count(runs: Sequence[Run]) -> str:
    lost = sum(not run.ended for run in runs)
    return f'{len(runs)}, of which {lost} ended in NaN' if lost else f'{len(runs)}'


def _mean_and_deviation(scores: Sequence[float]) -> str:
    mean = points(float(np.mean(scores)))
    if mean == '—' or len(scores) < 2:
        return mean
    return f'{mean} ± {points(float(np.std(scores, ddof=1)))}'


def _costs(study: Study, split: str, runs: Sequence[Run]) -> list[str]:
    """Time and memory as multiples of the base arm's, medians over runs."""
    base = study.reported(study.plan['base_arm'], split)

    def ratio(of: str) -> str:
        ours, theirs = _median(runs, of), _median(base, of)
        return f'{ours / theirs:.2f}×' if theirs and not math.isnan(ours / theirs) else '—'

    return [ratio('seconds'), ratio('memory')]


def how_to_read_the_differences(study: Study) -> str:
    """What the marks of `differences_drawn` mean."""
    gain = f' The dotted line is the gain that is asked for, {study.gain:g}.' if study.gain else ''
    return (
        'Diamond and thick line: mean and 95 % interval over seeds. Dashed: over seeds and images, '
        f'where there are images enough. Ticks: single seeds.{gain}'
    )


def differences_drawn(study: Study, split: str) -> Drawing:
    """The differences from the baseline with their intervals, a row for each arm."""
    primary = study.primary
    places = list(study.titles)
    declared = compare(study, split)
    lines = [
        Difference(
            each.title,
            places.index(each.arm),
            each.differences(primary).tolist(),
            each.interval(primary),
            each.bootstrap(primary) if each in declared else NO_INTERVAL,
        )
        for each in [*declared, *explore(study, split)]
    ]
    label = f'Δ {primary.title}, points'
    return Drawing(f'differences_{split}', split, partial(forest, lines, label, study.gain))


def widths_drawn(study: Study, split: str) -> Iterator[Drawing]:
    """The primary score at all widths of its unit that the evaluator has, if its key names one."""
    width = width_of(study.primary.key)
    if width is None:
        return
    stem, unit = study.primary.key.rpartition('_')[0], 'px' if width >= 1 else 'd'
    known = {each.arm: each for each in [*compare(study, split), *explore(study, split)]}
    curves = []
    for place, (arm, title) in enumerate(study.titles.items()):
        runs = study.reported(arm, split)
        named = {key for run in runs for key in run.metrics if key.startswith(f'{stem}_')}
        keys = {width_of(key): key for key in named if key.endswith(unit)}
        endpoints = {at: Endpoint(keys[at], title) for at in sorted(filter(None, keys))}
        scores = {
            at: float(np.mean([run.score(each) for run in runs])) for at, each in endpoints.items()
        }
        above = (
            {at: known[arm].mean(each) for at, each in endpoints.items()} if arm in known else {}
        )
        above = above or dict.fromkeys(scores, 0.0)
        if scores and not any(map(math.isnan, [*scores.values(), *above.values()])):
            curves.append(Curve(title, place, scores, above))
    if len(curves) > 1 and len(curves[0].scores) > 1:
        label = stem.rpartition('/')[2].removeprefix('m')
        yield Drawing(
            f'widths_{split}',
            f'{split}, {label}',
            partial(over_widths, curves, label, unit),
            _legend(curves),
        )


def _legend(curves: Sequence[Curve]) -> list[tuple[bool, int, str]]:
    return [(curve.place >= SERIES, curve.place % SERIES, curve.title) for curve in curves]


def table_of_classes(study: Study, split: str) -> Table | None:
    """The baseline's score of each class, and the differences of the compared arms."""
    key = study.primary.key
    comparisons = [*compare(study, split), *explore(study, split)]
    runs = study.reported(study.baseline, split)
    classes = list(dict.fromkeys(name for run in runs for name in run.scores_per_class(key)))
    if not classes:
        return None
    chosen = {name for each in study.endpoints for name in each.classes}
    rows = []
    for name in classes:
        one = Endpoint(key, name, (name,))
        row = [f'{name} *' if name in chosen else name]
        row.append(points(float(np.mean([run.score(one) for run in runs]))))
        row += [points(each.mean(one), signed=True) for each in comparisons]
        rows.append(row)
    marked = f' (*: in {", ".join(each.title for each in study.endpoints[1:])})' if chosen else ''
    titles = [study.titles[study.baseline], *(each.title for each in comparisons)]
    return Table(['class', *titles], rows, f'{split}{marked}')


def over_training(study: Study) -> Section | None:
    """The validations, where the study has some."""
    wanted = study.plan.get('validation')
    found = growth(study, study.splits[0])
    if not wanted or not found:
        return None
    points_each = max(len(each.scores) for each in found.values())
    columns = ['arm', 'best at, %', f'highest {wanted["key"]}', 'at iteration']
    text = (
        f'{wanted["key"]} on {study.splits[0]}, {points_each} times in a training. "Best at" is '
        'the percentage of these at which an arm has the best score of all (equals share it), '
        'which Gül calls superiority.'
    )
    if wanted['reach'] is not None:
        columns.append(f'first at {wanted["reach"]:g}')
        text += f' The last column is the first iteration with {wanted["reach"]:g}, per seed.'
    rows = []
    for arm, each in found.items():
        known = {at: score for at, score in each.scores.items() if not math.isnan(score)}
        highest = max(known, key=known.__getitem__) if known else None
        row = [study.titles[arm], points(each.superiority)]
        row += ['—', '—'] if highest is None else [points(known[highest]), f'{highest}']
        if wanted['reach'] is not None:
            row.append(', '.join('—' if at is None else f'{at}' for at in each.reached))
        rows.append(row)
    places = list(study.titles)
    curves = [
        Curve(study.titles[arm], places.index(arm), each.scores, {}) for arm, each in found.items()
    ]
    drawings = []
    if points_each > 1:
        draw = partial(over_iterations, curves, wanted['key'])
        drawings = [Drawing('training', study.splits[0], draw, _legend(curves))]
    return Section('Over the training', [text], [Table(columns, rows, cards=True)], drawings)


def time_and_memory(study: Study) -> Section:
    """What the runs took, whole and per iteration, medians over them."""
    rows = []
    for arm, title in study.titles.items():
        runs = study.reported(arm, study.splits[0])
        step, whole = 1000 * _median(runs, 'seconds'), _median(runs, 'whole') / 60
        cells = f'{step:.0f}', f'{whole:.1f}', f'{_median(runs, "memory"):.0f}'
        if runs:
            rows.append([title, *('—' if cell == 'nan' else cell for cell in cells)])
    text = (
        'Medians over runs: a step, forward with the losses and backward; the whole run, with its '
        'data and evaluation; and the peak of the memory above that of the built net.'
    )
    columns = ['arm', 'step, ms', 'whole run, core-minutes', 'memory, MiB']
    return Section('Time and memory', [text], [Table(columns, rows)], folded=True)


def _median(runs: Sequence[Run], of: str) -> float:
    """Of what some of the runs have; NaN if none has it."""
    known = [value for run in runs if not math.isnan(value := getattr(run, of))]
    return float(np.median(known)) if known else math.nan

"""What was done in a study, how sure its result is, and how to do it again."""

import math
from collections.abc import Sequence

import numpy as np

from . import papers
from .conclusions import (
    REGION_ENDPOINT,
    blocks_in,
    compare,
    explore,
    interval,
    mean_with_interval,
    points,
    shown_endpoints,
    with_interval,
)
from .page import Section, Table
from .results import Study, UnfitResults
from .statistics import (
    FEWEST_BLOCKS,
    POWER,
    bootstrap_coverage,
    detectable_difference,
    t_coverage,
    t_interval,
)

MOST_DRIVES = 6


def how_tuned(study: Study) -> Section:
    """The scores of every setting that was tried, and which was taken."""
    tuning = study.plan['tuning']
    winners = tuning.get('winner') or {}
    shown = shown_endpoints(study)
    rows = []
    for arm, settings in tuning['grid'].items():
        scores = [study.tuned(arm, each) for each in shown]
        for place, setting in enumerate(settings):
            cells = [each.get(place) for each in scores]
            won = 'won' if winners.get(arm) == place else ''
            rows.append([study.titles[arm], _in_short(setting), *map(_tuned_score, cells), won])
    seeds = ', '.join(map(str, tuning['seeds']))
    size = len(next(iter(tuning['grid'].values())))
    text = (
        f'Each arm had {size} settings and {"seed" if len(tuning["seeds"]) == 1 else "seeds"} '
        f'{seeds}, on the split {study.tuning_split}, which is reported nowhere else; the best '
        f'{study.primary.title} won, and the finals use other seeds.'
    )
    table = Table(['arm', 'setting', *(each.title for each in shown), ''], rows)
    return Section('What was tuned, and how', [text], [table])


def _tuned_score(score: float | None) -> str:
    if score is None:
        return ''
    return 'NaN' if math.isinf(score) else points(score)


def what_was_trained(study: Study) -> Section:
    """The losses and settings of the arms, and what their runs share."""
    rows = []
    for arm in study.plan['arms']:
        losses = '; '.join(map(_in_short, arm.get('losses') or [])) or 'as in its config'
        more = [f'start: {arm["start"]:g} of the schedule'] if arm.get('start') else []
        more += [f'config: {arm["config"]}'] if arm.get('config') else []
        more += [f'iterations: {arm["iterations"]}'] if arm.get('iterations') else []
        more += [_in_short(each) for each in arm.get('schedule') or []]
        more += [_in_short(arm['options'])] if arm.get('options') else []
        rows.append([arm['title'], losses, '; '.join(more)])
    text = (
        f'{study.plan["base"]}, {study.plan["iterations"]} iterations, seeds '
        f'{", ".join(map(str, study.plan["seeds"]))}. Runs of the same seed have the same initial '
        'weights and see the same samples in the same order.'
    )
    return Section(
        'What was trained', [text], [Table(['arm', 'losses', 'beside'], rows)], folded=True
    )


def _in_short(setting: dict) -> str:
    """Such as 'BF1Loss, loss_weight=2'."""
    kind = [str(setting['type'])] if 'type' in setting else []
    return ', '.join([*kind, *(f'{key}={setting[key]}' for key in setting if key != 'type')])


def what_did_not_help(study: Study, shown: Sequence[str]) -> Section | None:
    """Arms whose interval is not above 0; nothing where no arm has one."""
    primary = study.primary
    rows, judged = [], False
    for split in shown:
        for each in [*compare(study, split), *explore(study, split)]:
            low, high = each.interval(primary)
            lost = np.isneginf(each.differences(primary)).sum()
            judged |= bool(lost) or not math.isnan(low)
            if low > 0 or (math.isnan(low) and not lost):
                continue
            reading = 'worse' if high < 0 else 'no difference shown'
            if lost:
                reading = f'{lost} {"run" if lost == 1 else "runs"} ended in NaN'
            rows.append([each.title, split, with_interval(each, primary), reading])
    rows += _tuned_in_vain(study)
    if not rows:
        text = f'The 95 % intervals of all arms lie above {study.titles[study.baseline]}.'
        return Section('What did not help', [text]) if judged else None
    text = (
        f'Arms whose 95 % interval in {primary.title}, for one arm at a time, does not lie above '
        'the baseline; and arms that were tuned and stayed below it at every setting.'
    )
    columns = ['arm', 'split', f'Δ {primary.title}', 'reading']
    return Section('What did not help', [text], [Table(columns, rows, cards=True)])


def _tuned_in_vain(study: Study) -> list[list[str]]:
    baseline = study.tuned(study.baseline)
    rows = []
    for arm in study.titles if baseline else ():
        tuned = study.tuned(arm)
        if arm != study.baseline and tuned and max(tuned.values()) <= max(baseline.values()):
            difference = max(tuned.values()) - max(baseline.values())
            said = '—' if math.isinf(difference) else points(difference, signed=True)
            rows.append([study.titles[arm], study.tuning_split or '', said, 'below, tuned'])
    return rows


def how_sure(study: Study, shown: Sequence[str]) -> Section:
    """What the intervals hold, which differences could be found, and intervals over images."""
    seeds = len(study.plan['seeds'])
    text = ['One seed shows nothing but that the runs can be done.']
    if seeds > 1:
        text = [
            'The intervals of the table are over seeds, given the images: they say what other '
            f'seeds would give on these. In simulated studies of {seeds} seeds, '
            f'{_share(t_coverage(seeds))} of such 95 % intervals hold the truth. A run that ended '
            'in NaN is a lost pair: it has no mean and no interval, and counts as the largest loss '
            'in the test.'
        ]
    detectable = _detectable(study, shown)
    if detectable:
        text.append(detectable)
    rows = []
    for split in shown:
        blocks = blocks_in(study, split)
        for each in compare(study, split):
            spans = [each.bootstrap(endpoint) for endpoint in (study.primary, REGION_ENDPOINT)]
            rows.append([each.title, split, f'{blocks}', *map(interval, spans)])
        if blocks >= FEWEST_BLOCKS and seeds > 1:
            text.append(
                f'{split} has {blocks} blocks of consecutive images. In simulated studies of '
                f'{seeds} seeds and {blocks} blocks, at least '
                f'{_share(bootstrap_coverage(seeds, blocks))} of the intervals over seeds and '
                'images hold the truth, not 95 %.'
            )
        elif blocks and blocks < FEWEST_BLOCKS:
            text.append(
                f'{split} has {blocks} blocks of consecutive images, and an interval over images '
                f'needs {FEWEST_BLOCKS}: there is none.'
            )
    columns = ['arm', 'split', 'blocks', f'Δ {study.primary.title}', 'Δ mIoU']
    second = [Table(columns, rows, 'Over seeds and images (secondary)')] if rows else []
    return Section('How sure this is', text, second + _of_drives(study, shown))


def _of_drives(study: Study, shown: Sequence[str]) -> list[Table]:
    """The differences on each drive alone, of splits that have a few."""
    rows = []
    for split in shown:
        for each in compare(study, split):
            primary, region = (each.per_drive(of) for of in (study.primary, REGION_ENDPOINT))
            for drive in primary if 1 < len(primary) <= MOST_DRIVES else ():
                found = (differences[drive] for differences in (primary, region))
                cells = [mean_with_interval(float(d.mean()), t_interval(d)) for d in found]
                rows.append([each.title, split, drive, *cells])
    columns = ['arm', 'split', 'drive', f'Δ {study.primary.title}', 'Δ mIoU']
    return [Table(columns, rows, 'On each drive alone, over seeds (secondary)')] if rows else []


def _share(value: float) -> str:
    return f'{100 * value:.1f} %'


def _detectable(study: Study, shown: Sequence[str]) -> str | None:
    """The smallest difference that could be found, from the arms that have two pairs by now."""
    found = [each.differences(study.primary) for split in shown for each in compare(study, split)]
    found = [each for each in found if len(each) > 1 and np.isfinite(each).all()]
    if not found or not study.compared:
        return None
    degrees = [len(each) - 1 for each in found]
    variance = np.average([each.var(ddof=1) for each in found], weights=degrees)
    seeds, count = len(study.plan['seeds']), len(study.compared)
    difference = detectable_difference(float(np.sqrt(variance)), seeds, count)
    if math.isinf(difference):
        return None
    return (
        f'The differences of single seeds scatter by {points(float(np.sqrt(variance)))} points, so '
        f'that {seeds} seeds find a true difference of {points(difference)} with a probability of '
        f'{100 * POWER:.0f} %; smaller ones stay unseen more often.'
    )


def published(name: str) -> Section:
    """The numbers of a paper, with their caveats; `name` as for `papers.read`."""
    try:
        paper = papers.read(name)
    except papers.UnknownNumbers as error:
        raise UnfitResults(str(error)) from None
    columns = [key for key in paper.rows[0] if any(row[key] for row in paper.rows)]
    cells = [[row[key] for key in columns] for row in paper.rows]
    headings = [column.replace('_', ' ') for column in columns]
    text = [f'{paper.title}.', *paper.caveats]
    return Section('Published numbers', text, [Table(headings, cells)], folded=True)


def rerun(study: Study) -> Section:
    """The commands, and the versions of what it ran with."""
    commits = sorted({run.commit for run in study.runs}) or [study.plan.get('commit', 'COMMIT')]
    file = study.plan.get('command') or f'configs/studies/{study.name}.py'
    versions = dict(sorted({v for run in study.runs for v in run.versions.items()}))
    # Rows that were made in place name no commit.
    place = '' if commits[0] else ' --in-place'
    code = '\n'.join(
        [
            *([f'git checkout {commits[0]}'] if commits[0] else []),
            *(f'python tools/study.py {c} {file}{place}' for c in ('run', 'report')),
        ]
    )
    said = ', '.join(f'{name} {version}' for name, version in versions.items())
    text = [f'Run with {said}.'] if said else []
    text += [] if commits[0] else ['Run in place: from a working tree, which no commit names.']
    return Section('To run it again', text, code=code)

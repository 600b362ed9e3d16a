"""The page of a study: one HTML file that needs no other, and its tables as Markdown.

Both are made of the same sections. Nothing is shown of a split that is opened last until all finals
are in.
"""

import datetime
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from ..files import atomic_write
from ..report import width_of
from ..report import write_report as write_json
from . import papers
from .conclusions import (
    REGION_ENDPOINT,
    Comparison,
    blocks_in,
    compare,
    explore,
    interval,
    p_value,
    points,
    verdict,
    with_interval,
)
from .extremes import PALETTE, scene_files, wanted_images
from .figures import (
    SERIES,
    Curve,
    Difference,
    Panel,
    forest,
    image_panels,
    over_iterations,
    over_widths,
)
from .locks import SUMMARY, locked
from .over_training import growth
from .results import PLAN, REGION, Endpoint, Run, Study, UnfitResults, read
from .statistics import (
    FEWEST_BLOCKS,
    LEVEL,
    POWER,
    Interval,
    bootstrap_coverage,
    detectable_difference,
    t_coverage,
)

HERE = Path(__file__).parent
NO_INTERVAL = Interval(math.nan, math.nan)
PAGE, MARKDOWN = 'report.html', 'report.md'
MOST_BYTES = 5_000_000
BYTES_OF_IMAGES = 4_000_000


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first column names the row.

    Attributes:
        cards: whether a narrow screen shows a card per row instead.
    """

    columns: list[str]
    rows: list[list[str]]
    caption: str = ''
    cards: bool = False


@dataclass(frozen=True)
class Drawing:
    """An SVG, and the lines that are in it: (dashed, color of the page, title)."""

    svg: Markup
    caption: str
    legend: list[tuple[bool, int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Strip:
    """Panels side by side."""

    caption: str
    panels: list[Panel]


@dataclass(frozen=True)
class Section:
    """The content below a heading, in this order.

    Attributes:
        drawn: whether it is about its drawings alone, which are not in Markdown.
        folded: whether a reader has to open it.
    """

    heading: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)
    code: str = ''
    drawn: bool = False
    folded: bool = False


def write_report(folder: str | Path) -> Path:
    """Writes report.html and report.md into the folder of a study.

    At the first time that a split which is opened last is shown, `study.json` gets the date and the
    commit of its runs.

    Returns:
        the page.

    Raises:
        UnfitResults: the folder holds no study, or its files do not fit each other.
    """
    study = read(folder)
    _note_openings(study)
    if (study.folder / 'runs').is_dir():  # on the machine that has the data
        from .scenes import write_scenes  # with MMSegmentation, which takes seconds to import

        write_scenes(study)
    sections = list(_sections(study))
    page = _render(study, sections)
    if len(page.encode()) > MOST_BYTES:
        raise UnfitResults(
            f'The page of {study.name} would have {len(page.encode()) / 1e6:.1f} MB, and '
            f'{MOST_BYTES / 1e6:.0f} MB are allowed: compare fewer arms in one study.'
        )
    with atomic_write(study.folder / MARKDOWN) as unfinished:
        unfinished.write_text(_markdown(study, sections), encoding='utf-8')
    path = study.folder / PAGE
    with atomic_write(path) as unfinished:
        unfinished.write_text(page, encoding='utf-8')
    return path


def tables(folder: str | Path) -> str:
    """The report as Markdown, without its drawings and images."""
    study = read(folder)
    return _markdown(study, list(_sections(study, drawn=False)))


def _note_openings(study: Study) -> None:
    """Records when the splits that are opened last were first shown."""
    with locked(study.folder / SUMMARY):
        path = study.folder / PLAN
        plan = json.loads(path.read_text())
        opened = plan.get('opened') or {}
        for split in plan['splits']:
            name = split['name']
            commits = {run.commit for arm in study.titles for run in study.reported(arm, name)}
            if split['opened_last'] and commits and name not in opened:
                today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
                opened[name] = dict(date=today, commit=', '.join(sorted(commits)))
        study.plan['opened'] = opened
        if plan.get('opened') != opened:
            write_json(path, dict(plan, opened=opened))


# --- Sections -------------------------------------------------------------------------------------


def _sections(study: Study, drawn: bool = True) -> Iterator[Section]:
    yield Section(
        'All arms',
        text=[_how_to_read(study)],
        tables=[_table_of_arms(study, split) for split in study.splits],
    )
    shown = [split for split in study.splits if compare(study, split)]
    if drawn and shown:
        yield Section(
            f'Difference from {study.titles[study.baseline]}',
            text=[_how_to_read_the_forest(study)],
            drawings=[_forest(study, split) for split in shown],
            drawn=True,
        )
        curves = [drawing for split in shown for drawing in _widths(study, split)]
        if curves:
            yield Section('Score against width', drawings=curves, drawn=True)
    per_class = [table for split in shown if (table := _table_of_classes(study, split))]
    if per_class:
        yield Section(
            'Per class',
            text=[f'{study.primary.title}: the baseline, and by how much the others exceed it.'],
            tables=per_class,
        )
    if section := _over_training(study, drawn):
        yield section
    yield _time_and_memory(study)
    if drawn and (section := _extremes(study)):
        yield section
    if study.plan.get('tuning'):
        yield _tuning(study)
    yield _what_was_trained(study)
    if section := _what_did_not_help(study, shown):
        yield section
    yield _statistics(study, shown)
    if study.plan.get('published'):
        yield published(study.plan['published'])
    yield _rerun(study)


def _how_to_read(study: Study) -> str:
    sentences = [
        f'Mean and standard deviation over seeds, in points; Δ is the mean of the paired '
        f'differences from {study.titles[study.baseline]}, seed by seed, with its 95 % interval.'
    ]
    if len(study.plan['baselines']) > 1:
        others = ', '.join(study.titles[arm] for arm in study.plan['baselines'])
        sentences.append(f'It is the strongest of the baselines ({others}).')
    if study.compared:
        count = len(study.compared)
        sentences.append(
            f'p: exact sign flips, adjusted for {count} declared '
            f'{"comparison" if count == 1 else "comparisons"} (Holm).'
        )
    else:
        sentences.append('No comparison is declared, so that no p is given.')
    margin = study.plan['margins'].get(REGION_ENDPOINT.key)
    if margin is not None:
        sentences.append(
            f'That mIoU is lower by less than {margin:g} is shown, not shown, or it is worse '
            '(one-sided 95 % interval).'
        )
    if study.gain is not None and study.compared:
        target = f'The target: Δ {study.primary.title} of {study.gain:g} or more with p < {LEVEL:g}'
        target += ''.join(f', Δ {each.title} not below 0' for each in study.endpoints[1:])
        sentences.append(target + (', and that of mIoU shown.' if margin is not None else '.'))
    if study.plan.get('published_scores'):
        sentences.append(
            'Published: of the paper below, in brackets its difference from the same baseline.'
        )
    if study.plan.get('scale'):
        sentences.append(
            f'This is the study at the scale {study.plan["scale"]["name"]}: '
            f'{study.plan["scale"]["title"]}. {study.plan["scale"]["caveat"]}'
        )
    base = study.titles[study.plan['base_arm']]
    sentences.append(f'Time of the CPU per iteration and peak memory are multiples of {base}.')
    return ' '.join(sentences)


def _table_of_arms(study: Study, split: str) -> Table:
    primary, *further = study.endpoints
    width = primary.key.rpartition('_')[2] if width_of(primary.key) else '3px'
    named = {each.key for each in study.endpoints if not each.classes}
    if REGION not in named:
        further.append(REGION_ENDPOINT)
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


def _how_to_read_the_forest(study: Study) -> str:
    gain = f' The dotted line is the gain that is asked for, {study.gain:g}.' if study.gain else ''
    return (
        'Diamond and thick line: mean and 95 % interval over seeds. Dashed: over seeds and images, '
        f'where there are images enough. Ticks: single seeds.{gain}'
    )


def _forest(study: Study, split: str) -> Drawing:
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
    drawn = forest(lines, f'Δ {primary.title}, points', study.gain)
    return Drawing(Markup(drawn), split)


def _widths(study: Study, split: str) -> Iterator[Drawing]:
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
            Markup(over_widths(curves, label, unit)), f'{split}, {label}', _legend(curves)
        )


def _legend(curves: Sequence[Curve]) -> list[tuple[bool, int, str]]:
    return [(curve.place >= SERIES, curve.place % SERIES, curve.title) for curve in curves]


def _table_of_classes(study: Study, split: str) -> Table | None:
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


def _over_training(study: Study, drawn: bool) -> Section | None:
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
    if drawn and points_each > 1:
        svg = Markup(over_iterations(curves, wanted['key']))
        drawings = [Drawing(svg, study.splits[0], _legend(curves))]
    return Section('Over the training', [text], [Table(columns, rows, cards=True)], drawings)


def _time_and_memory(study: Study) -> Section:
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


# --- Images ---------------------------------------------------------------------------------------


def _extremes(study: Study) -> Section | None:
    """The images of the first seed, from the predictions and scenes that the runs have left."""
    strips, size, left_out = [], 0, 0
    for comparison, name, difference in wanted_images(study):
        files = _files_of(study, comparison, name)
        if files is None:
            left_out += 1
            continue
        image, label, preds, palette = files
        panels = image_panels(image, label, preds, palette)
        size += sum(len(panel.source) for panel in panels)
        if size > BYTES_OF_IMAGES:
            left_out += 1
            continue
        caption = (
            f'{comparison.split}, {name}: {comparison.title} {points(difference, signed=True)}'
        )
        strips.append(Strip(caption, panels))
    if not strips and not left_out:
        return None
    text = [
        'The images on which an arm gains and loses most against the baseline, by the mean over '
        'seeds; the pictures are of one seed. They are extremes, and no evidence.'
    ]
    if left_out:
        text.append(
            f'{left_out} of them are not shown, because their predictions were not kept or would '
            'make this page too large.'
        )
    return Section('Largest gains and losses', text, strips=strips, drawn=True)


def _files_of(
    study: Study, comparison: Comparison, name: str
) -> tuple[Path, Path, list[tuple[str, Path]], list] | None:
    image, label = scene_files(study, comparison.split, name)
    palette = image.with_name(PALETTE)
    for pair in zip(
        *study.pairs(comparison.arm, comparison.baseline, comparison.split), strict=True
    ):
        ours, theirs = (run.predictions and run.predictions / f'{name}.png' for run in pair)
        needed = (ours, theirs, palette, image, label)
        if ours and theirs and all(file is not None and file.is_file() for file in needed):
            preds = [(study.titles[comparison.baseline], theirs), (comparison.title, ours)]
            return image, label, preds, json.loads(palette.read_text())
    return None


# --- What was done --------------------------------------------------------------------------------


def _tuning(study: Study) -> Section:
    tuning = study.plan['tuning']
    winners = tuning.get('winner') or {}
    rows = []
    for arm, settings in tuning['grid'].items():
        scores = study.tuned(arm)
        for place, setting in enumerate(settings):
            known = place in scores
            score = 'NaN' if known and math.isinf(scores[place]) else ''
            score = score or (points(scores[place]) if known else '')
            won = 'won' if winners.get(arm) == place else ''
            rows.append([study.titles[arm], _in_short(setting), score, won])
    seeds = ', '.join(map(str, tuning['seeds']))
    size = len(next(iter(tuning['grid'].values())))
    text = (
        f'Each arm had {size} settings and {"seed" if len(tuning["seeds"]) == 1 else "seeds"} '
        f'{seeds}, on the split {study.tuning_split}, which is reported nowhere else; the best '
        f'{study.primary.title} won, and the finals use other seeds.'
    )
    table = Table(['arm', 'setting', study.primary.title, ''], rows)
    return Section('What was tuned, and how', [text], [table])


def _what_was_trained(study: Study) -> Section:
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


def _what_did_not_help(study: Study, shown: Sequence[str]) -> Section | None:
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
    text = f'Arms whose 95 % interval in {primary.title} does not lie above the baseline, in their '
    text += 'own seeds; and arms that were tuned and stayed below the baseline at every setting.'
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


def _statistics(study: Study, shown: Sequence[str]) -> Section:
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
    return Section('How sure this is', text, second)


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


def _rerun(study: Study) -> Section:
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


# --- Rendering ------------------------------------------------------------------------------------


def _render(study: Study, sections: Sequence[Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters['unbroken'] = _unbroken
    return environment.get_template('report.html').render(
        name=study.name,
        question=study.plan['question'],
        verdict=verdict(study),
        sections=sections,
    )


def _unbroken(cell: str) -> str:
    """A cell whose intervals and deviations stay on one line."""
    return re.sub(r'\[[^]]*\]| ± ', lambda found: found[0].replace(' ', '\N{NO-BREAK SPACE}'), cell)


def _markdown(study: Study, sections: Sequence[Section]) -> str:
    parts = [f'# {study.name}', study.plan['question']]
    parts.append('\n'.join(f'- {sentence}' for sentence in verdict(study)))
    for section in sections:
        if section.drawn:
            continue
        parts += [f'## {section.heading}', *section.text]
        for table in section.tables:
            parts += [f'**{table.caption}**'] if table.caption else []
            parts.append(_markdown_table(table))
        parts += [f'```sh\n{section.code}\n```'] if section.code else []
    return '\n\n'.join(parts) + '\n'


def _markdown_table(table: Table) -> str:
    separator = ['---'] * len(table.columns)
    lines = [
        [cell.replace('|', '\\|') for cell in row]
        for row in (table.columns, separator, *table.rows)
    ]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)

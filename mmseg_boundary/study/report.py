"""The page of a study: one HTML file that needs no other, and Markdown with files of its drawings.

Both are made of the same sections. Nothing is shown of a split that is opened last until all finals
are in.
"""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

from ..files import atomic_write
from ..report import write_report as write_json
from .conclusions import compare
from .extremes import largest_differences
from .locks import SUMMARY, locked
from .page import FIGURES, Section, html, markdown, svg_file
from .record import how_sure, how_tuned, published, rerun, what_did_not_help, what_was_trained
from .results import PLAN, Study, UnfitResults, read
from .scores import (
    differences_drawn,
    how_to_read,
    how_to_read_the_differences,
    over_training,
    table_of_arms,
    table_of_classes,
    time_and_memory,
    widths_drawn,
)

PAGE, MARKDOWN = 'report.html', 'report.md'
MOST_BYTES = 5_000_000


def write_report(folder: str | Path) -> Path:
    """Writes report.html, report.md and figures/*.svg into the folder of a study.

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
    page = html(study, sections)
    if len(page.encode()) > MOST_BYTES:
        raise UnfitResults(
            f'The page of {study.name} would have {len(page.encode()) / 1e6:.1f} MB, and '
            f'{MOST_BYTES / 1e6:.0f} MB are allowed: compare fewer arms in one study.'
        )
    drawings = [drawing for section in sections for drawing in section.drawings]
    files = {MARKDOWN: markdown(study, sections)}
    files |= {f'{FIGURES}/{drawing.name}.svg': svg_file(drawing) for drawing in drawings}
    (study.folder / FIGURES).mkdir(exist_ok=True)
    for name, text in (*files.items(), (PAGE, page)):
        with atomic_write(study.folder / name) as unfinished:
            unfinished.write_text(text, encoding='utf-8')
    return study.folder / PAGE


def _note_openings(study: Study) -> None:
    """Records when the splits that are opened last were first shown."""
    with locked(study.folder / SUMMARY):
        path = study.folder / PLAN
        plan = json.loads(path.read_text())
        opened = plan.get('opened') or {}
        for name in study.opened_last:
            commits = {run.commit for arm in study.titles for run in study.reported(arm, name)}
            if commits and name not in opened:
                today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
                opened[name] = dict(date=today, commit=', '.join(sorted(commits)))
        study.plan['opened'] = opened
        if plan.get('opened') != opened:
            write_json(path, dict(plan, opened=opened))


def _sections(study: Study) -> Iterator[Section]:
    yield Section(
        'All arms',
        text=[how_to_read(study)],
        tables=[table_of_arms(study, split) for split in study.splits],
    )
    shown = [split for split in study.splits if compare(study, split)]
    if shown:
        yield Section(
            f'Difference from {study.titles[study.baseline]}',
            text=[how_to_read_the_differences(study)],
            drawings=[differences_drawn(study, split) for split in shown],
        )
        curves = [drawing for split in shown for drawing in widths_drawn(study, split)]
        if curves:
            yield Section('Score against width', drawings=curves)
    per_class = [table for split in shown if (table := table_of_classes(study, split))]
    if per_class:
        yield Section(
            'Per class',
            text=[f'{study.primary.title}: the baseline, and by how much the others exceed it.'],
            tables=per_class,
        )
    if section := over_training(study):
        yield section
    yield time_and_memory(study)
    if section := largest_differences(study):
        yield section
    if study.plan.get('tuning'):
        yield how_tuned(study)
    yield what_was_trained(study)
    if section := what_did_not_help(study, shown):
        yield section
    yield how_sure(study, shown)
    if study.plan.get('published'):
        yield published(study.plan['published'])
    yield rerun(study)

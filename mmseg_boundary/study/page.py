"""What a study's page is made of, as HTML and as Markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup

from .conclusions import verdict
from .figures import Panel
from .results import Study

HERE = Path(__file__).parent


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


def html(study: Study, sections: Sequence[Section]) -> str:
    """One file that needs no other."""
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


def markdown(study: Study, sections: Sequence[Section]) -> str:
    """The same without drawings and images."""
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

"""What a study's page is made of, as HTML, and as Markdown with files of its drawings."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import jinja2

from .conclusions import verdict
from .figures import COLORS, LIGHT, Panel, in_light_colors
from .results import Study

HERE = Path(__file__).parent
FIGURES = 'figures'  # the folder of the drawings, beside the Markdown


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
    """An SVG.

    Attributes:
        name: of its file, which no other drawing of the page has.
        draw: returns it in the colors of the page.
        legend: the lines that are in it: (dashed, color of the page, title).
    """

    name: str
    caption: str
    draw: Callable[[], str]
    legend: list[tuple[bool, int, str]] = field(default_factory=list)

    @cached_property
    def svg(self) -> str:
        return self.draw()


@dataclass(frozen=True)
class Strip:
    """Panels side by side."""

    caption: str
    panels: list[Panel]


@dataclass(frozen=True)
class Section:
    """The content below a heading, in this order.

    Attributes:
        only_html: whether it is about its strips, which are not in Markdown.
        folded: whether a reader has to open it.
    """

    heading: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)
    code: str = ''
    only_html: bool = False
    folded: bool = False


def html(study: Study, sections: Sequence[Section]) -> str:
    """One file that needs no other."""
    return _template('report.html').render(
        name=study.name,
        question=study.plan['question'],
        verdict=verdict(study),
        sections=sections,
    )


def svg_file(drawing: Drawing) -> str:
    """A drawing that needs no page: on white, with its legend below."""
    svg = in_light_colors(drawing.svg)
    *_, width, height = map(float, re.findall(r'viewBox="(.*?)"', svg)[0].split())
    svg = svg.replace('<svg ', f'<svg width="{width}" height="{height}" ', 1)
    return _template('drawing.svg').render(
        svg=svg, width=width, height=height, legend=drawing.legend
    )


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters['unbroken'] = _unbroken
    environment.globals.update(light=LIGHT, series=COLORS)
    return environment.get_template(name)


def _unbroken(cell: str) -> str:
    """A cell whose intervals and deviations stay on one line."""
    return re.sub(r'\[[^]]*\]| ± ', lambda found: found[0].replace(' ', '\N{NO-BREAK SPACE}'), cell)


def markdown(study: Study, sections: Sequence[Section]) -> str:
    """The same without images; its drawings are files of `FIGURES`."""
    parts = [f'# {study.name}', study.plan['question']]
    parts.append('\n'.join(f'- {sentence}' for sentence in verdict(study)))
    for section in sections:
        if section.only_html:
            continue
        parts += [f'## {section.heading}', *section.text]
        for table in section.tables:
            parts += [f'**{table.caption}**'] if table.caption else []
            parts.append(_markdown_table(table))
        parts += [
            f'![{re.sub(r"[][]", "", drawing.caption)}]({FIGURES}/{drawing.name}.svg)'
            for drawing in section.drawings
        ]
        parts += [f'```sh\n{section.code}\n```'] if section.code else []
    return '\n\n'.join(parts) + '\n'


def _markdown_table(table: Table) -> str:
    separator = ['---'] * len(table.columns)
    lines = [
        [cell.replace('|', '\\|') for cell in row]
        for row in (table.columns, separator, *table.rows)
    ]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)

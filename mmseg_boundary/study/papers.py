"""The numbers of papers, and what is known to be wrong in them."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / 'published'


class UnknownNumbers(ValueError):
    """Published numbers are named that are not there; says which there are."""


@dataclass(frozen=True)
class Paper:
    """Rows of the tables of a paper.

    Attributes:
        unit: what its scores are multiplied by to be percent.
    """

    title: str
    caveats: list[str]
    unit: float
    rows: list[dict[str, str]]

    def row(self, selector: dict) -> dict[str, str]:
        """The row that has these values in these columns.

        Raises:
            UnknownNumbers: there is none, or more than one.
        """
        wanted = {column: str(value) for column, value in selector.items()}
        found = [row for row in self.rows if wanted.items() <= row.items()]
        if len(found) != 1:
            raise UnknownNumbers(
                f'{len(found) or "no"} rows of the published numbers have {wanted}; name one row '
                f'by its columns {", ".join(self.rows[0])}'
            )
        return found[0]

    def score(self, row: dict[str, str], column: str) -> float:
        """A number of a row, in percent."""
        return float(row[column]) * self.unit


def read(name: str) -> Paper:
    """The published numbers of a name.

    Args:
        name: of a CSV in `published/`, such as 'epl_results'; after a colon those of its tables
            that are wanted: 'epl_results: VIII, IX'.

    Raises:
        UnknownNumbers: there is no such file or table.
    """
    stem, _, chosen = (part.strip() for part in name.partition(':'))
    sources = json.loads((HERE / 'sources.json').read_text(encoding='utf-8'))
    if stem not in sources:
        raise UnknownNumbers(
            f'The study names the published numbers {stem!r}, which are not there: choose of '
            f'{", ".join(sources)}.'
        )
    with (HERE / f'{stem}.csv').open(newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    wanted = {each.strip() for each in chosen.split(',')} if chosen else set()
    known = dict.fromkeys(table for row in rows for table in _tables(row))
    if wanted - {*known}:
        raise UnknownNumbers(
            f'The study names the table {", ".join(sorted(wanted - {*known}))} of {stem}, which '
            f'has {", ".join(known)}.'
        )
    source = sources[stem]
    return Paper(
        source['title'],
        [each['text'] for each in source['caveats'] if _concerns(each, wanted)],
        source.get('unit', 1),
        [row for row in rows if not wanted or wanted & {*_tables(row)}],
    )


def _tables(row: dict) -> list[str]:
    """The tables that a row stands in; the baseline of an ablation stands in several."""
    return row.get('table', '').split()


def _concerns(caveat: dict, tables: set[str]) -> bool:
    return not tables or 'tables' not in caveat or bool(tables & {*caveat['tables'].split()})

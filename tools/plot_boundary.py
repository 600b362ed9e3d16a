"""Draws boundary F and trimap mIoU against pixel width, one line per run, and writes the table.

python tools/test.py CONFIG CHECKPOINT --boundary --json ce.json
python tools/plot_boundary.py ce.json epl.json --out boundary.png

After Fig. 7 of Yin et al. (EPL). The table is boundary.csv, beside the figure.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt

from mmseg_boundary.files import UnwrittenFile, atomic_write
from mmseg_boundary.report import by_width

CURVES = {'BoundaryF': 'boundary F', 'TrimapIoU': 'trimap mIoU'}
# Okabe and Ito's colours and a shape each, for the colour-blind and for grey print.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#56B4E9', '#E69F00', '#000000')
MARKERS = 'os^Dv*XP<>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('reports', nargs='+', type=Path, help='files of test.py --json')
    parser.add_argument('--names', nargs='+', help="the runs' names (default: those of the files)")
    parser.add_argument('--out', type=Path, default=Path('boundary.png'), help='the figure')
    args = parser.parse_args()
    names = args.names or [path.stem for path in args.reports]
    if len(set(names)) != len(args.reports):
        raise SystemExit(
            f'The {len(args.reports)} runs are called {", ".join(names)}; give each a name of its '
            'own with --names.'
        )
    runs = {name: read(path) for name, path in zip(names, args.reports, strict=True)}
    try:
        with atomic_write(args.out) as unfinished:
            draw(runs, unfinished)
        with atomic_write(args.out.with_suffix('.csv')) as table:
            with table.open('w', newline='') as file:
                write_table(runs, file)
    except UnwrittenFile as error:
        raise SystemExit(str(error)) from None
    write_table(runs, sys.stdout)
    print(f'Picture: {args.out}, table: {args.out.with_suffix(".csv")}')


def read(path: Path) -> dict[str, dict[int, float]]:
    """{'BoundaryF' or 'TrimapIoU': {width: mean}} of one report."""
    try:
        report = json.loads(path.read_text())
        tell_of_shares(path, report)
        return {name: by_width(report, name) for name in CURVES}
    except (OSError, ValueError) as error:
        raise SystemExit(f'{path} is not what test.py --boundary --json writes: {error}') from None


def draw(runs: dict[str, dict[str, dict[int, float]]], path: Path) -> None:
    figure, axes = plt.subplots(1, len(CURVES), figsize=(10, 4), layout='constrained')
    for axis, (name, title) in zip(axes, CURVES.items(), strict=True):
        for number, (run, curves) in enumerate(runs.items()):
            axis.plot(
                list(curves[name]),
                list(curves[name].values()),
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                label=run,
            )
        axis.set_xticks(sorted({width for curves in runs.values() for width in curves[name]}))
        axis.set_xlabel('width (px)')
        axis.set_ylabel(f'{title} (%)')
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def tell_of_shares(path: Path, report: dict) -> None:
    widths = {width for each in report.get('evaluators', ()) for width in each['widths']}
    shares = sorted(width for width in widths if width < 1)
    if shares:
        print(
            f'{path}: the widths {", ".join(map(str, shares))} are shares of the diagonal, and '
            'left out of figure and table, which have pixels.',
            file=sys.stderr,
        )


def write_table(runs: dict[str, dict[str, dict[int, float]]], file) -> None:
    """One line per run and curve; empty where a run was not measured at a width, or is NaN."""
    widths = sorted({w for curves in runs.values() for curve in curves.values() for w in curve})
    table = csv.writer(file, lineterminator='\n')
    table.writerow(['run', 'metric', *(f'{width} px' for width in widths)])
    for run, curves in runs.items():
        for name, curve in curves.items():
            values = [curve.get(width) for width in widths]
            known = [value is not None and value == value for value in values]
            cells = [f'{v:.2f}' if k else '' for v, k in zip(values, known, strict=True)]
            table.writerow([run, f'm{name}', *cells])


if __name__ == '__main__':
    main()

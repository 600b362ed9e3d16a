"""Draws boundary metrics against pixel width, one line per run, and writes the table.

python tools/test.py CONFIG CHECKPOINT --boundary --json ce.json
python tools/plot_boundary.py ce.json epl.json --out boundary.png
python tools/plot_boundary.py ce.json epl.json --class pole --out pole.png

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

from mmseg_boundary.files import UnwrittenFile, atomic_write, names_of
from mmseg_boundary.report import by_width

CURVES = {
    'BoundaryF': 'boundary F',
    'TrimapIoU': 'trimap IoU',
    'BoundaryIoU': 'Boundary IoU',
}
# Okabe and Ito's colours and a shape each, for the colour-blind and for grey print.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#56B4E9', '#E69F00', '#000000')
MARKERS = 'os^Dv*XP<>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('reports', nargs='+', type=Path, help='files of test.py --json')
    parser.add_argument('--names', nargs='+', help="the runs' names (default: those of the files)")
    parser.add_argument('--class', dest='one_class', help='this class alone (default: the mean)')
    parser.add_argument('--out', type=Path, default=Path('boundary.png'), help='the figure')
    parser.add_argument('--force', action='store_true', help='replace figure and table')
    args = parser.parse_args()
    names = args.names or names_of(args.reports)
    if len(set(names)) != len(args.reports):
        raise SystemExit(
            f'The {len(args.reports)} runs are called {", ".join(names)}; give each a name of its '
            'own with --names.'
        )
    table_path = args.out.with_suffix('.csv')
    if not args.force:
        refuse_to_replace(args.out, table_path)
    runs = {
        name: read(path, args.one_class) for name, path in zip(names, args.reports, strict=True)
    }
    try:
        with atomic_write(args.out) as unfinished:
            draw(runs, unfinished, args.one_class)
        with atomic_write(table_path) as table:
            with table.open('w', newline='') as file:
                write_table(runs, file, args.one_class)
    except UnwrittenFile as error:
        raise SystemExit(str(error)) from None
    write_table(runs, sys.stdout, args.one_class)
    print(f'Picture: {args.out}, table: {table_path}')


def refuse_to_replace(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise SystemExit(
                f'{path} exists; replace it with --force, or name another file with --out.'
            )


def read(path: Path, one_class: str | None) -> dict[str, dict[int, float]]:
    """{'BoundaryF' or another of CURVES: {width: score}} of one report, of what it has."""
    try:
        report = json.loads(path.read_text())
        tell_of_shares(path, report)
        if one_class is not None:
            report = of_class(report, one_class)
        curves, missing = {}, []
        for name in CURVES:
            try:
                curves[name] = by_width(report, name)
            except ValueError as error:
                missing.append(error)
        if not curves:
            raise missing[0]
        return curves
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SystemExit(f'{path} is not what test.py --boundary --json writes: {error}') from None


def of_class(report: dict, one_class: str) -> dict:
    """The report as of a data set with this class alone: the means are its scores."""
    metrics, known = {}, []
    for evaluator in report.get('evaluators', ()):
        prefix = f'{evaluator["prefix"]}/' if evaluator['prefix'] else ''
        classes = evaluator.get('classes', [])
        known += classes
        if one_class in classes:
            place = classes.index(one_class)
            metrics |= {
                f'{prefix}m{key}': scores[place] for key, scores in evaluator['per_class'].items()
            }
    if not metrics:
        raise SystemExit(
            f"There is no class '{one_class}'; choose one of {', '.join(dict.fromkeys(known))}."
        )
    return dict(report, metrics=metrics)


def draw(
    runs: dict[str, dict[str, dict[int, float]]], path: Path, one_class: str | None = None
) -> None:
    drawn = {name: title for name, title in CURVES.items() if any(name in r for r in runs.values())}
    figure, axes = plt.subplots(
        1, len(drawn), figsize=(5 * len(drawn), 4), layout='constrained', squeeze=False
    )
    for axis, (name, title) in zip(axes[0], drawn.items(), strict=True):
        widths = set()
        for number, (run, curves) in enumerate(runs.items()):
            curve = curves.get(name, {})
            widths |= set(curve)
            axis.plot(
                list(curve),
                list(curve.values()),
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                label=run,
            )
        axis.set_xticks(sorted(widths))
        axis.set_xlabel('width (px)')
        of = 'mean' if one_class is None else one_class
        axis.set_ylabel(f'{title}, {of} (%)')
        axis.grid(alpha=0.3)
    axes[0][0].legend()
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


def write_table(
    runs: dict[str, dict[str, dict[int, float]]], file, one_class: str | None = None
) -> None:
    """One line per run and curve; empty where a run was not measured at a width, or is NaN."""
    widths = sorted({w for curves in runs.values() for curve in curves.values() for w in curve})
    table = csv.writer(file, lineterminator='\n')
    table.writerow(['run', 'metric', *(f'{width} px' for width in widths)])
    for run, curves in runs.items():
        for name, curve in curves.items():
            values = [curve.get(width) for width in widths]
            known = [value is not None and value == value for value in values]
            cells = [f'{v:.2f}' if k else '' for v, k in zip(values, known, strict=True)]
            metric = f'm{name}' if one_class is None else f'{name} of {one_class}'
            table.writerow([run, metric, *cells])


if __name__ == '__main__':
    main()

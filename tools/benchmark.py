"""Time and peak memory of losses, distances and metrics, beside plain and published forms of them.

python tools/benchmark.py losses distances metrics
python tools/benchmark.py losses --device cuda --json numbers.json
python tools/benchmark.py growth step
python tools/benchmark.py --beside 4
python tools/benchmark.py losses distances metrics --beside 4 --page docs/performance.md

`growth` is EPL alone, over image size, classes, kernel and splitter. `step` measures our losses in
a config beside the whole training step. 'plain' is EPL's reference form, BF1 by `max_pool2d`, the
active boundary loss with the neighbors of every pixel, distances by OpenCV in two passes;
'published' are the algorithms of `benchmarks/peers.py`. Forms of one definition must give equal
results. `costs` measures each of our losses, as a head calls it, by classes and crop; `others` some
of them beside MMSegmentation's, MONAI's where that can be imported, and published forms
(docs/other-implementations.md). `--beside N` measures the slowdown of CE, EPL and BF1 beside N busy
processes, medians of five, with the wait policy of `train.py` if OMP_WAIT_POLICY is not set.
`--page` writes `costs`, the shares of a step, and what else is asked for but `growth` and `others`,
as a page.

Time: the forms take turns in one process; the median, fastest and slowest run in the worst case.
Cases of a loss: a uniform prediction (all energies tie), a half-trained and a saturated one, on
blobs and on thin, speckled labels, with each mu. A peer that takes seconds runs on the half-trained
one of blobs, once, and its memory is taken up to w=13. A factor is the smallest of all cases.
Memory: what the process grows by at most, in a process of its own where freed memory goes back at
once; gradients and results count, inputs do not. Floor: every input read and every result written
once, at the speed of a copy here, and an exponential per true line pixel and level, at the speed
of `exp` here; in memory, the result.

Without a GPU this is for Linux: peaks are read from /proc.
"""

import argparse
import os
import sys
from pathlib import Path

import torch
from benchmarks.cases import SUBJECTS, Setting
from benchmarks.measuring import beside, compare_with_authors, measure_machine, peaks_of, times_of
from benchmarks.reporting import beside_table, cost_tables, page, seconds_of_step, table

from mmseg_boundary.config import path
from mmseg_boundary.files import atomic_write
from mmseg_boundary.report import write_report

PUBLISHED_ELSEWHERE = """\
The published EPL as measured elsewhere (2 cores, 2 threads, beside another program, mu=10), point
and line: w=7 1.75 + 4.0 s, 1.75 GiB; w=13 4.64 + 8.49 s, 3.3 GiB.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('subjects', nargs='*', help=f'what to measure: {", ".join(SUBJECTS)}')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument('--config', help='of `step`', default=path('pspnet_epl_city'))
    parser.add_argument('--quick', action='store_true', help='tiny, to see that it runs')
    parser.add_argument('--json', help='file for all numbers, run by run')
    parser.add_argument('--beside', type=int, metavar='N', help='beside N busy processes')
    parser.add_argument('--page', help='file for the tables of docs/performance.md')
    args = parser.parse_args()
    if unknown := set(args.subjects) - set(SUBJECTS):
        given = ', '.join(map(repr, unknown))
        parser.error(f'invalid choice: {given} (choose from {", ".join(SUBJECTS)})')
    if not (args.subjects or args.beside is not None or args.page):
        parser.error(f'nothing to measure; choose of {", ".join(SUBJECTS)}, --beside and --page.')
    if args.page:
        args.subjects += [each for each in ('costs', 'step') if each not in args.subjects]
    if args.beside is not None and args.beside < 1:
        raise SystemExit(
            f'--beside is {args.beside}; give the number of busy processes, 1 or more.'
        )
    if args.threads < 1:
        raise SystemExit(f'--threads is {args.threads}; give 1 or more.')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise SystemExit(
            '--device is cuda, but torch finds no GPU here. Leave --device out to measure the CPU.'
        )
    if 'step' in args.subjects and not Path(args.config).is_file():
        raise SystemExit(f'The config {args.config} does not exist. `ls configs` lists ours.')
    setting = Setting(args.device, args.threads, args.quick, args.config)
    machine = measure_machine(setting)
    print(', '.join(f'{key} {value}' for key, value in machine.items()), flush=True)
    report = dict(machine=machine, command=sys.argv[1:], rows={})
    for subject in args.subjects:
        if subject == 'losses':
            report['authors'] = compare_with_authors(setting)
        rows = report['rows'][subject] = times_of(subject, setting)
        for row, peaks in zip(rows, peaks_of(subject, setting), strict=True):
            for name, each in peaks.items():
                row['forms'][name]['peak_bytes'] = each
            floor = row['floor']
            floor['seconds'] = floor['moved_bytes'] / (1e9 * machine['copied GB/s'])
            floor['seconds'] += floor['exps'] / (1e9 * machine['G exp/s'])
        shown = cost_tables(rows) if subject == 'costs' else table(rows)
        print(f'\n{shown}\n', flush=True)
        if subject == 'losses':
            print(PUBLISHED_ELSEWHERE)
        if subject == 'step':
            mine, whole = seconds_of_step(rows)
            print(f'{100 * mine / whole:.1f} % of the time of a step\n')
    if args.beside:
        report['beside'] = beside(setting, args.beside)
        print(f'\n{beside_table(report["beside"])}\n', flush=True)
    if args.json:
        write_report(args.json, report)
    if args.page:
        with atomic_write(args.page) as unfinished:
            Path(unfinished).write_text(page(report, args.beside))


if __name__ == '__main__':
    main()

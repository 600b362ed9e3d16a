"""Compares losses: runs and reports the arms, seeds and images of a study's file.

python tools/study.py run configs/studies/shapes.py --workers 2
python tools/study.py status|stop|report configs/studies/shapes.py
"""

# First, since it refuses an unfit installation before anything of it is imported.
import mmseg_boundary.cli  # noqa: F401

# isort: split
import argparse
import os
import subprocess
from pathlib import Path

from mmseg_boundary.stacks import STACK
from mmseg_boundary.study import code, plan, reading
from mmseg_boundary.study.locks import holder, lock
from mmseg_boundary.study.runs import FailedRun
from mmseg_boundary.study.schedule import Study, Workers, stop

ROOT = Path(__file__).resolve().parents[1]
SCALES = 'configs/studies/scales'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare losses over seeds')
    parser.add_argument('action', choices=['run', 'status', 'stop', 'report'])
    parser.add_argument('study', type=Path, help='its file, such as configs/studies/shapes.py')
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='its folder (default: work_dirs/studies/NAME, or NAME_in_place); of a study with '
        'parts, the one that holds theirs',
    )
    parser.add_argument('--part', help='one part of a study that has several (default: all)')
    parser.add_argument(
        '--scale',
        help='small networks and data in place of its own: a file in configs/studies/scales, such '
        'as tiny',
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='runs at a time')
    parser.add_argument('--keep', action='store_true', help='keep all weights')
    parser.add_argument('--progress', action='store_true', help='print the iterations of the runs')
    code = parser.add_mutually_exclusive_group()
    code.add_argument('--commit', help='go on with the code of this commit')
    code.add_argument(
        '--in-place',
        action='store_true',
        help='run the working tree as it is; its rows never mix with those of a commit',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        root = ROOT if args.in_place else repository()
        for each in plans(args, root):
            do = dict(run=run, status=status, report=report, stop=end)[args.action]
            do(Study(each, folder_of(each, args)), args, root)
    except (plan.UnfitStudy, FailedRun) as error:
        raise SystemExit(str(error)) from None


def plans(args: argparse.Namespace, root: Path) -> list[plan.Plan]:
    """Those of the study's parts, at the scale that is asked for."""
    parts = reading.parts(args.study) if args.part is None else [args.part]
    found = [reading.read(args.study, root, part) for part in parts]
    if args.scale is None:
        return found
    scale = reading.read_scale(root / SCALES / f'{args.scale}.py', root)
    return [each.at(scale) for each in found]


def folder_of(study: plan.Plan, args: argparse.Namespace) -> Path:
    """The folder of a study; for its parts, one each in `--work-dir`."""
    name = f'{study.name}_in_place' if args.in_place else study.name
    if args.work_dir is None:
        return ROOT / 'work_dirs/studies' / name
    return args.work_dir if study.part is None else args.work_dir / name


def repository() -> Path:
    """The clone that has the data and the history; this tool may be that of a worktree."""
    command = ['git', '-C', str(ROOT), 'rev-parse', '--show-toplevel']
    found = subprocess.run(command, capture_output=True, text=True)
    return Path(found.stdout.strip()) if found.returncode == 0 else ROOT


def end(study: Study, args: argparse.Namespace, root: Path) -> None:
    """Ends what works on the study."""
    print(f'{stop(study.folder)} processes ended.')


def run(study: Study, args: argparse.Namespace, root: Path) -> None:
    """Does what is left of the study."""
    forks = any(study.plan.source_of(each) for each in study.runs)
    if STACK != 'onedl' and (forks or not args.in_place):
        raise plan.UnfitStudy(
            f'A study needs the onedl stack, whose sampler goes on where a run was broken off; '
            f"this is {STACK}. Install the other (pip install -e '.[onedl]'), or run a study "
            'without forks with --in-place.'
        )
    if args.workers < 1:
        raise plan.UnfitStudy(f'--workers is {args.workers}; give 1 or more.')
    total, left, runs = study.estimate()
    print(
        f'{study.plan.name}: {runs} of {len(study.runs)} runs are left, about {left:.2f} '
        f'core-hours, or {left / args.workers:.2f} hours with {args.workers} workers; '
        f'{total:.2f} core-hours in all, of a budget of {study.plan.budget:g}.',
        flush=True,
    )
    study.require_budget()
    study.require_space()
    # Here, since it takes seconds to import.
    from mmseg_boundary.study.checks import require_runnable

    require_runnable(study.plan, root)
    found = tree(study) if args.in_place else worktree(study, args, root)
    study.write_summary(found)
    Workers(study, found, root, args.keep, args.progress).work(args.workers)
    print(f'All runs are done: {study.folder / "results.csv"}')
    if study.plan.ends_with_tuning:
        print(
            'The tuning is done. Name the finals in the file, and run it again: a split that is '
            'opened last waits for them.'
        )


def tree(study: Study) -> code.Code:
    """The working tree as it is."""
    found = code.in_place(ROOT)
    study.require_rows_of(found)
    return found


def worktree(study: Study, args: argparse.Namespace, root: Path) -> code.Code:
    """The commit that is to run, checked out in the study's folder."""
    commit, code_hash = code.find(root, args.commit, args.study)
    study.require_rows_of(code.Code(root, commit, code_hash))
    file = lock(study.folder / '.code.lock')
    at_work = [holder(each) for each in (study.folder / 'processes').glob('*.lock')]
    here = study.folder / 'code'
    if any(at_work) and here.is_dir():
        running = code.current(here)
        if code.hash_of(root, running) != code_hash:
            raise plan.UnfitStudy(
                f'Another process runs this study with the code of commit {running[:12]}: let it '
                f'end, or join it with --commit {running[:12]}.'
            )
        commit = running
    checked_out = code.check_out(root, here, commit, code_hash)
    os.close(file)
    return checked_out


def status(study: Study, args: argparse.Namespace, root: Path) -> None:
    """Prints the state of each run."""
    for each in study.runs:
        process = holder(study.folders[each].lock)
        if study.is_done(each):
            said = 'ended in NaN' if study.has_diverged(each) else 'finished'
        else:
            said = f'at work (process {process})' if process else 'waiting'
        print(f'{each.name}: {said}')
    total, left, runs = study.estimate()
    print(
        f'{len(study.runs) - runs} of {len(study.runs)} runs are finished; about {left:.2f} of '
        f'{total:.2f} core-hours are left (budget: {study.plan.budget:g}).'
    )


def report(study: Study, args: argparse.Namespace, root: Path) -> None:
    """Writes the report of what there is."""
    from mmseg_boundary.study.report import write_report
    from mmseg_boundary.study.results import UnfitResults

    study.write_summary()
    try:
        print(f'Report: {write_report(study.folder)}')
    except UnfitResults as error:
        raise plan.UnfitStudy(str(error)) from None


if __name__ == '__main__':
    main()

"""Decides which runs of a study are due, and has workers do them.

The whole state lies in the study's folder:

    study.json           the plan as it was read, the winners of the tuning, the splits opened
    code/                a worktree of the commit that runs; a study in place has none
    rows/NAME.json       a finished run on a split, written atomically
    results.csv          the rows as a table
    per_image/NAME.npz   what tools/test.py --per-image counted
    predictions/NAME/    label images of the first seed's runs
    runs/RUN/            config, log, checkpoints and lock of a run
    processes/           a lock per process at work
"""

import csv
import json
import math
import os
import shutil
import signal
import statistics
import threading
import time
from pathlib import Path
from typing import NoReturn

from ..files import atomic_write
from ..report import write_report
from .code import Code, require_untouched
from .locks import SUMMARY, holder, lock, locked, note, try_lock
from .plan import Plan, Run, UnfitStudy
from .runs import FailedRun, Processes, RunFolder, execute

PAUSE = 1.0  # seconds
PATIENCE = 30.0  # seconds
HOUR = 3600
DECLARED = 'finals', 'baselines', 'seeds', 'endpoints', 'margins'  # before the first final


class Study:
    """A plan and its folder."""

    def __init__(self, plan: Plan, folder: str | Path) -> None:
        self.plan = plan
        self.folder = Path(folder).resolve()
        self.runs = plan.runs()
        self.folders = {run: RunFolder(self.folder, run) for run in self.runs}
        self._winners: dict[str, int] = {}

    # --- What there is ----------------------------------------------------------------------------

    def rows(self) -> list[dict]:
        """All finished rows, sorted by their files."""
        files = sorted((self.folder / 'rows').glob('[!.]*.json'))
        return [json.loads(file.read_text()) for file in files]

    def row(self, run: Run, split: str) -> dict | None:
        """One finished row."""
        path = self.folder / 'rows' / run.row(split)
        return json.loads(path.read_text()) if path.is_file() else None

    def is_done(self, run: Run) -> bool:
        """Whether all rows of a run are there."""
        splits = self.plan.splits_of(run)
        return all(self.folders[run].row(split).is_file() for split in splits)

    def has_diverged(self, run: Run) -> bool:
        """Whether a run ended in a NaN or infinite loss."""
        rows = [self.row(run, split.name) for split in self.plan.splits_of(run)]
        return any(row is not None and row['status'] == 'nan' for row in rows)

    def states_wanted(self, run: Run) -> list[int]:
        """The states of a run that forks still wait for."""
        waiting = [each for each in self.runs if not self.is_done(each)]
        return self.plan.states_of(run, waiting)

    def lacks_states(self, run: Run) -> bool:
        """Whether forks wait for a state that is not, or no longer, there."""
        wanted = self.states_wanted(run)
        return not all(self.folders[run].state(each).is_file() for each in wanted)

    def winners(self) -> dict[str, int]:
        """{arm: the setting with the best first endpoint}, of the arms whose tuning is complete.

        Of equals the first; a run that diverged is the worst there is.
        """
        tuning = self.plan.tuning
        for name, settings in (tuning.grid if tuning else {}).items():
            if name in self._winners:
                continue
            scores = [self._tuned_score(name, index) for index in range(len(settings))]
            if None not in scores:
                self._winners[name] = scores.index(max(scores))
        return dict(self._winners)

    def _tuned_score(self, arm: str, index: int) -> float | None:
        tuning = self.plan.tuning
        runs = [Run(arm, seed, 'tuning', index) for seed in tuning.seeds]
        rows = [self.row(run, tuning.split.name) for run in runs]
        if None in rows:
            return None
        return statistics.fmean(endpoint_of(row, self.plan.endpoints[0]) for row in rows)

    def settings(self, run: Run) -> dict | None:
        """The settings of a run; None as long as its tuning is not complete."""
        tuning = self.plan.tuning
        if run.stage == 'final' and tuning and run.arm in tuning.grid:
            winner = self.winners().get(run.arm)
            return None if winner is None else self.plan.settings_of(run, winner)
        return self.plan.settings_of(run)

    # --- Written beside the rows ------------------------------------------------------------------

    def write_summary(self, code: Code | None = None) -> None:
        """Brings `study.json` and `results.csv` to the file and the rows.

        Raises:
            UnfitStudy: what is compared has changed since the first final.
        """
        with locked(self.folder / SUMMARY):
            path = self.folder / 'study.json'
            before = json.loads(path.read_text()) if path.is_file() else {}
            summary = dict(before, **self.plan.resolved())
            self._require_as_declared(before, summary)
            if summary['tuning']:
                summary['tuning']['winner'] = self.winners()
            if code:
                summary.update(commit=code.commit, code_hash=code.hash)
            summary.setdefault('opened', {})
            write_report(path, summary)
            self._write_csv()

    def _require_as_declared(self, before: dict, now: dict) -> None:
        changed = [key for key in DECLARED if before.get('finals') and now[key] != before[key]]
        if changed and any(row['stage'] == 'final' for row in self.rows()):
            key = changed[0]
            raise UnfitStudy(
                f'{self.plan.name} has {key}={now[key]}, and its finals began with {before[key]}: '
                'what is compared is declared before. Restore it; arms that finals does not name '
                'can be added.'
            )

    def _write_csv(self) -> None:
        hidden = self.hidden_splits()
        rows = [row for row in self.rows() if row['split'] not in hidden]
        metrics = list(dict.fromkeys(key for row in rows for key in row['metrics']))
        first = ('study', 'stage', 'arm', 'setting', 'seed', 'split', 'status')
        last = ('forward_seconds', 'backward_seconds', 'peak_memory_mib', 'parameters')
        last += ('core_seconds', 'commit', 'code_hash')
        with atomic_write(self.folder / 'results.csv') as unfinished, unfinished.open('w') as file:
            table = csv.DictWriter(file, (*first, *metrics, *last), extrasaction='ignore')
            table.writeheader()
            for row in sorted(rows, key=_order):
                costs = row['cpu_seconds'] or {}
                costs = {f'{part}_seconds': value for part, value in costs.items()}
                table.writerow({**row['metrics'], **row, **costs})

    def finals_are_in(self) -> bool:
        """Whether all reported runs have their rows."""
        return all(self.is_done(run) for run in self.runs if run.stage == 'final')

    def hidden_splits(self) -> set[str]:
        """The splits that stay hidden until all finals are in."""
        if self.finals_are_in():
            return set()
        return {split.name for split in self.plan.splits if split.opened_last}

    # --- Before anything runs ---------------------------------------------------------------------

    def require_rows_of(self, code: Code) -> None:
        """Raises an UnfitStudy for rows or unfinished runs of another code, and for rows of other
        settings than the file's."""
        files = {self.folder / 'rows' / run.row(split.name): run
                 for run in self.runs for split in self.plan.splits_of(run)}  # fmt: skip
        for path in sorted((self.folder / 'rows').glob('[!.]*.json')):
            row = json.loads(path.read_text())
            if row['code_hash'] != code.hash:
                _refuse_code(path, row['commit'], code)
            settings = self.settings(files[path]) if path in files else None
            if settings is not None and settings != row['settings']:
                raise UnfitStudy(
                    f'{path} was made with other settings than {self.plan.name} now gives the arm '
                    f'{row["arm"]!r}: restore them, or give the new ones an arm of their own.'
                )
        summary, begun = self.folder / 'study.json', self.folder / 'runs'
        if summary.is_file() and any(begun.glob('*/train/iter_*.pth')):
            before = json.loads(summary.read_text())
            if before.get('code_hash', code.hash) != code.hash:
                _refuse_code(begun, before['commit'], code)

    def estimate(self) -> tuple[float, float, int]:
        """(core-hours in all, core-hours left, runs left), from finished runs if there are any."""
        spent = {run: self.folders[run].core_seconds() for run in self.runs}
        done = {run for run in self.runs if self.is_done(run)}
        paces = {}
        for run in done:
            for name in (run.arm, None) if spent[run] else ():
                paces.setdefault(name, []).append(spent[run] / self._declared(run))
        left = 0.0
        for run in self.runs:
            if run not in done:
                pace = statistics.fmean(paces.get(run.arm) or paces.get(None) or [1.0])
                left += max(self._declared(run) * pace - spent[run], 0.0)
        return (left + sum(spent.values())) / HOUR, left / HOUR, len(self.runs) - len(done)

    def _declared(self, run: Run) -> float:
        arm, seconds = self.plan.arms[run.arm], self.plan.seconds
        share = 1 - self.plan.start_of(run.arm, run.stage)
        trained = self.plan.iterations_of(run.arm) * share * seconds['iteration'] * arm.cost
        return trained + len(self.plan.splits_of(run)) * seconds['evaluation']

    def require_budget(self) -> None:
        """Raises an UnfitStudy if the study would take more than it declares."""
        total, _, _ = self.estimate()
        if total > self.plan.budget:
            raise UnfitStudy(
                f'{self.plan.name} would take {total:.1f} core-hours, above its budget of '
                f'{self.plan.budget:g}: take out arms, seeds or iterations, or raise the budget.'
            )

    def require_space(self) -> None:
        """Raises an UnfitStudy where the disk is nearly full."""
        place = next(each for each in (self.folder, *self.folder.parents) if each.is_dir())
        free = shutil.disk_usage(place).free / 1e9
        if free < self.plan.space:
            raise UnfitStudy(
                f'{place} has {free:.1f} GB free, and a study needs {self.plan.space:g}: free some '
                'space, or name another place with --work-dir.'
            )


class Workers:
    """Does the runs of a study, several at a time; other processes may do the same."""

    def __init__(
        self, study: Study, code: Code, root: Path, keep: bool = False, progress: bool = False
    ) -> None:
        self.study = study
        self.code = code
        self.root = root
        self.keep = keep
        self.progress = Progress(list(study.folders.values())) if progress else None
        self.processes = Processes()
        self.failed = {}
        self.claimed = set()
        self.mutex = threading.Lock()

    def work(self, count: int) -> None:
        """Works until no run is left that can be done.

        Raises:
            FailedRun: some runs failed; says which, after the others are done.
        """
        mine = self.study.folder / 'processes' / f'{os.getpid()}.lock'
        file = lock(mine)
        note(file, os.getpid())
        signal.signal(signal.SIGTERM, lambda *_: self.processes.stop())
        threads = [threading.Thread(target=self._work) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(PAUSE)
                    if self.progress:
                        self.progress.show()
        except BaseException:
            self.processes.stop()
            raise
        finally:
            for thread in threads:
                thread.join()
            if self.progress:
                self.progress.show()
            mine.unlink(missing_ok=True)
            os.close(file)
        self._tidy()
        self.study.write_summary(self.code)
        for error in self.failed.values():
            if not isinstance(error, FailedRun):
                raise error
        if self.failed:
            raise FailedRun('\n'.join(map(str, self.failed.values())))
        if self.processes.stopping:
            raise FailedRun('Stopped; the same command goes on from here.')

    def _work(self) -> None:
        while not self.processes.stopping:
            taken = self._take()
            if taken is None:
                return
            run, file = taken
            if file is None:
                time.sleep(PAUSE)
                continue
            try:
                self._do(run, file)
            except Exception as error:  # the others go on; `work` raises it
                if not isinstance(error, FailedRun):
                    self.failed[run] = error
                    self.processes.stop()
                elif not self.processes.stopping:
                    self.failed[run] = error
                    print(error, flush=True)
            finally:
                with self.mutex:
                    self.claimed.discard(run)
                os.close(file)

    def _take(self) -> tuple[Run | None, int | None] | None:
        """A run and its lock; (None, None) while others are at work on the rest; then None."""
        with self.mutex:
            waiting = False
            for run in self.study.runs:
                if run in self.claimed:
                    waiting = True
                elif run not in self.failed and self._is_due(run):
                    file = try_lock(self.study.folders[run].lock)
                    if file is None:
                        waiting = True
                    elif self._is_due(run):
                        self.claimed.add(run)
                        return run, file
                    else:
                        os.close(file)
            return (None, None) if waiting else None

    def _is_due(self, run: Run) -> bool:
        study = self.study
        if study.is_done(run):
            return study.lacks_states(run) and not study.has_diverged(run)
        if study.settings(run) is None:
            return False
        source = study.plan.source_of(run)
        if source is None:
            return True
        before, at = source
        return study.folders[before].state(at).is_file() or study.has_diverged(before)

    def _do(self, run: Run, file: int) -> None:
        study, folder = self.study, self.study.folders[run]
        study.require_space()
        require_untouched(self.code)
        source = study.plan.source_of(run)
        state = source and study.folders[source[0]].state(source[1])
        if state and not state.is_file():
            state = None
            self._write_lost(run)
            return
        started = time.monotonic()
        print(f'{run.name} begins', flush=True)
        execute(
            study.plan,
            folder,
            file,
            study.settings(run),
            study.states_wanted(run),
            state,
            self.code.folder,
            self.root,
            self.processes,
            self._identity,
            self.keep,
        )
        self._tidy()
        study.write_summary(self.code)
        _, left, runs = study.estimate()
        print(
            f'{run.name} is done after {(time.monotonic() - started) / 60:.1f} min; {runs} runs '
            f'and about {left:.2f} core-hours are left',
            flush=True,
        )

    def _identity(self) -> dict:
        require_untouched(self.code)
        return dict(study=self.study.plan.name, commit=self.code.commit, code_hash=self.code.hash)

    def _write_lost(self, run: Run) -> None:
        """The rows of a fork whose base arm ended in NaN before it could begin."""
        plan, folder = self.study.plan, self.study.folders[run]
        for split in plan.splits_of(run):
            row = dict(self._identity(), arm=run.arm, seed=run.seed, stage=plan.stage_of(run))
            row.update(settings=self.study.settings(run), split=split.name, status='nan')
            row.update(metrics={}, per_class={}, per_image=None, predictions=None)
            row.update(cpu_seconds=None, peak_memory_mib=None, parameters=None, versions={})
            if run.setting is not None:
                row['setting'] = run.setting
            write_report(folder.row(split), row)

    def _tidy(self) -> None:
        """Removes the states that no fork waits for any more, and the weights of finished runs
        whose process was killed before it did."""
        for run, folder in self.study.folders.items():
            if self.keep or not self.study.is_done(run) or self.study.states_wanted(run):
                continue
            for file in folder.state(0).parent.glob('iter_*.pth'):
                file.unlink(missing_ok=True)
            if any(folder.train.glob('*.pth')):
                file = try_lock(folder.lock)
                if file is not None:
                    folder.drop_weights()
                    os.close(file)


class Progress:
    """Prints which iterations runs have reached, as their logs grow."""

    def __init__(self, folders: list[RunFolder]) -> None:
        self.folders = folders
        self.read = {each: each.log.stat().st_size for each in folders if each.log.is_file()}

    def show(self) -> None:
        """Prints what is new; a line that is not whole yet comes later."""
        for folder in self.folders:
            if not folder.log.is_file():
                continue
            with folder.log.open('rb') as log:
                log.seek(self.read.get(folder, 0))
                added = log.read()
            whole = added[: added.rfind(b'\n') + 1]
            self.read[folder] = self.read.get(folder, 0) + len(whole)
            for line in whole.decode(errors='replace').splitlines():
                _, found, reached = line.partition('Iter(')
                if found:
                    print(f'{folder.run.name}: {found}{reached}', flush=True)


def endpoint_of(row: dict, endpoint) -> float:
    """The value of an endpoint in a row, in percent; the lowest there is for a run in NaN."""
    if row['status'] == 'nan':
        return -math.inf
    if endpoint.classes is None:
        value = row['metrics'][endpoint.key]
        return math.nan if value is None else value
    prefix, _, key = endpoint.key.rpartition('/')
    scores = row['per_class'][f'{prefix}/{key[1:]}' if prefix else key[1:]]
    known = [scores[name] for name in endpoint.classes if scores[name] is not None]
    return statistics.fmean(known) if known else math.nan


def _refuse_code(path: Path, commit: str | None, code: Code) -> NoReturn:
    made, here = (f'commit {c[:12]}' if c else 'a working tree' for c in (commit, code.commit))
    if bool(commit) != bool(code.commit):
        raise UnfitStudy(
            f'{path} was made by the code of {made}, and this is {here}; they never mix: name '
            'another --work-dir.'
        )
    remedy = f'go on with --commit {commit[:12]}, or begin' if commit else 'begin'
    raise UnfitStudy(
        f'{path} was made by the code of {made}, and this is {here}, whose package, tools or '
        f'configs differ: {remedy} anew with another --work-dir.'
    )


def stop(folder: Path) -> int:
    """Ends all processes that work on the study of a folder; returns how many there were."""
    ended = set()
    until = time.monotonic() + PATIENCE
    while True:
        # Those that start others come first.
        parents = {holder(path) for path in (folder / 'processes').glob('*.lock')} - {None}
        children = {holder(path) for path in (folder / 'runs').glob('*/lock')} - {None}
        at_work = parents or children
        if not at_work:
            return len(ended)
        late = time.monotonic() > until
        for process in at_work:
            if late or process not in ended:
                _send(process, signal.SIGKILL if late else signal.SIGTERM)
        ended |= at_work
        time.sleep(0.2)


def _send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile


def _order(row: dict) -> tuple:
    setting = row.get('setting')
    return row['stage'], row['arm'], -1 if setting is None else setting, row['seed'], row['split']

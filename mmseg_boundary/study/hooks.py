"""The hooks of a run of a study; its config imports this module."""

import importlib
import importlib.metadata
import json
import math
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ..registered.check_finite_loss import non_finite
from ..report import write_report
from ..stacks import MODULES, STACK
from . import DIVERGED, MEASURED, VALIDATED

WARM_UP = 20  # iterations, whose seconds are not counted


@HOOKS.register_module()
class StudyRun(Hook):
    """Keeps the states that forks begin from and one checkpoint to resume, and measures what a
    step costs.

    In the work folder it writes `measured.json` (seconds per iteration of forward, with the losses,
    and backward: the median after the first 20 of a process; peak memory above that of the built
    net; parameters; versions) and, if there are validations, `validated.json` ({iteration: score}).

    Args:
        interval: of the checkpoints, in iterations.
        states: the iterations whose checkpoints are kept.
        folder: where they are kept, as `iter_N.pth`.
        stop: whether training ends when all states are there, because its end is known.
        score: the key of the evaluator that validations are about.
    """

    priority = 'LOWEST'  # after CheckpointHook

    def __init__(
        self,
        interval: int,
        states: list[int],
        folder: str,
        stop: bool = False,
        score: str | None = None,
    ) -> None:
        self.interval = interval
        self.score = score
        self.states = states
        self.folder = Path(folder)
        self.stop = stop
        self.seconds = {'forward': [], 'backward': []}
        self.built = 0.0

    def before_train(self, runner: Runner) -> None:
        """Begins to measure."""
        model, optimizer = runner.model, runner.optim_wrapper
        clock = _device_clock if next(model.parameters()).is_cuda else time.process_time
        model._run_forward = self._timed('forward', model._run_forward, clock)
        optimizer.backward = self._timed('backward', optimizer.backward, clock)
        self.built = _peak_memory()
        # of a run that was killed between the two files
        self._keep_states(Path(runner.work_dir))
        self._stop_when_kept(runner)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Tidies the checkpoints after a new one."""
        iteration = runner.iter + 1
        if iteration % self.interval and iteration != runner.max_iters:
            return
        folder = Path(runner.work_dir)
        self._keep_states(folder)
        newest = folder / f'iter_{iteration}.pth'
        if newest.is_file():
            for other in folder.glob('iter_*.pth'):
                if other != newest:
                    other.unlink()
        self._write_measured(runner)
        self._stop_when_kept(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Writes down a score; a resumed run comes to the same one again."""
        if self.score is None:
            return
        path = Path(runner.work_dir, VALIDATED)
        scores = json.loads(path.read_text()) if path.is_file() else {}
        value = (metrics or {})[self.score]
        scores[str(runner.iter)] = None if math.isnan(value) else value
        write_report(path, scores)

    def _keep_states(self, folder: Path) -> None:
        for iteration in self.states:
            written, kept = (place / f'iter_{iteration}.pth' for place in (folder, self.folder))
            if written.is_file() and not kept.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                unfinished = kept.with_name(f'.{os.getpid()}.{kept.name}')
                unfinished.unlink(missing_ok=True)
                os.link(written, unfinished)
                unfinished.replace(kept)

    def _stop_when_kept(self, runner: Runner) -> None:
        kept = all((self.folder / f'iter_{each}.pth').is_file() for each in self.states)
        if self.stop and kept:
            runner.train_loop.stop_training = True

    def _timed(self, part: str, function: Callable, clock: Callable[[], float]) -> Callable:
        def timed(*given, **named):
            start = clock()
            result = function(*given, **named)
            self.seconds[part].append(clock() - start)
            return result

        return timed

    def _write_measured(self, runner: Runner) -> None:
        counted = {part: values[WARM_UP:] for part, values in self.seconds.items()}
        # A run that was resumed shortly before its end leaves what it measured before.
        path = Path(runner.work_dir, MEASURED)
        before = json.loads(path.read_text()) if path.is_file() else {}
        if len(counted['backward']) < before.get('iterations', 0):
            return
        medians = {
            part: statistics.median(each) if each else None for part, each in counted.items()
        }
        report = dict(
            iterations=len(counted['backward']),
            cpu_seconds=medians,
            peak_memory_mib=_peak_memory() - self.built,
            parameters=sum(each.numel() for each in runner.model.parameters()),
            versions=versions(),
        )
        write_report(path, report)


@HOOKS.register_module()
class NoteDivergence(Hook):
    """Leaves `diverged.json` in the work folder where a loss is NaN or infinite. It comes before
    `CheckFiniteLossHook`, which ends the training."""

    priority = 'NORMAL'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks the losses."""
        found = non_finite(outputs or {})
        if found:
            said = {key: str(value) for key, value in found.items()}
            report = dict(iteration=runner.iter + 1, losses=said)
            write_report(Path(runner.work_dir, DIVERGED), report)


def versions() -> dict[str, str]:
    """The versions of the software that a result may depend on."""
    prefix = 'onedl-' if STACK == 'onedl' else ''
    found = dict(python=platform.python_version(), torch=torch.__version__)
    # Not of the distribution, which a checkout on PYTHONPATH lacks.
    for module, name in MODULES.items():
        found[prefix + name] = importlib.import_module(module).__version__
    return found | {name: importlib.metadata.version(name) for name in ('numpy', 'scipy')}


def _peak_memory() -> float:
    """In MiB, of the device that trains."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # Linux counts KiB


def _device_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()

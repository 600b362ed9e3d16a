"""One run of a study: its config, its processes and its rows."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

from ..files import atomic_write
from ..report import write_report
from ..stacks import STACK
from . import DIVERGED, MEASURED, VALIDATED
from .locks import note
from .plan import Plan, Run, Split

LAST_LINES = 15


class FailedRun(RuntimeError):
    """A process of a run ended with an error; says which, and shows the end of its log."""


def compose(
    plan: Plan,
    root: Path,
    run: Run,
    settings: dict,
    states: list[int],
    states_folder: Path,
    stop: bool = False,
) -> Config:
    """The config of a training.

    Args:
        root: of the code; the study's configs are named from there.
        settings: from `Plan.settings_of`.
        states: the iterations whose checkpoints go to `states_folder`.
        stop: whether training ends when these are there.
    """
    config = Config.fromfile(root / settings['config'], import_custom_modules=False)
    usual = config.train_cfg.max_iters
    for options in (settings['study_options'], settings['stage_options'], settings['options']):
        config.merge_from_dict(options)
    if settings['losses'] is not None:
        config.model.decode_head.loss_decode = settings['losses']
    if plan.scale:
        from .scale import scaled  # with MMSegmentation, which takes seconds to import

        config = scaled(config, plan.scale, root)
        usual = config.train_cfg.max_iters
    iterations = settings['iterations']
    config.train_cfg.update(max_iters=iterations, val_interval=iterations)
    for scheduler in config.get('param_scheduler') or []:
        if scheduler.get('end') == usual:
            scheduler.end = iterations
    config.randomness = dict(config.get('randomness') or {}, seed=run.seed)
    for name in ('train_dataloader', 'test_dataloader'):
        config[name].update(num_workers=0, persistent_workers=False)
        config[name].pop('prefetch_factor', None)
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    validation = plan.validation if run.stage == 'final' else None
    if validation:
        config.val_dataloader = with_split(config, plan.splits[0]).test_dataloader
        config.val_evaluator, config.val_cfg = config.test_evaluator, dict(type='ValLoop')
        config.train_cfg.val_interval = iterations // validation.points
    config.load_from, config.resume, config.launcher = None, False, 'none'
    interval = plan.checkpoint_interval
    config.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=interval)
    hooks = [each for each in config.get('custom_hooks') or [] if each['type'] != 'StepSeed']
    if STACK == 'onedl':
        hooks.append(dict(type='StepSeed'))
    if settings['schedule']:
        hooks.append(dict(type='LossWeightSchedule', schedules=settings['schedule']))
    hooks.append(dict(type='NoteDivergence'))
    keep = dict(states=states, folder=str(states_folder), stop=stop)
    score = validation and validation.key
    hooks.append(dict(type='StudyRun', interval=interval, score=score, **keep))
    config.custom_hooks = hooks
    known = config.get('custom_imports') or dict(imports=[])
    imports = dict.fromkeys([*known['imports'], 'mmseg_boundary.registered'])
    imports['mmseg_boundary.study.hooks'] = None
    config.custom_imports = dict(imports=list(imports), allow_failed_imports=False)
    return config


def with_split(config: Config, split: Split) -> Config:
    """The config with the images of a split as test images."""
    changed = Config(config.to_dict())
    changed.merge_from_dict({'test_dataloader': {'dataset': split.dataset}})
    return changed


def write_config(config: Config, path: Path) -> None:
    """Writes a config as plain assignments; MMEngine takes seconds to write it in its own way."""
    with atomic_write(path) as unfinished:
        values = config.to_dict().items()
        unfinished.write_text(''.join(f'{key} = {value!r}\n' for key, value in values))


class Processes:
    """The children of this process, so that they can be told to end."""

    def __init__(self) -> None:
        self.stopping = False
        self.running = {}

    def stop(self) -> None:
        """Ends all children, and starts no others."""
        self.stopping = True
        for process in list(self.running.values()):
            process.terminate()

    def call(
        self, command: list, log: Path, lock: int, root: Path, code: Path
    ) -> tuple[int, float]:
        """Runs a command of the code at `code`, from `root`, whose data it may name.

        Returns:
            its exit status, and the core-seconds that it took.
        """
        path = os.pathsep.join(filter(None, [str(code), os.environ.get('PYTHONPATH')]))
        environment = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
        with log.open('a') as output:
            print('$', *command, file=output, flush=True)
            process = subprocess.Popen(
                ['nice', '-n', '10', sys.executable, *map(str, command)],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
            )
            note(lock, process.pid)
            self.running[process.pid] = process
            if self.stopping:
                process.terminate()
            try:
                _, status, used = os.wait4(process.pid, 0)
            finally:
                del self.running[process.pid]
                note(lock, os.getpid())
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, used.ru_utime + used.ru_stime


class RunFolder:
    """The files of a run.

    Args:
        study: the study's folder.
        run: its run.
    """

    def __init__(self, study: Path, run: Run) -> None:
        self.study = study
        self.run = run
        self.path = study / 'runs' / run.name
        self.lock = self.path / 'lock'
        self.train = self.path / 'train'
        self.log = self.path / 'log.txt'

    def row(self, split: Split) -> Path:
        """The file of a finished row."""
        return self.study / 'rows' / self.run.row(split.name)

    def checkpoint(self, iteration: int) -> Path:
        """The path of a checkpoint of the training."""
        return self.train / f'iter_{iteration}.pth'

    def state(self, iteration: int) -> Path:
        """A state that forks of this run begin from."""
        return self.path / 'states' / f'iter_{iteration}.pth'

    def begin_from(self, state: Path) -> None:
        """Lets a training that has no checkpoint yet go on from another's state."""
        if not any(self.train.glob('iter_*.pth')):
            self.train.mkdir(parents=True, exist_ok=True)
            os.link(state, self.train / state.name)

    def read(self, name: str) -> dict:
        """The JSON that a training left under a name; an empty dict if there is none."""
        path = self.train / name
        return json.loads(path.read_text()) if path.is_file() else {}

    def add_core_seconds(self, seconds: float) -> None:
        """Adds up what the run took in all its processes."""
        path = self.path / 'spent.json'
        write_report(path, dict(core_seconds=self.core_seconds() + seconds))

    def core_seconds(self) -> float:
        """What the run has taken so far, killed processes left out."""
        path = self.path / 'spent.json'
        return json.loads(path.read_text())['core_seconds'] if path.is_file() else 0.0

    def drop_weights(self) -> None:
        """Removes the checkpoints of the training, and unfinished ones."""
        for pattern in ('*.pth', '.*.pth', 'last_checkpoint'):
            for file in self.train.glob(pattern):
                file.unlink(missing_ok=True)


def execute(
    plan: Plan,
    folder: RunFolder,
    lock: int,
    settings: dict,
    states: list[int],
    source: Path | None,
    code: Path,
    root: Path,
    processes: Processes,
    identity: Callable[[], dict],
    keep: bool,
) -> None:
    """Trains, evaluates and writes the rows; what is done already is not repeated.

    Args:
        lock: of the folder.
        states: the iterations whose checkpoints forks wait for.
        source: the checkpoint that this run begins from, or None.
        identity: gives what every row holds of the study and its code.
        keep: whether the weights stay when the rows are there.

    Raises:
        FailedRun: a process ended with an error, or was ended.
    """
    run = folder.run
    missing = [split for split in plan.splits_of(run) if not folder.row(split).is_file()]
    end = plan.iterations_of(run.arm)
    stop = not missing
    config = compose(plan, code, run, settings, states, folder.state(0).parent, stop)
    if missing and source is not None:
        folder.begin_from(source)
    path = folder.path / 'config.py'
    write_config(config, path)

    def call(tool: str, *arguments: object) -> int:
        command = [code / 'tools' / tool, *arguments]
        status, seconds = processes.call(command, folder.log, lock, root, code)
        folder.add_core_seconds(seconds)
        return status

    trained = folder.checkpoint(end).is_file() and not stop
    if STACK != 'onedl' and not trained:
        folder.drop_weights()  # its sampler cannot go on where a run was broken off
    status = 0 if trained else call('train.py', path, '--work-dir', folder.train, '--resume')
    row = dict(
        identity(),
        arm=run.arm,
        seed=run.seed,
        stage=plan.stage_of(run),
        settings=settings,
    )
    if status != 0 and not folder.read(DIVERGED):
        raise FailedRun(_said(folder, 'training', status))
    if stop and not all(folder.state(each).is_file() for each in states):
        raise FailedRun(f'{run.name}: its states did not come about again; see {folder.log}.')
    for split in missing:
        if status != 0:
            _write_row(folder, split, row, dict(status='nan', metrics={}, per_class={}))
            continue
        tested = folder.path / f'{split.name}.py'
        write_config(with_split(config, split), tested)
        numbers, images = folder.path / f'{split.name}.json', folder.path / f'{split.name}.npz'
        work = folder.path / f'test_{split.name}'
        outputs = ['--json', numbers, '--per-image', images, '--work-dir', work]
        outputs += ['--tta'] if plan.tta else []
        predictions = None
        if run.stage == 'final' and run.seed == plan.seeds[0]:
            predictions = Path('predictions', Path(run.row(split.name)).stem)
            outputs += ['--out', folder.study / predictions]
        failed = call('test.py', tested, folder.checkpoint(end), *outputs)
        if failed:
            raise FailedRun(_said(folder, f'evaluation on {split.name}', failed))
        kept = Path('per_image', Path(run.row(split.name)).with_suffix('.npz'))
        (folder.study / kept).parent.mkdir(exist_ok=True)
        images.replace(folder.study / kept)
        scores = _scores(json.loads(numbers.read_text()))
        results = dict(scores, per_image=str(kept), predictions=predictions and str(predictions))
        _write_row(folder, split, row, results)
        shutil.rmtree(work, ignore_errors=True)
    if not keep:
        folder.drop_weights()


def _scores(report: dict) -> dict:
    """The scores in the JSON of tools/test.py."""
    per_class = {}
    for evaluator in report['evaluators']:
        prefix = f'{evaluator["prefix"]}/' if evaluator['prefix'] else ''
        for key, values in evaluator['per_class'].items():
            per_class[prefix + key] = dict(zip(evaluator['classes'], values, strict=True))
    return dict(status='finished', metrics=report['metrics'], per_class=per_class)


def _write_row(folder: RunFolder, split: Split, row: dict, results: dict) -> None:
    measured = folder.read(MEASURED)
    costs = {key: measured.get(key) for key in ('cpu_seconds', 'peak_memory_mib', 'parameters')}
    costs.update(versions=measured.get('versions', {}), core_seconds=folder.core_seconds())
    whole = dict(row, split=split.name, per_image=None, predictions=None) | costs | results
    whole['validated'] = folder.read(VALIDATED)
    if folder.run.setting is not None:
        whole['setting'] = folder.run.setting
    write_report(folder.row(split), whole)


def _said(folder: RunFolder, what: str, status: int) -> str:
    lines = folder.log.read_text(errors='replace').splitlines()[-LAST_LINES:]
    how = f'was ended by signal {-status}' if status < 0 else f'ended with {status}'
    return '\n    '.join([f'{folder.run.name}: its {what} {how}; {folder.log} ends so:', *lines])

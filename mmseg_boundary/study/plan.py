"""What a study's file says: arms, seeds, splits, and the runs that follow from them."""

import json
from dataclasses import asdict, dataclass, field, replace

from mmengine.config import Config


class UnfitStudy(ValueError):
    """A study cannot be run; says what is wrong, and what to change."""


@dataclass(frozen=True)
class Arm:
    """One of the compared trainings.

    Attributes:
        title: its name in tables.
        losses: the whole `loss_decode` of the decode head; None leaves that of the config.
        config: the path from the repository's root; None is the study's.
        start: the fraction of the schedule at which it leaves the base arm; 0 is the beginning.
        schedule: what `LossWeightSchedule` takes as `schedules`.
        options: settings that override the config, as `--cfg-options` gives them.
        iterations: None is the study's.
        seeds: None are the study's; none, `[]`, leaves it with the tuning.
        cost: of one iteration, as a multiple of the base arm's; for the estimate alone.
        published: {column: value} that one row of the published numbers alone has; {} for none.
    """

    name: str
    title: str
    losses: list | None = None
    config: str | None = None
    start: float = 0.0
    schedule: list = field(default_factory=list)
    options: dict = field(default_factory=dict)
    iterations: int | None = None
    seeds: list | None = None
    cost: float = 1.0
    published: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """Images to evaluate on: settings that override the data set of the config's `test_dataloader`.

    `opened_last`: the report shows nothing of it until all finals are in.
    """

    name: str
    dataset: dict = field(default_factory=dict)
    opened_last: bool = False


@dataclass(frozen=True)
class Endpoint:
    """A score that the study is about: a key of the evaluator; with `classes`, the mean over these
    alone of the same score per class."""

    key: str
    title: str
    classes: list | None = None


@dataclass(frozen=True)
class Tuning:
    """Settings that are tried for every arm of `grid`, and the data they are chosen on.

    Attributes:
        split: never reported.
        seeds: used by no final.
        grid: {arm: settings}; a setting is {key of the arm: value}, such as
            {'losses.1.loss_weight': 2}.
        options: settings that override the config of all tuning runs, such as fewer images.
        start: of all tuned arms that leave the base arm; None keeps their own.
    """

    split: Split
    seeds: list
    grid: dict
    options: dict = field(default_factory=dict)
    start: float | None = None


@dataclass(frozen=True)
class Validation:
    """A score that is measured on the first split over the whole of each final training.

    Attributes:
        key: of the evaluator.
        points: how often, at equal distances.
        reach: the score that an arm is asked when it reaches it first; None for none.
    """

    key: str
    points: int
    reach: float | None = None


@dataclass(frozen=True)
class Scale:
    """What a study's networks and data are replaced by, so that it ends in less time.

    Attributes:
        title: what this is, for the report.
        caveat: what its scores are worth, for the report.
        data: `config`, from which all but the model is taken: data, optimizer, schedule, and as
            many classes as its decode head has; and `images`, what the report calls them.
        one_logit: the same for models with one logit.
        iterations: of all trainings.
        small: {type of a backbone or head: arguments that make it small}; every backbone needs
            some.
        channels: of all heads, at most.
        seconds, budget: as of a study.
    """

    name: str
    title: str
    caveat: str
    data: dict
    one_logit: dict
    iterations: int
    small: dict
    channels: int
    budget: float
    seconds: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A study's file, or a part of it, checked.

    Attributes:
        name: that of its folder; `command` is what tools/study.py is called with for it.
        part: its name in the file; None for a file without parts.
    """

    name: str
    command: str
    part: str | None
    question: str
    base: str
    arms: dict
    base_arm: str
    baselines: list
    finals: list
    seeds: list
    splits: list
    endpoints: list
    margins: dict
    budget: float
    space: float
    iterations: int
    checkpoint_interval: int
    seconds: dict
    options: dict
    tuning: Tuning | None
    data: str
    one_logit: bool
    tta: bool
    published: str | None
    published_scores: dict
    seed_options: dict
    validation: Validation | None = None
    scale: Scale | None = None

    @property
    def ends_with_tuning(self) -> bool:
        """Whether its finals are still to be chosen: a split is closed until they are in, and it
        names none."""
        closed = any(split.opened_last for split in self.splits)
        return self.tuning is not None and closed and not self.finals

    def runs(self) -> list['Run']:
        """All runs, those first that others begin from."""
        tuned = list(self._tuning_runs()) if self.tuning else []
        if self.ends_with_tuning:
            return tuned
        finals = [
            Run(name, seed, 'final')
            for seed in self._all_seeds()
            for name in self._base_first()
            if seed in self.seeds_of(name)
        ]
        return tuned + finals

    def _tuning_runs(self):
        for seed in self.tuning.seeds:
            forks = [name for name in self.tuning.grid if self.start_of(name, 'tuning')]
            if forks:
                yield Run(self.base_arm, seed, 'tuning')
            for name, settings in self.tuning.grid.items():
                for index in range(len(settings)):
                    yield Run(name, seed, 'tuning', index)

    def _all_seeds(self) -> list[int]:
        return list(dict.fromkeys(seed for name in self.arms for seed in self.seeds_of(name)))

    def _base_first(self) -> list[str]:
        return sorted(self.arms, key=lambda name: name != self.base_arm)

    def seeds_of(self, arm: str) -> list[int]:
        """The seeds of an arm's reported runs; the base arm has those of all its forks."""
        own = self.arms[arm].seeds
        own = self.seeds if own is None else own
        if arm != self.base_arm:
            return own
        forks = [each for each in self.arms.values() if each.start]
        return list(dict.fromkeys([*own, *(s for each in forks for s in self.seeds_of(each.name))]))

    def start_of(self, arm: str, stage: str) -> float:
        """The fraction of the schedule at which an arm's runs leave the base arm."""
        start = self.arms[arm].start
        if stage == 'tuning' and start and self.tuning.start is not None:
            return self.tuning.start
        return start

    def iterations_of(self, arm: str) -> int:
        """The length of an arm's schedule."""
        return self.arms[arm].iterations or self.iterations

    def source_of(self, run: 'Run') -> tuple['Run', int] | None:
        """The run that another begins from, and the iteration; None for one from scratch."""
        start = self.start_of(run.arm, run.stage)
        if not start:
            return None
        return Run(self.base_arm, run.seed, run.stage), round(start * self.iterations)

    def states_of(self, run: 'Run', runs: list['Run']) -> list[int]:
        """The iterations at which some of `runs` begin from one."""
        sources = [self.source_of(each) for each in runs]
        return sorted({at for source, at in filter(None, sources) if source == run})

    def splits_of(self, run: 'Run') -> list[Split]:
        """What a run is evaluated on."""
        return [self.tuning.split] if run.stage == 'tuning' else self.splits

    def settings_of(self, run: 'Run', winner: int | None = None) -> dict:
        """The settings in which a run may differ from the base arm's of the same seed.

        Args:
            winner: the tuned setting of the arm, for a final.
        """
        index = run.setting if run.stage == 'tuning' else winner
        arm = {
            'losses': self.arms[run.arm].losses,
            'schedule': self.arms[run.arm].schedule,
            'options': self.arms[run.arm].options,
        }
        if index is not None:
            config = Config(json.loads(json.dumps(arm)))
            config.merge_from_dict(self.tuning.grid[run.arm][index])
            arm = config.to_dict()
        return json.loads(
            json.dumps(
                dict(
                    arm,
                    config=self.arms[run.arm].config or self.base,
                    start=self.start_of(run.arm, run.stage),
                    iterations=self.iterations_of(run.arm),
                    study_options=self.options | self.seed_options.get(run.seed, {}),
                    stage_options=self.tuning.options if run.stage == 'tuning' else {},
                    setting=index,
                )
            )
        )

    def stage_of(self, run: 'Run') -> str:
        """The stage of a run, as rows name it."""
        if run.stage == 'tuning':
            return 'tuning'
        if run.arm == self.base_arm:
            return 'base'
        named = {*self.finals, *self.baselines}
        return 'final' if run.arm in named or not self.finals else 'exploratory'

    def resolved(self) -> dict:
        """The plan as `study.json` has it."""
        listed = ('question', 'base', 'base_arm', 'baselines', 'finals', 'seeds', 'margins')
        more = ('budget', 'iterations', 'data', 'tta', 'published', 'published_scores', 'options')
        plan = dict(
            study=self.name,
            command=self.command,
            **{key: getattr(self, key) for key in (*listed, *more)},
            arms=[asdict(self.arms[name]) for name in self.arms],
            splits=[asdict(split) for split in self.splits],
            endpoints=[asdict(endpoint) for endpoint in self.endpoints],
            tuning=self.tuning and asdict(self.tuning),
            validation=self.validation and asdict(self.validation),
            scale=self.scale and asdict(self.scale),
        )
        return json.loads(json.dumps(plan))

    def at(self, scale: Scale) -> 'Plan':
        """The plan at another scale: the same arms, one seed, one split, nothing tuned and no
        comparison declared."""
        arms = {name: replace(arm, iterations=None, seeds=None) for name, arm in self.arms.items()}
        return replace(
            self,
            name=f'{self.name}_{scale.name}',
            command=f'{self.command} --scale {scale.name}',
            arms=arms,
            finals=[],
            seeds=self.seeds[:1],
            splits=[replace(self.splits[0], dataset={}, opened_last=False)],
            margins={},
            tuning=None,
            tta=False,
            iterations=scale.iterations,
            checkpoint_interval=checkpoint_interval(scale.iterations),
            validation=self.validation and replace(self.validation, points=5),
            seconds=self.seconds | scale.seconds,
            budget=scale.budget,
            scale=replace(scale, data=scale.one_logit) if self.one_logit else scale,
        )


@dataclass(frozen=True)
class Run:
    """One training. `stage` is 'tuning' or 'final'; `setting` counts within the tuning grid."""

    arm: str
    seed: int
    stage: str
    setting: int | None = None

    @property
    def name(self) -> str:
        """The name of its folder."""
        tuned = '' if self.stage == 'final' else f'{self.stage}__'
        setting = '' if self.setting is None else f'__setting{self.setting}'
        return f'{tuned}{self.arm}{setting}__seed{self.seed}'

    def row(self, split: str) -> str:
        """The name of a row's file."""
        return f'{self.name.removeprefix("tuning__")}__{split}.json'


def checkpoint_interval(iterations: int) -> int:
    """A twentieth of a schedule, or the next lower number that divides it."""
    return next(n for n in range(max(1, iterations // 20), 0, -1) if iterations % n == 0)

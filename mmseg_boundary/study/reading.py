"""Reads and checks a study's file before anything runs."""

import copy
import math
import re
from functools import cache
from pathlib import Path
from typing import NoReturn

from mmengine.config import Config

from . import papers
from .plan import (
    Arm,
    Endpoint,
    Plan,
    Scale,
    Split,
    Tuning,
    UnfitStudy,
    Validation,
    checkpoint_interval,
)
from .statistics import LEVEL, smallest_adjusted_p

MAX_FINALS = 6
FREE_GB = 5
NAME = re.compile(r'[a-z0-9]+(_[a-z0-9]+)*')


def parts(path: str | Path) -> list[str | None]:
    """The names of a study's parts, each a study by itself; [None] for a file without parts.

    Raises:
        UnfitStudy: there is no study in the file.
    """
    return list(_study_in(Path(path)).get('parts') or [None])


def read(path: str | Path, root: str | Path = '.', part: str | None = None) -> Plan:
    """The study of a file.

    Args:
        path: MMEngine's config syntax, with one dict `study`. Its `parts`, {name: settings}, are
            studies that share all other settings.
        root: of the repository; configs are named from there.
        part: the name of one.

    Raises:
        UnfitStudy: something cannot be run, or its result would mean nothing.
    """
    path = Path(path)
    given = _study_in(path)
    known = given.pop('parts', None) or {}
    if part not in (known or [None]):
        said = f'the parts {", ".join(known)}' if known else 'no parts'
        _refuse(path, f'has {said}, and {part!r} was asked for; name one of its own')
    name = path.stem if part is None else f'{path.stem}_{part}'
    return _Reader(path, Path(root), name, part).plan(given | known.get(part, {}))


def read_scale(path: str | Path, root: str | Path = '.') -> Scale:
    """A scale for studies.

    Args:
        path: MMEngine's config syntax, with one dict `scale`.
        root: of the repository; configs are named from there.

    Raises:
        UnfitStudy: it does not exist, or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        known = ', '.join(sorted(each.stem for each in path.parent.glob('*.py')))
        raise UnfitStudy(f'There is no scale {path.stem!r}; choose from {known}.')
    given = Config.fromfile(path, import_custom_modules=False).get('scale')
    if given is None:
        _refuse(path, 'has no `scale = dict(...)`; see tiny.py beside it')
    return _Reader(path, Path(root), path.stem).scale(given.to_dict())


def _study_in(path: Path) -> dict:
    if not path.is_file():
        raise UnfitStudy(f'The study {path} does not exist. `ls configs/studies` lists ours.')
    given = Config.fromfile(path, import_custom_modules=False).get('study')
    if given is None:
        _refuse(path, 'has no `study = dict(...)`; see configs/studies for some')
    return given.to_dict()


class _Reader:
    def __init__(self, path: Path, root: Path, name: str, part: str | None = None) -> None:
        self.path = path
        self.root = root
        self.name = name
        self.part = part

    def refuse(self, sentence: str) -> NoReturn:
        _refuse(self.path, sentence)

    def scale(self, given: dict) -> Scale:
        fields = {*Scale.__dataclass_fields__} - {'name'}
        self.known_keys(given, fields, 'the scale')
        missing = sorted(fields - {'seconds'} - set(given))
        if missing:
            self.refuse(f'has no {missing[0]}; give it')
        for key in ('data', 'one_logit'):
            if set(given[key]) != {'config', 'images'}:
                self.refuse(f'has {sorted(given[key])} in {key}; give it config and images')
            self.config(given[key]['config'])
        self.positive(given['budget'], 'budget (core-hours)')
        return Scale(self.name, **given)

    def plan(self, given: dict) -> Plan:
        known = {*Plan.__dataclass_fields__} - {'name', 'command', 'part', 'one_logit', 'scale'}
        self.known_keys(given, known, 'the study')
        for key in ('question', 'base', 'arms', 'seeds', 'splits', 'endpoints', 'budget'):
            if not given.get(key):
                self.refuse(f'has no {key}; give it')
        arms = {name: self.arm(name, arm) for name, arm in given['arms'].items()}
        base_arm = given.get('base_arm', next(iter(arms)))
        if base_arm not in arms:
            self.refuse(
                f'has base_arm={base_arm!r}, which is absent from its arms ({", ".join(arms)}): '
                'add it, or name one of these'
            )
        base = self.counting(given['base'])
        iterations = given.get('iterations') or base.train_cfg.max_iters
        plan = Plan(
            name=self.name,
            command=f'configs/studies/{self.path.name}'
            + (f' --part {self.part}' if self.part else ''),
            part=self.part,
            question=given['question'],
            base=given['base'],
            arms=arms,
            base_arm=base_arm,
            baselines=self.known_arms(given.get('baselines', [base_arm]), arms, 'baselines'),
            finals=self.known_arms(given.get('finals', []), arms, 'finals'),
            seeds=self.seeds(given['seeds'], 'seeds'),
            splits=[self.split(name, split) for name, split in given['splits'].items()],
            endpoints=[self.endpoint(each) for each in given['endpoints']],
            margins=given.get('margins', {}),
            budget=self.positive(given['budget'], 'budget (core-hours)'),
            space=self.positive(given.get('space', FREE_GB), 'space (GB)'),
            iterations=iterations,
            checkpoint_interval=given.get('checkpoint_interval') or checkpoint_interval(iterations),
            seconds=dict(iteration=1.0, evaluation=60.0) | given.get('seconds', {}),
            options=given.get('options', {}),
            tuning=self.tuning(given.get('tuning'), arms),
            data=given.get('data', ''),
            one_logit=_has_one_logit(base, given.get('options', {})),
            tta=given.get('tta', False),
            published=given.get('published'),
            published_scores=given.get('published_scores', {}),
            seed_options=self.seed_options(given.get('seed_options', {})),
            validation=self.validation(given.get('validation'), iterations),
        )
        self.known_keys(plan.seconds, {'iteration', 'evaluation'}, 'seconds')
        self.published(plan)
        self.agree(plan)
        return plan

    def published(self, plan: Plan) -> None:
        """Checks that the published numbers which are named are there."""
        try:
            paper = papers.read(plan.published) if plan.published else None
            for arm in plan.arms.values():
                if arm.published and paper is not None:
                    row = paper.row(arm.published)
                    for column in plan.published_scores.values():
                        paper.score(row, column)
        except (papers.UnknownNumbers, KeyError) as error:
            self.refuse(f'names published numbers that are not there: {error}')
        for name, arm in plan.arms.items():
            if arm.published and paper is None:
                self.refuse(f'gives {name!r} a row of published numbers; name those in published')

    def known_keys(self, given: dict, known: set[str], where: str) -> None:
        unknown = sorted(set(given) - known)
        if unknown:
            self.refuse(
                f'has {", ".join(map(repr, unknown))} in {where}, which knows '
                f'{", ".join(sorted(known))}: check the spelling'
            )

    def known_arms(self, names: list, arms: dict, where: str) -> list[str]:
        for name in names:
            if name not in arms:
                self.refuse(
                    f'names the unknown arm {name!r} in {where}; its arms are {", ".join(arms)}'
                )
        return list(dict.fromkeys(names))

    def config(self, name: str) -> str:
        if not (self.root / name).is_file():
            self.refuse(f"names the config {name}, which does not exist: give a file's path from "
                        'the root of the repository')  # fmt: skip
        return name

    def counting(self, name: str) -> Config:
        """A config, which has to count iterations."""
        config = _loaded(self.root / self.config(name))
        if not (config.get('train_cfg') or {}).get('max_iters'):
            self.refuse(f'names {name}, which counts epochs; give a config that counts iterations')
        return config

    def arm(self, name: str, given: dict) -> Arm:
        if not NAME.fullmatch(name):
            self.refuse(
                f'has an arm {name!r}; a name is made of a to z, 0 to 9 and single underscores'
            )
        self.known_keys(given, {*Arm.__dataclass_fields__} - {'name'}, f'the arm {name!r}')
        arm = Arm(name, **(dict(title=name) | given))
        if arm.losses is None and arm.config is None and not arm.options:
            self.refuse(f'has the arm {name!r} without losses, config or options; give one of them')
        if arm.config is not None:
            self.counting(arm.config)
        if arm.seeds:
            self.seeds(arm.seeds, f'the seeds of the arm {name!r}')
        return arm

    def seeds(self, given: list, where: str) -> list[int]:
        if not given or not all(isinstance(s, int) and 0 <= s < 2**32 for s in given):
            self.refuse(f'has {where}={given!r}; give whole numbers from 0')
        twice = sorted({seed for seed in given if given.count(seed) > 1})
        if twice:
            self.refuse(f'has {twice[0]} twice in {where}; give each seed once')
        return list(given)

    def split(self, name: str, given: dict) -> Split:
        self.known_keys(given, {'dataset', 'opened_last'}, f'the split {name!r}')
        if not NAME.fullmatch(name):
            self.refuse(f'has a split {name!r}; a name is made of a to z, 0 to 9 and underscores')
        return Split(name, **given)

    def endpoint(self, given: str | dict) -> Endpoint:
        if isinstance(given, str):
            return Endpoint(given, given)
        self.known_keys(given, {'key', 'title', 'classes'}, 'an endpoint')
        if 'key' not in given:
            self.refuse(f'has the endpoint {given!r} without a key of the evaluator; give it')
        return Endpoint(given['key'], given.get('title', given['key']), given.get('classes'))

    def seed_options(self, given: dict) -> dict:
        for seed, options in given.items():
            if not isinstance(seed, int) or not isinstance(options, dict):
                self.refuse(
                    f'has {seed!r}: {options!r} in seed_options; give {{seed: {{key: value}}}}'
                )
        return given

    def validation(self, given: dict | None, iterations: int) -> Validation | None:
        if given is None:
            return None
        self.known_keys(given, {*Validation.__dataclass_fields__}, 'validation')
        points = given.get('points')
        if 'key' not in given or not isinstance(points, int) or not 0 < points <= iterations:
            self.refuse(
                f'has validation={given!r}; give a key of the evaluator and how many points, '
                f'from 1 to its {iterations} iterations'
            )
        return Validation(**given)

    def positive(self, value: float, what: str) -> float:
        if not isinstance(value, (int, float)) or not 0 < value < math.inf:
            self.refuse(f'has {what} of {value!r}; give a number above 0')
        return value

    def tuning(self, given: dict | None, arms: dict) -> Tuning | None:
        if given is None:
            return None
        self.known_keys(given, {*Tuning.__dataclass_fields__, 'dataset'}, 'tuning')
        for key in ('split', 'seeds', 'grid'):
            if not given.get(key):
                self.refuse(f'has tuning without {key}; give it')
        self.known_arms(list(given['grid']), arms, 'the tuning grid')
        sizes = {name: len(settings) for name, settings in given['grid'].items()}
        if len(set(sizes.values())) != 1 or 0 in sizes.values():
            said = ', '.join(f'{name}: {size}' for name, size in sizes.items())
            self.refuse(
                f'has a tuning grid of unequal size ({said}); give every arm as many settings'
            )
        return Tuning(
            split=Split(given['split'], given.get('dataset', {})),
            seeds=self.seeds(given['seeds'], 'the seeds of tuning'),
            grid=given['grid'],
            options=given.get('options', {}),
            start=given.get('start'),
        )

    def agree(self, plan: Plan) -> None:
        """Checks that the parts of a plan agree with each other."""
        if plan.iterations % plan.checkpoint_interval:
            self.refuse(
                f'has checkpoint_interval={plan.checkpoint_interval}, which does not divide its '
                f'{plan.iterations} iterations; give a divisor'
            )
        starts = {name: arm.start for name, arm in plan.arms.items()}
        if plan.tuning and plan.tuning.start is not None:
            starts['tuning'] = plan.tuning.start
        for name, start in starts.items():
            if start:
                self.fork(plan, name, start)
        if plan.arms[plan.base_arm].start:
            self.refuse(
                f'lets the base arm {plan.base_arm!r} start at '
                f'{plan.arms[plan.base_arm].start}; others begin from it, so take its start out'
            )
        if plan.tuning:
            self.tuning_agrees(plan)
        tuned = plan.tuning.grid if plan.tuning else {}
        for name, arm in plan.arms.items():
            if arm.seeds == [] and (name not in tuned or name == plan.base_arm):
                self.refuse(
                    f'has no seeds for the arm {name!r}, which is not tuned either; give it seeds, '
                    'or take it out'
                )
        if plan.finals:
            self.finals_agree(plan)

    def fork(self, plan: Plan, name: str, start: float) -> None:
        if not isinstance(start, (int, float)) or not 0 < start < 1:
            self.refuse(
                f'has start={start!r} for {name!r}; a fork leaves the base arm at a fraction '
                'between 0 and 1, both left out'
            )
        at, interval = start * plan.iterations, plan.checkpoint_interval
        if abs(at / interval - round(at / interval)) > 1e-9:
            self.refuse(
                f'has start={start!r} for {name!r}, at iteration {at:g}, and checkpoints every '
                f'{interval}: choose a start or a checkpoint_interval that meet'
            )
        if name in plan.arms and plan.arms[name].iterations not in (None, plan.iterations):
            self.refuse(
                f'lets {name!r} leave the base arm and have iterations of its own; a fork goes on '
                "with the base arm's schedule: take one of both out"
            )

    def tuning_agrees(self, plan: Plan) -> None:
        used = {seed for name in plan.arms for seed in plan.seeds_of(name)}
        again = sorted(used & set(plan.tuning.seeds))
        if again:
            self.refuse(
                f'tunes with seed {again[0]}, which a reported run uses too; tune with others'
            )
        if plan.tuning.split.name in {split.name for split in plan.splits}:
            self.refuse(
                f'tunes on {plan.tuning.split.name!r}, which is one of the reported splits; hold '
                'other images out'
            )
        left_out = [name for name in plan.baselines if name not in plan.tuning.grid]
        if left_out:
            self.refuse(
                f'tunes some arms, and not the baseline {left_out[0]!r}; give it a grid of the '
                'same size'
            )

    def finals_agree(self, plan: Plan) -> None:
        compared = [name for name in plan.finals if name not in plan.baselines]
        if len(plan.finals) > MAX_FINALS:
            self.refuse(f'has {len(plan.finals)} finals; declare {MAX_FINALS} at most')
        for name in {*plan.finals, *plan.baselines}:
            if not set(plan.seeds) <= set(plan.seeds_of(name)):
                self.refuse(f'gives {name!r} other seeds than the finals have; let them be equal')
        if len(plan.seeds) < 2:
            self.refuse(
                f'declares finals with {len(plan.seeds)} seed, and statistics need 2 or more; give '
                'more seeds, or take finals out'
            )
        smallest = smallest_adjusted_p(len(compared), len(plan.seeds))
        if smallest > LEVEL:
            self.refuse(
                f'has {len(compared)} comparisons over {len(plan.seeds)} seeds, whose smallest '
                f'adjusted p is {smallest:.3g}, so that none can reach {LEVEL}: give more seeds or '
                'fewer finals'
            )


@cache
def _loaded(path: Path) -> Config:
    return Config.fromfile(path, import_custom_modules=False)


def _has_one_logit(base: Config, options: dict) -> bool:
    config = copy.deepcopy(base)
    config.merge_from_dict(options)
    heads = config.get('model', {}).get('decode_head', {})
    return (heads[-1] if isinstance(heads, list) else heads).get('out_channels') == 1


def _refuse(path: Path, sentence: str) -> NoReturn:
    raise UnfitStudy(f'{path} {sentence}.')

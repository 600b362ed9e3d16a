"""The studies of the sources' tables: complete, buildable, and running at the scale tiny.

docs/sources.md is the table of them. To write it anew:

    WRITE_PAGE=1 python -m pytest tests/study/test_sources.py -k page
"""

import os
import re
from functools import cache

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from mmseg_boundary import registered  # noqa: F401
from mmseg_boundary.stacks import has_compiled_operators
from mmseg_boundary.study import hooks, papers, plan, reading  # noqa: F401
from mmseg_boundary.study.runs import compose, with_split
from tests.support.skips import ROOT

FOLDER = ROOT / 'configs/studies'
STUDIES = sorted([*FOLDER.glob('epl_*.py'), *FOLDER.glob('thesis_*.py')])
PARTS = [(path, part) for path in STUDIES for part in reading.parts(path)]
NEEDS_OPERATORS = ('ccnet',)
TABLES = {
    *(f'epl_table_{number}' for number in (1, 2, 3, 4, 7, 8, 9, 12, 13, 14, 15)),
    *(f'thesis_4_{number}' for number in (1, 2, 3, 4, 5, 6, 12)),
    *('epl_figure_7', 'thesis_cross_validation'),
}


def read(name, part, scale=None):
    found = reading.read(FOLDER / f'{name}.py', ROOT, part)
    if scale is None:
        return found
    return found.at(reading.read_scale(FOLDER / f'scales/{scale}.py', ROOT))


def runs_here(config):
    """Whether the operators are there that the network of a config needs."""
    return has_compiled_operators() or not any(each in config for each in NEEDS_OPERATORS)


def composed(found, arm, folder, **changes):
    """The config of a training of an arm."""
    run = plan.Run(arm, found.seeds[0], 'final')
    config = compose(found, ROOT, run, found.settings_of(run), [], folder)
    config.merge_from_dict(changes)
    return config


HEAD = """\
# The rows of the sources

Every row of the tables of EPL's paper (Yin et al. 2022) and of Gül's thesis that has networks of
its own, written by `tests/study/test_sources.py`. A row is an arm of a
[study](studies.md#the-tables-of-the-papers); the config is that of its network, data and
protocol, whose losses the arm replaces if it names some. Scores are mIoU in percent, and in the
thesis Boundary IoU. Table X of EPL repeats Tables VIII and IX beside other papers, V and VI have
their classes, and the thesis' Tables 4.7 to 4.10 count over 4.1 to 4.6 and 4.12: what they need
is in the reports of these. The sources on Kervadec's loss and BF1 that we have are abstracts,
without rows; `configs/unet/unet-s5-d16_bf1_potsdam.py` is in the setting of the second.
"""


def in_order(path):
    """By the source, and the numbers of its tables."""
    return path.stem.partition('_')[0], [int(number) for number in re.findall(r'\d+', path.stem)]


@cache
def protocol(path):
    """The crop and the length of a config's training."""
    config = Config.fromfile(path)
    height, width = config.model.data_preprocessor.size
    return f'{height}×{width}, {config.train_cfg.max_iters} iterations'


def page():
    """The lines of docs/sources.md."""
    lines = HEAD.splitlines()
    for path in sorted(STUDIES, key=in_order):
        parts = [read(path.stem, part) for part in reading.parts(path)]
        if not parts[0].published_scores:
            continue
        lines += ['', f'## {path.stem}', '']
        lines += [f'    python tools/study.py run configs/studies/{path.name}', '']
        lines += ['| data | network | arm | losses | published | config | protocol |']
        lines += ['|---|---|---|---|---|---|---|']
        for found in parts:
            paper = papers.read(found.published)
            column = next(iter(found.published_scores.values()))
            for arm in found.arms.values():
                score = f'{paper.score(paper.row(arm.published), column):.2f}'
                losses = ', '.join(loss['type'] for loss in arm.losses or []) or 'of the config'
                config = ROOT / (arm.config or found.base)
                cells = [found.data, config.stem.partition('_')[0], arm.title, losses, score]
                cells += [f'`{config.relative_to(ROOT / "configs")}`', protocol(config)]
                lines.append(f'| {" | ".join(cells)} |')
    return lines


def test_the_page_has_every_row():
    written, given = ROOT / 'docs/sources.md', page()
    if 'WRITE_PAGE' in os.environ:
        written.write_text('\n'.join([*given, '']))
    for before, now in zip(written.read_text().splitlines(), given):
        assert before == now
    assert len(written.read_text().splitlines()) == len(given)


def test_every_table_has_a_study():
    assert {path.stem for path in STUDIES} == TABLES


@pytest.mark.parametrize(('path', 'part'), PARTS, ids=lambda each: getattr(each, 'stem', each))
def test_a_part_is_sound_and_its_losses_build(path, part):
    register_all_modules()
    found = reading.read(path, ROOT, part)
    for arm in found.arms.values():
        for loss in arm.losses or []:
            MODELS.build(dict(loss))
    if found.data in ('VOC', 'Cityscapes') and found.published_scores:
        paper = papers.read(found.published)
        assert all(paper.row(arm.published) for arm in found.arms.values())


@pytest.mark.parametrize('stem', [path.stem for path in STUDIES if 'epl_table' in path.stem])
def test_every_published_row_has_an_arm(stem):
    parts = [read(stem, part) for part in reading.parts(FOLDER / f'{stem}.py')]
    paper = papers.read(parts[0].published)
    told = [paper.row(arm.published) for found in parts for arm in found.arms.values()]
    assert sorted(map(str, told)) == sorted(map(str, paper.rows))


@pytest.mark.parametrize(
    ('name', 'part', 'arm'),
    [
        ('epl_table_2', 'voc', 'line_7'),
        ('epl_table_9', 'gscnn_wrn38', 'epl'),
        ('thesis_4_6', 'celeba', 'dt'),
    ],
)
def test_two_iterations(name, part, arm, tmp_path):
    train_twice(read(name, part, 'tiny'), arm, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(('path', 'part'), PARTS, ids=lambda each: getattr(each, 'stem', each))
def test_two_iterations_of_every_arm(path, part, tmp_path):
    found = read(path.stem, part, 'tiny')
    for name, arm in found.arms.items():
        if runs_here(arm.config or found.base):
            train_twice(found, name, tmp_path / name)


def train_twice(found, arm, folder):
    """Two iterations of an arm and a validation, which leave the decode head changed and finite."""
    config = composed(found, arm, folder, work_dir=str(folder))
    config.train_cfg.update(max_iters=2, val_interval=2)
    config.train_dataloader.batch_size = 2
    config.default_hooks.logger.interval = 1
    for loader in ('train_dataloader', 'test_dataloader'):
        config[loader].dataset.length = 4
    config.val_dataloader = with_split(config, found.splits[0]).test_dataloader
    config.val_evaluator, config.val_cfg = config.test_evaluator, dict(type='ValLoop')
    torch.manual_seed(0)
    runner = Runner.from_cfg(config)
    before = {name: each.clone() for name, each in runner.model.named_parameters()}
    runner.train()
    after = dict(runner.model.named_parameters())
    assert any((before[name] != after[name]).any() for name in before if 'decode_head' in name)
    assert all(torch.isfinite(each).all() for each in after.values())


@pytest.mark.parametrize('scale, classes, most', [('tiny', 6, 3e6), ('small', 11, 6e6)])
def test_a_small_net_of_every_network(scale, classes, most):
    """Each has the source's parts, few parameters, and logits of the data's classes."""
    register_all_modules()
    init_default_scope('mmseg')
    seen = set()
    for path, part in PARTS:
        found = read(path.stem, part, scale)
        for name, arm in found.arms.items():
            source = arm.config or found.base
            if source in seen or not runs_here(source):
                continue
            seen.add(source)
            config = composed(found, name, path)
            with torch.device('meta'):
                model = MODELS.build(config.model)
            assert sum(each.numel() for each in model.parameters()) < most, source
            assert model.decode_head.out_channels == (1 if 'celeba' in source else classes), source
    assert len(seen) > 20

"""The file of a study: what it makes, and what is refused before anything runs."""

import json
import os
import subprocess
from dataclasses import replace

import pytest

from mmseg_boundary.study import code, plan, reading, runs
from mmseg_boundary.study.locks import holder, try_lock
from mmseg_boundary.study.plan import Run, UnfitStudy
from mmseg_boundary.study.reading import FREE_GB
from mmseg_boundary.study.runs import compose, with_split
from mmseg_boundary.study.schedule import Study
from tests.support.skips import ROOT
from tests.support.studies import CE, DICE, write_study

SCALES = ROOT / 'configs/studies/scales'


@pytest.fixture
def written(tmp_path):
    """A function that writes GOOD with changes, {'a.b': value}, and reads the study."""

    def write(changes=None, **top):
        path = write_study(tmp_path, {**(changes or {}), **top})
        return reading.read(path, ROOT)

    return write


def finish(study, run, score=50.0, status='finished', **changes):
    """Writes the rows of a run as if it had been done."""
    for split in study.plan.splits_of(run):
        row = dict(study='made_up', arm=run.arm, seed=run.seed, split=split.name, status=status)
        row.update(stage=study.plan.stage_of(run), commit='c' * 40, code_hash='h')
        row.update(metrics=dict(mBoundaryF_3px=score) if status == 'finished' else {})
        row.update(per_class={'BoundaryF_3px': dict(table=score, moon=1.0)}, cpu_seconds=None)
        row.update(settings=study.settings(run), **changes)
        path = study.folders[run].row(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row))


# --- What it makes --------------------------------------------------------------------------------


def test_the_runs_and_what_they_begin_from(written):
    made = written()
    runs = made.runs()
    assert len({run.name for run in runs}) == len(runs) == (1 + 2 * 2) + 3 * 6
    first, *_ = runs
    assert first == Run('ce', 100, 'tuning')  # the base of the tuned forks
    for run in runs:
        source = made.source_of(run)
        if run.arm == 'ce':
            assert source is None
        else:
            before, at = source
            assert before == Run('ce', run.seed, run.stage)
            assert at == (6 if run.stage == 'tuning' else 4)
            assert runs.index(before) < runs.index(run)
    assert made.states_of(Run('ce', 0, 'final'), runs) == [4]
    assert made.states_of(first, runs) == [6]
    assert made.stage_of(Run('ce', 0, 'final')) == 'base'
    assert made.stage_of(Run('dice', 0, 'final')) == 'final'


def test_an_arm_with_fewer_seeds(written):
    more = dict(losses=[CE], options={'optim_wrapper.optimizer.lr': 0.1}, seeds=[7])
    made = written({'arms.fast': more | dict(start=0.25), 'checkpoint_interval': 2})
    assert made.seeds_of('fast') == [7] and made.seeds_of('ce') == [0, 1, 2, 3, 4, 5, 7]
    assert made.stage_of(Run('fast', 7, 'final')) == 'exploratory'


def test_an_arm_that_is_tuned_alone(written):
    made = written({'arms.dice.seeds': [], 'finals': []})
    of_dice = [run for run in made.runs() if run.arm == 'dice']
    assert [run.stage for run in of_dice] == ['tuning', 'tuning']
    assert made.seeds_of('ce') == made.seeds_of('bwce') == [0, 1, 2, 3, 4, 5]


def test_the_config_of_a_run(written, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, 'STACK', 'onedl')
    made = written({'arms.dice.schedule': [dict(loss='decode.loss_dice', kind='increase')]})
    run = Run('dice', 100, 'tuning', 1)
    settings = made.settings_of(run)
    assert settings['losses'] == [CE, dict(DICE, loss_weight=3.0)]
    config = compose(made, ROOT, run, settings, [4], tmp_path)
    assert config.randomness.seed == 100 and config.train_cfg.max_iters == 8
    assert config.param_scheduler[0].end == 8
    assert config.train_dataloader.dataset.length == 5
    assert config.train_dataloader.num_workers == config.test_dataloader.num_workers == 0
    kinds = [hook['type'] for hook in config.custom_hooks]
    assert kinds == ['StepSeed', 'LossWeightSchedule', 'NoteDivergence', 'StudyRun']
    monkeypatch.setattr(runs, 'STACK', 'mmlab')  # which StepSeed refuses
    frozen = compose(made, ROOT, run, settings, [4], tmp_path)
    assert [hook['type'] for hook in frozen.custom_hooks] == kinds[1:]
    assert config.val_cfg is None
    (tuned,) = made.splits_of(run)
    assert with_split(config, tuned).test_dataloader.dataset.seed == 3
    final = made.settings_of(Run('dice', 0, 'final'), winner=1)
    assert final['losses'] == settings['losses'] and final['stage_options'] == {}


def test_the_winner_is_the_best_and_a_run_in_nan_the_worst(written, tmp_path):
    study = Study(written(), tmp_path / 'study')
    final = Run('dice', 0, 'final')
    finish(study, Run('dice', 100, 'tuning', 0), 10.0)
    assert study.settings(final) is None and 'dice' not in study.winners()
    finish(study, Run('dice', 100, 'tuning', 1), 10.0)
    finish(study, Run('bwce', 100, 'tuning', 0), status='nan')
    finish(study, Run('bwce', 100, 'tuning', 1), 0.0)
    assert study.winners() == dict(dice=0, bwce=1)  # of equals the first
    assert study.settings(final)['setting'] == 0
    study.write_summary()
    summary = json.loads((study.folder / 'study.json').read_text())
    assert summary['tuning']['winner'] == dict(dice=0, bwce=1)


def test_splits_that_are_opened_last_are_hidden_until_then(written, tmp_path):
    study = Study(written(tuning=None), tmp_path / 'study')
    for run in study.runs[:-1]:
        finish(study, run)
    study.write_summary()
    table = study.folder / 'results.csv'
    assert ',val,' in table.read_text() and ',test,' not in table.read_text()
    finish(study, study.runs[-1], status='nan')
    study.write_summary()
    assert table.read_text().count(',test,') == 18
    assert table.read_text().count(',nan,') == 2


def test_a_study_that_has_yet_to_choose_its_finals_ends_with_its_tuning(written):
    """Else all that is reported would be in, and the split open, before they are declared."""
    made = written(finals=[])
    assert made.ends_with_tuning and {run.stage for run in made.runs()} == {'tuning'}
    for changes in (dict(), {'splits.test.opened_last': False, 'finals': []}):
        made = written(changes)
        assert not made.ends_with_tuning
        assert {run.stage for run in made.runs()} == {'tuning', 'final'}
    assert {run.stage for run in written(finals=[], tuning=None).runs()} == {'final'}


def test_what_is_compared_stays_as_it_was_before_the_first_final(written, tmp_path):
    study = Study(written(tuning=None), tmp_path)
    study.write_summary()
    other = Study(written(tuning=None, finals=['bwce', 'dice']), tmp_path)
    other.write_summary()
    finish(study, Run('ce', 0, 'final'))
    finish(study, Run('dice', 0, 'final'))
    with pytest.raises(UnfitStudy, match=r"finals=\['dice'\], and its finals began with "):
        study.write_summary()
    for changes in (dict(margins=dict(mIoU=1.0)), dict(seeds=[*range(7)])):
        with pytest.raises(UnfitStudy, match='what is compared is declared before. Restore it'):
            Study(written(changes, tuning=None, finals=['bwce', 'dice']), tmp_path).write_summary()
    more = {'arms.more': dict(losses=[CE], seeds=[0])}
    Study(written(more, tuning=None, finals=['bwce', 'dice']), tmp_path).write_summary()
    kept = json.loads((tmp_path / 'study.json').read_text())
    assert kept['finals'] == ['bwce', 'dice'] and len(kept['arms']) == 4


def test_the_estimate_goes_by_what_was_measured(written, tmp_path):
    study = Study(written(tuning=None, seeds=[0, 1, 2, 3, 4, 5]), tmp_path / 'study')
    whole, half = 8 + 2 * 10, 4 + 2 * 10
    assert study.estimate() == pytest.approx((6 * (whole + 2 * half) / 3600,) * 2 + (18,))
    base = Run('ce', 0, 'final')
    finish(study, base)
    study.folders[base].add_core_seconds(100.0)
    study.folders[base].add_core_seconds(12.0)  # four times what was declared
    total, left, runs = study.estimate()
    assert runs == 17
    assert total - left == pytest.approx(112 / 3600)
    assert left == pytest.approx(4 * (5 * whole + 12 * half) / 3600)


# --- What is refused ------------------------------------------------------------------------------

REFUSED = {
    'an unknown arm among the finals': (dict(finals=['bf1']), "the unknown arm 'bf1' in finals"),
    'an unknown arm in the grid': (
        {'tuning.grid': dict(bwce=[{}], bf1=[{}])},
        "the unknown arm 'bf1' in the tuning grid",
    ),
    'an unknown baseline': (dict(baselines=['bf1']), "the unknown arm 'bf1' in baselines"),
    'a seed twice': (dict(seeds=[0, 1, 1]), 'has 1 twice in seeds; give each seed once'),
    'no seeds': ({'arms.bwce.seeds': [], 'tuning': None}, "no seeds for the arm 'bwce', which is"),
    'a base arm without seeds': ({'arms.ce.seeds': []}, "no seeds for the arm 'ce'"),
    'a final without seeds': ({'arms.dice.seeds': []}, "gives 'dice' other seeds than the finals"),
    'a seed that is no number': (dict(seeds=['a']), 'give whole numbers from 0'),
    'a grid of unequal size': (
        {'tuning.grid': dict(bwce=[{}], dice=[{}, {}])},
        r'unequal size \(bwce: 1, dice: 2\); give every arm as many settings',
    ),
    'a baseline that is not tuned': (
        {'tuning.grid': dict(dice=[{}])},
        "not the baseline 'bwce'; give it a grid of the same size",
    ),
    'a fork at 1': ({'arms.dice.start': 1}, "start=1 for 'dice'; .* between 0 and 1"),
    'a fork before the beginning': ({'arms.dice.start': -0.5}, 'between 0 and 1'),
    'a fork off the grid': (
        {'arms.dice.start': 0.6},
        "start=0.6 for 'dice', at iteration 4.8, and checkpoints every 2",
    ),
    'a tuned fork off the grid': ({'tuning.start': 0.625}, 'at iteration 5, and checkpoints'),
    'an absent base arm': (
        dict(base_arm='plain'),
        r"base_arm='plain', which is absent from its arms \(ce, bwce, dice\)",
    ),
    'a base arm that is a fork': ({'arms.ce.start': 0.5}, 'others begin from it'),
    'one seed with statistics': (
        {'seeds': [0], 'tuning': None},
        'declares finals with 1 seed, and statistics need 2 or more',
    ),
    'a family that cannot reach 0.05': (
        dict(seeds=[0, 1, 2, 3, 4]),
        r'smallest adjusted p is 0\.0625, so that none can reach 0\.05',
    ),
    'a tuning seed that is reported': ({'tuning.seeds': [3]}, 'tunes with seed 3, which a rep'),
    'a tuning split that is reported': ({'tuning.split': 'val'}, "tunes on 'val', which is one of"),
    'an unknown key': (dict(budgets=3), "has 'budgets' in the study, which knows .*budget"),
    'an unknown key of an arm': ({'arms.dice.weight': 3}, "has 'weight' in the arm 'dice'"),
    'a name that is no file name': ({'arms.a/b': dict(losses=[CE])}, "has an arm 'a/b'"),
    'no budget': (dict(budget=None), 'has no budget; give it'),
    'a config that is not there': (dict(base='configs/no.py'), 'configs/no.py, which does not'),
    'an interval that does not divide': (dict(checkpoint_interval=3), 'does not divide its 8'),
    'a validation without a key': (
        dict(validation=dict(points=4)),
        r"validation=\{'points': 4\}; give a key of the evaluator and how many points, from 1",
    ),
    'more validations than iterations': (
        dict(validation=dict(key='mIoU', points=9)),
        'how many points, from 1 to its 8 iterations',
    ),
    'settings of a seed that are none': (
        dict(seed_options={0: 'folds/0.txt'}),
        r"0: 'folds/0\.txt' in seed_options; give \{seed: \{key: value\}\}",
    ),
    'a published row without a paper': (
        {'arms.dice.published': dict(loss='Dice')},
        "gives 'dice' a row of published numbers; name those in published",
    ),
    'an unknown paper': (dict(published='epl'), "not there: .*'epl', .* choose of epl_results"),
    'two published rows': (
        {'published': 'thesis_results: 4.1, 4.2', 'arms.dice.published': dict(loss='Dice')},
        r"2 rows of the published numbers have \{'loss': 'Dice'\}; name one row by its col",
    ),
    'an unknown column of a paper': (
        {
            'published': 'thesis_results: 4.1',
            'published_scores': dict(mIoU='IoU'),
            'arms.dice.published': dict(loss='Dice'),
        },
        "published numbers that are not there: 'IoU'",
    ),
    'a fork with a schedule of its own': ({'arms.dice.iterations': 16}, "the base arm's schedule"),
}


@pytest.mark.parametrize('case', REFUSED)
def test_it_is_refused_in_a_sentence(case, written):
    changes, sentence = REFUSED[case]
    with pytest.raises(UnfitStudy, match=sentence) as raised:
        written(changes)
    said = str(raised.value)
    assert 'made_up.py' in said and said.endswith('.') and '\n' not in said


PARTS = dict(city=dict(seeds=[1]), faces=dict(base='configs/pspnet_ce_camvid.py'))


def test_parts_share_what_they_do_not_have(tmp_path):
    path = write_study(tmp_path, dict(parts=PARTS, finals=[], tuning=None, iterations=100))
    assert reading.parts(path) == ['city', 'faces']
    city, faces = (reading.read(path, ROOT, part) for part in reading.parts(path))
    assert (city.name, city.seeds, faces.seeds) == ('made_up_city', [1], [0, 1, 2, 3, 4, 5])
    assert city.command == 'configs/studies/made_up.py --part city'
    assert faces.base == 'configs/pspnet_ce_camvid.py' != city.base
    for part in (None, 'village'):
        with pytest.raises(UnfitStudy, match=f'has the parts city, faces, and {part!r} was asked'):
            reading.read(path, ROOT, part)
    whole = write_study(tmp_path, {})
    assert reading.parts(whole) == [None]
    with pytest.raises(UnfitStudy, match="has no parts, and 'city' was asked for"):
        reading.read(whole, ROOT, 'city')


def test_a_study_at_a_scale(written):
    """The arms and losses stay; it has its own name, one seed, one split, and no statistics."""
    made, scale = written({'arms.dice.seeds': [7]}, finals=[]), SCALES / 'tiny.py'
    tiny = made.at(reading.read_scale(scale, ROOT))
    assert (tiny.name, tiny.iterations, tiny.seeds) == ('made_up_tiny', 40, [0])
    assert tiny.resolved()['command'] == 'configs/studies/made_up.py --scale tiny'
    assert [run.name for run in tiny.runs()] == ['ce__seed0', 'bwce__seed0', 'dice__seed0']
    assert tiny.splits == [plan.Split('val')] and not (tiny.tuning or tiny.margins or tiny.finals)
    assert [arm.losses for arm in tiny.arms.values()] == [a.losses for a in made.arms.values()]
    assert tiny.scale.data['images'] == 'drawn shapes' and not made.resolved()['scale']


@pytest.mark.parametrize('stem, one_logit', [('initial', True), ('two_logits', False)])
def test_a_scale_has_data_of_its_own_for_one_logit(stem, one_logit):
    """The number of logits may be an option of the study."""
    found = reading.read(ROOT / f'configs/studies/nuclei_bf1_{stem}.py', ROOT)
    small = reading.read_scale(SCALES / 'small.py', ROOT)
    assert found.at(small).scale.data == (small.one_logit if one_logit else small.data)


def test_a_scale_that_cannot_be_read(tmp_path):
    with pytest.raises(UnfitStudy, match="no scale 'huge'; choose from shapes, .*, tiny"):
        reading.read_scale(SCALES / 'huge.py')
    (tmp_path / 'odd.py').write_text("scale = dict(title='a', backbones={})\n")
    with pytest.raises(UnfitStudy, match="has 'backbones' in the scale, which knows"):
        reading.read_scale(tmp_path / 'odd.py')
    text = (SCALES / 'tiny.py').read_text()
    (tmp_path / 'odd.py').write_text(text.replace(", images='drawn shapes'", '', 1))
    with pytest.raises(UnfitStudy, match=r"has \['config'\] in data; give it config and images"):
        reading.read_scale(tmp_path / 'odd.py', ROOT)
    (tmp_path / 'odd.py').write_text("scale = dict(title='a')\n")
    with pytest.raises(UnfitStudy, match='has no budget; give it'):
        reading.read_scale(tmp_path / 'odd.py')


def test_a_backbone_without_a_small_form(written, tmp_path):
    scale = replace(reading.read_scale(SCALES / 'tiny.py', ROOT), small={})
    made = written(finals=[]).at(scale)
    run = Run('ce', 0, 'final')
    with pytest.raises(UnfitStudy, match='The scale tiny has no small ResNetV1c: add'):
        compose(made, ROOT, run, made.settings_of(run), [], tmp_path)


def test_validations_are_in_the_final_trainings_alone(written, tmp_path):
    made = written(validation=dict(key='mBoundaryIoU', points=4))
    for run in (Run('ce', 0, 'final'), Run('ce', 100, 'tuning')):
        config = compose(made, ROOT, run, made.settings_of(run), [], tmp_path)
        hook = next(each for each in config.custom_hooks if each['type'] == 'StudyRun')
        final = run.stage == 'final'
        assert (hook['score'], config.train_cfg.val_interval) == (
            ('mBoundaryIoU', 2) if final else (None, 8)
        )
        assert bool(config.val_dataloader) == bool(config.val_evaluator) == final


def test_settings_of_a_seed(written):
    made = written(seed_options={1: {'train_dataloader.dataset.seed': 9}})
    settings = [made.settings_of(Run('ce', seed, 'final'))['study_options'] for seed in (0, 1)]
    assert settings == [{}, {'train_dataloader.dataset.seed': 9}]


def test_seven_finals(written):
    arms = {f'arms.a{index}': dict(losses=[CE]) for index in range(7)}
    with pytest.raises(UnfitStudy, match='has 7 finals; declare 6 at most'):
        written(arms | dict(finals=[f'a{index}' for index in range(7)], seeds=list(range(9))))


def test_no_such_file(tmp_path):
    with pytest.raises(UnfitStudy, match=r'no\.py does not exist\. `ls configs/studies` lists'):
        reading.read(tmp_path / 'no.py')
    (tmp_path / 'other.py').write_text('arms = 3\n')
    with pytest.raises(UnfitStudy, match=r'has no `study = dict\(\.\.\.\)`'):
        reading.read(tmp_path / 'other.py')


def test_above_the_budget(written, tmp_path):
    study = Study(written(budget=0.1, tuning=None), tmp_path)
    with pytest.raises(UnfitStudy, match='would take 0.1 core-hours, above its budget of 0.1'):
        study.require_budget()
    Study(written(budget=0.2, tuning=None), tmp_path).require_budget()


def test_a_disk_that_is_nearly_full(written, tmp_path, monkeypatch):
    study = Study(written(), tmp_path / 'study')
    study.require_space()
    free = {'free': FREE_GB * 1e9 - 1}
    monkeypatch.setattr('shutil.disk_usage', lambda place: type('Usage', (), free))
    with pytest.raises(UnfitStudy, match='has 5.0 GB free, and a study needs 5: free some space'):
        study.require_space()


def test_rows_of_other_code_or_settings(written, tmp_path):
    study = Study(written(tuning=None), tmp_path)
    ours = code.Code(tmp_path, 'd' * 40, 'h')
    finish(study, Run('dice', 0, 'final'))
    study.require_rows_of(ours)
    changed = Study(written({'arms.dice.losses': [CE]}, tuning=None), tmp_path)
    with pytest.raises(UnfitStudy, match="with other settings than made_up now gives the arm 'dic"):
        changed.require_rows_of(ours)
    with pytest.raises(
        UnfitStudy, match='by the code of commit cccccccccccc, and this is commit d'
    ):
        study.require_rows_of(ours._replace(hash='g'))


def test_rows_made_in_place_never_mix(written, tmp_path):
    study = Study(written(tuning=None), tmp_path)
    commit, tree = code.Code(tmp_path, 'd' * 40, 'h'), code.Code(tmp_path, None, 'in place 1')
    finish(study, Run('dice', 0, 'final'))
    with pytest.raises(
        UnfitStudy, match='by the code of commit c{12}, and this is a working tree; they never mix'
    ):
        study.require_rows_of(tree)
    finish(study, Run('dice', 0, 'final'), commit=None, code_hash=tree.hash)
    study.require_rows_of(tree)
    with pytest.raises(
        UnfitStudy, match='the code of a working tree, and this is commit d{12}; they never mix: na'
    ):
        study.require_rows_of(commit)
    with pytest.raises(
        UnfitStudy, match='this is a working tree, whose package, tools or configs differ: begin an'
    ):
        study.require_rows_of(tree._replace(hash='in place 2'))


def test_unfinished_runs_of_other_code(written, tmp_path):
    """Their checkpoints would be gone on from."""
    study = Study(written(tuning=None), tmp_path)
    ours = code.Code(tmp_path, 'd' * 40, 'h')
    study.write_summary(ours)
    study.require_rows_of(ours._replace(hash='g'))  # nothing has begun
    checkpoint = study.folders[Run('ce', 0, 'final')].checkpoint(2)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    study.require_rows_of(ours)
    with pytest.raises(
        UnfitStudy, match='runs was made by the code of commit d{12}, and this is commit e{12}, wh'
    ):
        study.require_rows_of(code.Code(tmp_path, 'e' * 40, 'g'))


def test_a_study_may_need_less_space(written, tmp_path, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda place: type('Usage', (), {'free': 1e9}))
    Study(written(space=0.5), tmp_path).require_space()
    with pytest.raises(UnfitStudy, match='has 1.0 GB free, and a study needs 1.5: free some'):
        Study(written(space=1.5), tmp_path).require_space()


# --- The code -------------------------------------------------------------------------------------


def git(folder, *arguments):
    identity = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    subprocess.run(['git', '-C', folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path):
    """A repository of a few files, one of each part."""
    folder = tmp_path / 'clone'
    for name in ('mmseg_boundary/a.py', 'tools/b.py', 'configs/c.py', 'configs/studies/s.py', 'd'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    git(tmp_path, 'init', '-q', 'clone')
    git(folder, 'add', '.')
    git(folder, 'commit', '-qm', 'a')
    return folder


def change(folder, name):
    (folder / name).write_text('changed')
    git(folder, 'commit', '-qam', 'b')


def test_a_dirty_tree_is_refused(clone):
    study = clone / 'configs/studies/s.py'
    commit, _ = code.find(clone, None, study)
    (clone / 'd').write_text('which no run reads')
    assert code.find(clone, None, study)[0] == commit
    (clone / 'tools/new.py').write_text('')
    with pytest.raises(UnfitStudy, match=r'not committed \(\?\? tools/new.py\), and rows name'):
        code.find(clone, None, study)
    assert code.find(clone, commit, study)[0] == commit  # its worktree is what runs
    study.write_text('changed')
    with pytest.raises(UnfitStudy, match='configs/studies/s.py'):
        code.find(clone, commit, study)
    with pytest.raises(UnfitStudy, match='has no commit abc; a study runs from a git clone'):
        code.find(clone, 'abc', study)


def test_the_hash_is_of_what_runs(clone):
    hashes = [code.hash_of(clone, 'HEAD')]
    for name in ('d', 'configs/studies/s.py', 'mmseg_boundary/a.py', 'tools/b.py', 'configs/c.py'):
        change(clone, name)
        hashes.append(code.hash_of(clone, 'HEAD'))
    assert hashes[0] == hashes[1] == hashes[2] and len(set(hashes)) == 4


def test_the_tree_changes_and_the_worktree_does_not(clone, tmp_path):
    first, hash_of_first = code.find(clone, None, clone / 'd')
    checked_out = code.check_out(clone, tmp_path / 'code', first, hash_of_first)
    change(clone, 'tools/b.py')
    (clone / 'tools/b.py').write_text('again')
    assert (checked_out.folder / 'tools/b.py').read_text() == 'tools/b.py'
    code.require_untouched(checked_out)
    (checked_out.folder / 'tools/b.py').write_text('by hand')
    with pytest.raises(UnfitStudy, match=r'is no longer commit \w{12} \(M tools/b.py\)'):
        code.require_untouched(checked_out)


def test_the_working_tree_need_not_be_a_clone(tmp_path, monkeypatch):
    for name in ('mmseg_boundary/a.py', 'tools/b.py', 'configs/c.py', 'configs/studies/s.py', 'd'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = code.in_place(tmp_path)
    assert found.commit is None and found.hash.startswith('in place ')
    ignored = ('d', 'configs/studies/s.py', 'tools/__pycache__/b.pyc', 'mmseg_boundary/.mim/b.py')
    for name in ignored:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('changed')
        code.require_untouched(found)
    hashes = {found.hash}
    for name in ('mmseg_boundary/a.py', 'tools/b.py', 'configs/c.py', 'configs/new.py'):
        (tmp_path / name).write_text('changed')
        with pytest.raises(UnfitStudy, match='changed while a study ran in place: begin anew with'):
            code.require_untouched(found)
        found = code.in_place(tmp_path)
        hashes.add(found.hash)
    (tmp_path / 'tools/b.py').rename(tmp_path / 'tools/c.py')
    hashes.add(code.in_place(tmp_path).hash)
    monkeypatch.setattr(code, 'STACK', 'another')
    hashes.add(code.in_place(tmp_path).hash)
    assert len(hashes) == 7


# --- Locks ----------------------------------------------------------------------------------------


def test_a_child_keeps_the_lock_of_its_parent(tmp_path):
    path = tmp_path / 'lock'
    file = try_lock(path)
    assert try_lock(path) is None
    child = subprocess.Popen(['sleep', '60'], pass_fds=[file])
    os.pwrite(file, str(child.pid).encode().ljust(20), 0)
    os.close(file)
    assert try_lock(path) is None and holder(path) == child.pid
    child.kill()
    child.wait()
    assert holder(path) is None
    os.close(try_lock(path))


def test_a_number_that_another_process_got_is_nobody(tmp_path):
    path = tmp_path / 'lock'
    file = try_lock(path)
    os.pwrite(file, b'1'.ljust(20), 0)  # a process that has not opened it
    assert holder(path) is None
    os.close(file)

"""The page of a made-up study, whose differences were chosen."""

import csv
import dataclasses
import datetime
import html
import json
import re
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from mmseg.registry import METRICS
from PIL import Image

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary.study import extremes, figures, papers, report
from mmseg_boundary.study.conclusions import compare, points, verdict
from mmseg_boundary.study.extremes import wanted_images
from mmseg_boundary.study.record import published
from mmseg_boundary.study.report import write_report
from mmseg_boundary.study.results import Endpoint, UnfitResults, image_sums, read
from mmseg_boundary.study.statistics import Interval, mean_over_images
from tests.support import made_up_study
from tests.support.made_up_study import (
    add_row,
    markdown_of,
    names_of,
    page_of,
    write_plan,
    write_scenes,
    write_study,
)
from tests.support.scenes import segmentation
from tests.support.skips import ROOT

VOID_TAGS = {'meta', 'img', 'link', 'br', 'use', 'path'}
SETTINGS = [{'losses.1.loss_weight': weight} for weight in (0.5, 2)]
TUNING = dict(
    split=dict(name='held_out', dataset={}, opened_last=False),
    seeds=[100],
    grid=dict(ce=SETTINGS, bwce=SETTINGS, bf1=SETTINGS),
    options={},
    start=None,
    winner=dict(ce=0, bwce=1, bf1=1),
)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A study with all its runs; not to be changed."""
    folder = tmp_path_factory.mktemp('finished') / 'study'
    write_study(folder)
    return folder


@pytest.fixture
def study(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / 'study')


def change_row(folder, name, **changed):
    file = folder / f'rows/{name}.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def change_plan(folder, **changed):
    file = folder / 'study.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def row_of(markdown, caption, title):
    """{column: cell} of a row of the first table below a caption."""
    lines = markdown[markdown.index(f'**{caption}') :].splitlines()
    columns, *rows = ([c.strip() for c in line.split(' | ')] for line in lines if line[:1] == '|')
    row = next(row for row in rows if row[0] == f'| {title}')
    return dict(zip([c.strip('| ') for c in columns], [c.strip('| ') for c in row]))


class Balanced(HTMLParser):
    """Every element is closed where it ought to be."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID_TAGS:
            assert self.open.pop() == tag


# --- The page -------------------------------------------------------------------------------------


def test_the_page_stands_alone(study):
    write_scenes(study, 'val', ['bwce', 'bf1', 'dt'])
    page = page_of(study)
    assert '://' not in page and len(page.encode()) < 5_000_000
    parser = Balanced()
    parser.feed(page)
    assert not parser.open
    for tag, attributes in parser.seen:
        assert tag not in ('script', 'link', 'iframe')
        for name in ('src', 'href', 'xlink:href'):
            assert attributes.get(name, '#').startswith(('#', 'data:image/'))
    assert 'url(' not in re.sub(r'url\(#', '', page)
    assert page.count('<svg') == 4 and '#0102' not in page and 'currentColor' in page
    # of val, two gains of BF1 and two losses of DT
    assert sum(tag == 'img' for tag, _ in parser.seen) == 4 * 5


def test_two_drawings_share_no_name(study):
    parser = Balanced()
    parser.feed(page_of(study))
    names = [attributes['id'] for _, attributes in parser.seen if 'id' in attributes]
    used = re.findall(r'(?:href="|url\()#([^")]+)', (study / 'report.html').read_text())
    assert used and set(used) <= set(names)


def test_text_is_escaped(study):
    change_plan(study, question='Is a < b & "c"?')
    page = page_of(study)
    assert 'BF1 &lt;2&gt;' in page and 'BF1 <2>' not in page
    assert 'Is a &lt; b &amp; &#34;c&#34;?' in page


def test_both_forms_have_the_same_cells(study):
    page, markdown = page_of(study), (study / 'report.md').read_text()
    cells = re.findall(r'<t[hd][^>]*>([^<]*)</t[hd]>', page)
    cells = [html.unescape(cell).replace('\N{NO-BREAK SPACE}', ' ').strip() for cell in cells]
    lines = [line for line in markdown.splitlines() if line[:1] == '|' and '| ---' not in line]
    expected = [cell.strip() for line in lines for cell in line[2:-2].split(' | ')]
    assert [each for each in cells if each] == [each for each in expected if each]


def test_the_same_rows_give_the_same_bytes(study):
    assert page_of(study) == page_of(study)


# --- The numbers ----------------------------------------------------------------------------------


def test_differences_by_hand(study):
    """Around 3 the seeds scatter by sqrt(2 (0.09 + 0.36 + 0.81) / 6) = 0.648, so that the error of
    the mean is 0.245; t of 6 degrees at 97.5 % is 2.447. Two comparisons, all of one sign in seven
    seeds: 2 x 2 / 2^7."""
    bf1 = row_of(markdown_of(study), 'test', 'BF1 <2>')
    assert bf1['Δ F 2 px'] == bf1['Δ F 2 px, frequent'] == '+3.00 [+2.40, +3.60]'
    assert bf1['p'] == '0.031' and bf1['runs'] == '7'
    assert bf1['Δ mIoU'].endswith('(shown)') and bf1['memory'] == '1.25×' and bf1['time'] == '2.00×'
    dt = row_of(markdown_of(study), 'test', 'DT')
    assert dt['Δ F 2 px'] == '−1.00 [−1.60, −0.40]' and dt['Δ mIoU'].endswith('(worse)')
    epl = row_of(markdown_of(study), 'test', 'EPL')
    assert epl['runs'] == '2' and epl['p'] == '—'


def test_the_verdict(study):
    val, test = verdict(read(study))
    assert val == (
        'val: nothing is tested here, but on test. Highest of the others is BF1 <2> with '
        '+3.00 [+2.40, +3.60] points of F 2 px over boundary-weighted CE.'
    )
    assert test.startswith(
        'test: BF1 <2> with +3.00 [+2.40, +3.60] (adjusted p 0.031) points of F 2 px over '
        'boundary-weighted CE meets the target. DT with −1.00'
    )
    assert 'is worse than boundary-weighted CE' in test


@pytest.mark.parametrize(
    'margins',
    [
        {'mBoundaryF_2px': 3.1},  # more than there is
        {'mBoundaryF_2px': 1, 'mIoU': 0.01},  # and mIoU is not shown to be that near
    ],
)
def test_the_target_is_all_of_it(study, margins):
    change_plan(study, margins=margins)
    test = verdict(read(study))[1]
    assert 'is better than boundary-weighted CE, short of the target.' in test
    assert test.count('meets the target') == test.count('No arm meets the target. Closest') == 1


def test_frequent_classes_may_not_be_worse(study):
    for seed in range(7):
        name = f'bf1__seed{seed}__test'
        row = json.loads((study / f'rows/{name}.json').read_text())
        low = dict(row['per_class']['BoundaryF_2px'], road=1, car=1)
        change_row(study, name, per_class=dict(row['per_class'], BoundaryF_2px=low))
    (found,) = (each for each in compare(read(study), 'test') if each.arm == 'bf1')
    assert found.is_significant and found.mean(found.study.endpoints[1]) < 0
    assert not found.meets_target


def test_without_a_target_the_arms_are_named(study):
    change_plan(study, margins={})
    test = verdict(read(study))[1]
    assert 'BF1 <2> with +3.00 [+2.40, +3.60] (adjusted p 0.031) points of F 2 px is better' in test
    assert 'target' not in test and '(shown)' not in markdown_of(study)


def test_images_too_few_for_blocks(study):
    page = markdown_of(study)
    assert 'val has 5 blocks of consecutive images, and an interval over images needs 8' in page
    second = page[page.index('**Over seeds and images') : page.index('**On each drive')]
    rows = [line.split(' | ') for line in second.splitlines() if 'BF1' in line]
    val, test = ([cell.strip(' |') for cell in row[1:]] for row in rows)
    assert val == ['val', '5', '—', '—'] and test[:2] == ['test', '11']
    low, high = map(float, test[2].strip('[]').replace('+', '').split(', '))
    assert 2.3 < low < 3 < high < 3.7
    assert re.search(r'7 seeds and 11 blocks, at least 8\d\.\d % of the intervals', page)
    assert re.search(r'studies of 7 seeds, 9[45]\.\d % of such 95 % intervals', page)


def test_each_drive_alone(study):
    """BF1 gains on the first drive what it loses on the second; val has one drive."""
    first = [name for name in names_of('test') if name.startswith('0001TP')]
    for seed in range(7):
        add_row(study, 'bf1', seed, 'test', f=45, better=first)
    markdown = markdown_of(study)
    table = markdown[markdown.index('**On each drive alone') :]
    rows = re.findall(r'^\| BF1 <2> \| (test|val) \| (\w+) \| (\S+) \[\S+, \S+\] \| ', table, re.M)
    assert [row[:2] for row in rows] == [('test', '0001TP'), ('test', 'Seq05VD')]
    for _, drive, shown in rows:
        differences = []
        for seed in range(7):
            f = []
            for arm in ('bf1', 'bwce'):
                with np.load(study / f'per_image/{arm}__seed{seed}__test.npz') as arrays:
                    of_drive = [name.startswith(drive) for name in arrays['names']]
                    found = arrays['boundary_f'][of_drive][..., arrays['widths'] == 2]
                    f.append(100 * np.nanmean(found, 0).mean())
            differences.append(f[0] - f[1])
        assert points(np.mean(differences), signed=True) == shown
    assert float(rows[0][2]) > 10 > 0 > float(rows[1][2].replace('−', '-'))


def test_what_can_be_found_at_all(study):
    """Two comparisons over seven seeds: p is 1/64 or 1/32, so that all signs have to be the same,
    or all but the smallest difference: with a deviation of 0.65 about 1.2 points."""
    found = re.search(r'scatter by 0\.65 points, .* of ([\d.]+) with a prob', markdown_of(study))
    assert 0.9 < float(found[1]) < 1.3


def test_costs_are_relative_to_the_base_arm(study):
    ce = row_of(markdown_of(study), 'val', 'CE')
    assert ce['time'] == ce['memory'] == '1.00×'


# --- Runs that are not in, or were lost -----------------------------------------------------------


def test_a_run_in_nan_is_a_loss_and_never_dropped(study):
    add_row(study, 'bf1', 3, 'test', lost=True)
    bf1 = row_of(markdown_of(study), 'test', 'BF1 <2>')
    assert bf1['runs'] == '7, of which 1 ended in NaN'
    assert bf1['F 2 px'] == bf1['Δ F 2 px'] == '—' and bf1['p'] == '1.000'
    assert '(not shown)' in bf1['Δ mIoU']
    assert 'No arm meets the target' in verdict(read(study))[1]
    page = page_of(study)
    assert re.search(
        r'BF1 &lt;2&gt;</th><td[^>]*>test</td><td[^>]*>—</td><td[^>]*>1 run ended', page
    )


def test_a_baseline_in_nan_is_its_own_loss(study):
    add_row(study, 'bwce', 3, 'test', lost=True)
    change_plan(study, baselines=['bwce'])
    bf1 = row_of(markdown_of(study), 'test', 'BF1 <2>')
    assert bf1['Δ F 2 px'] == '—' and bf1['p'] == '0.031'


def test_a_study_at_a_scale_is_headed_by_what_it_is(tmp_path):
    write_plan(tmp_path)
    scale = dict(name='small', title='few layers', caveat='Compare nothing.')
    change_plan(tmp_path, scale=dict(scale, data=dict(images='shapes')))
    page = markdown_of(tmp_path)
    assert '- Scale small: few layers. Compare nothing.\n- val: ' in page[: page.index('##')]


def test_empty_rows_stay_empty(tmp_path):
    write_plan(tmp_path)
    assert verdict(read(tmp_path)) == [
        'val: no pair of runs is in yet.',
        'test: closed. It is opened once, when all finals are in; 0 of 28 are.',
    ]
    assert '| BF1 <2> |  |  |  |' in markdown_of(tmp_path)
    add_row(tmp_path, 'bf1', 0, 'val')
    assert row_of(markdown_of(tmp_path), 'val', 'BF1 <2>')['Δ F 2 px'] == ''
    add_row(tmp_path, 'ce', 0, 'val')
    assert '<svg' in page_of(tmp_path)
    only = row_of(markdown_of(tmp_path), 'val', 'BF1 <2>')
    assert only['p'] == '—' and re.fullmatch(r'[+−]?\d\.\d\d', only['Δ F 2 px'])


def test_one_seed_shows_nothing(tmp_path):
    write_plan(tmp_path, finals=[], seeds=[4])
    for arm, f in dict(ce=50, bwce=52, bf1=55).items():
        add_row(tmp_path, arm, 4, 'val', f=f)
    markdown = markdown_of(tmp_path)
    assert row_of(markdown, 'val', 'BF1 <2>')['Δ F 2 px'] == '+3.00'
    assert 'One seed shows nothing' in markdown and 'What did not help' not in markdown
    assert '- val: one seed says nothing about the losses.' in markdown
    assert 'Highest of the others' not in markdown


def test_an_arm_that_was_tuned_alone_has_no_row(tmp_path):
    write_plan(tmp_path)
    arms = json.loads((tmp_path / 'study.json').read_text())['arms']
    tuned = [each | (dict(seeds=[]) if each['name'] == 'bf1' else {}) for each in arms]
    change_plan(tmp_path, finals=['dt'], arms=tuned)
    assert '| BF1 <2> |  |' not in markdown_of(tmp_path) and '| DT |  |' in markdown_of(tmp_path)


def test_another_baseline_that_is_higher_is_named(study):
    """Than the one that the tuning found the strongest."""
    change_plan(study, tuning=TUNING)
    for arm, f in dict(ce=50, bwce=49, bf1=50).items():
        for setting in range(2):
            add_row(study, arm, 100, 'held_out', 'tuning', f, setting=setting)
    val, test = verdict(read(study))
    higher = 'Another baseline is higher than CE: boundary-weighted CE with +2.00'
    assert higher in test and higher not in val


def test_no_p_before_all_pairs_are_in(study):
    splits = [dict(name=name, dataset={}, opened_last=False) for name in ('val', 'test')]
    change_plan(study, splits=splits)  # both decide
    (study / 'rows/bf1__seed6__val.json').unlink()
    markdown = markdown_of(study)
    assert row_of(markdown, 'val', 'BF1 <2>')['p'] == '—'
    assert row_of(markdown, 'val', 'DT')['p'] == row_of(markdown, 'test', 'DT')['p'] == '0.031'
    assert '27 of 28 finals are in; what stands here is preliminary' in markdown


def test_a_closed_split_shows_nothing(study):
    (study / 'rows/dt__seed6__test.json').unlink()
    page = page_of(study)
    assert 'test: closed. It is opened once, when all finals are in; 27 of 28 are.' in page
    assert not json.loads((study / 'study.json').read_text())['opened']
    for seed in range(7):  # whatever its rows say
        add_row(study, 'bf1', seed, 'test', f=90, iou=10)
        add_row(study, 'ce', seed, 'test', 'base', lost=True)
    assert page_of(study) == page


def test_the_first_opening_is_written_down(study, monkeypatch):
    write_report(study)
    opened = json.loads((study / 'study.json').read_text())['opened']
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    assert opened == {'test': {'date': today, 'commit': 'c0ffee'}}
    change_plan(study, opened={'test': {'date': '2020-02-02', 'commit': 'dead'}})
    assert 'test (opened on 2020-02-02 at commit dead)' in page_of(study)
    kept = json.loads((study / 'study.json').read_text())
    assert kept['opened'] == {'test': {'date': '2020-02-02', 'commit': 'dead'}}
    assert kept['seeds'] == made_up_study.plan()['seeds']


# --- Screening, tuning and what did not help ------------------------------------------------------


def test_a_screening_has_no_p(study):
    change_plan(study, finals=[])
    markdown = markdown_of(study)
    assert (
        'a screening, which tests nothing. Highest of the others is BF1 <2> with +3.00' in markdown
    )
    assert 'adjusted p' not in markdown and '| p |' not in markdown


def test_the_strongest_baseline_is_compared_with(study):
    assert read(study).baseline == 'bwce'
    change_plan(study, baselines=['ce', 'dt'])
    assert read(study).baseline == 'dt'
    change_plan(study, baselines=['ce', 'bwce'], tuning=TUNING)
    add_row(study, 'bwce', 100, 'held_out', 'tuning', f=50, setting=0)
    add_row(study, 'ce', 100, 'held_out', 'tuning', f=40, setting=0)
    add_row(study, 'ce', 100, 'held_out', 'tuning', f=51, setting=1)
    assert read(study).baseline == 'ce'


def test_tuning_is_told_and_not_reported(study):
    change_plan(study, tuning=TUNING)
    for arm, scores in dict(ce=(48, 47), bwce=(49, 50), bf1=(44, 45)).items():
        for setting, f in enumerate(scores):
            lost = (arm, setting) == ('ce', 1)
            add_row(study, arm, 100, 'held_out', 'tuning', f, setting=setting, lost=lost)
    markdown = markdown_of(study)
    assert '| boundary-weighted CE | losses.1.loss_weight=2 | 50.00 | — | 60.00 | won |' in markdown
    assert '| CE | losses.1.loss_weight=2 | NaN | NaN | NaN |  |' in markdown
    assert 'Each arm had 2 settings and seed 100, on the split held_out' in markdown
    assert '| BF1 <2> | held_out | −5.00 | below, tuned |' in markdown
    assert '**held_out' not in markdown and row_of(markdown, 'val', 'BF1 <2>')['runs'] == '7'


def test_what_did_not_help(study):
    markdown = markdown_of(study)
    part = markdown[markdown.index('## What did not help') :]
    assert '| DT | val | −1.00 [−1.60, −0.40] | worse |' in part
    assert '| EPL | test | +0.50 [−5.85, +6.85] | no difference shown |' in part
    assert 'BF1' not in part[: part.index('## How sure')]


def test_where_all_helped_it_says_so(study):
    change_plan(study, baselines=['dt'], finals=[], arms=[
        each for each in made_up_study.plan()['arms'] if each['name'] in ('ce', 'dt', 'bf1')
    ], base_arm='dt')  # fmt: skip
    for file in [*study.glob('rows/epl*'), *study.glob('rows/bwce*'), *study.glob('rows/ce*')]:
        file.unlink()
    assert 'The 95 % intervals of all arms lie above DT.' in markdown_of(study)


def test_what_reruns_it(study):
    code = markdown_of(study).split('```sh\n')[1]
    assert code.startswith(
        'git checkout c0ffee\npython tools/study.py run configs/studies/made_up.py\n'
    )


def test_what_was_made_in_place_says_so(tmp_path):
    made_up_study.write_study(tmp_path, splits=('val',))
    for file in (tmp_path / 'rows').iterdir():
        file.write_text(json.dumps(json.loads(file.read_text()) | dict(commit=None)))
    said = markdown_of(tmp_path)
    assert 'Run in place: from a working tree, which no commit names.' in said
    assert said.split('```sh\n')[1].startswith(
        'python tools/study.py run configs/studies/made_up.py --in-place\n'
    )


# --- Images ---------------------------------------------------------------------------------------


def test_the_largest_gains_and_losses(study):
    first, second, *_, last = names_of('val')
    for seed in range(7):
        add_row(
            study, 'bf1', seed, 'val', f=52, iou=60, better=[first] if seed else [first, second]
        )
        add_row(study, 'bwce', seed, 'val', f=52, iou=60, better=[last])
    wanted = [
        (n, d) for c, n, d in wanted_images(read(study)) if (c.arm, c.split) == ('bf1', 'val')
    ]
    assert [name for name, _ in wanted] == [first, second, last]
    assert [d for _, d in wanted] == pytest.approx([20, 20 / 7, -20])
    write_scenes(study, 'val', ['bwce', 'bf1'])
    page = page_of(study)
    assert f'val, {first}: BF1 &lt;2&gt; +20.00' in page and f'{last}: BF1 &lt;2&gt; −20.00' in page
    assert page.count('<img') == 3 * 5


def test_what_changed_is_painted(tmp_path):
    """Row by row: right before and after, now right, now wrong, wrong in both, void."""
    columns = dict(label=[0, 1, 1, 1, 255], before=[0, 0, 1, 0, 0], after=[0, 1, 0, 2, 1])
    for name, values in columns.items():
        Image.fromarray(np.array([values], np.uint8)).save(tmp_path / f'{name}.png')
    Image.fromarray(np.zeros((1, 5, 3), np.uint8)).save(tmp_path / 'image.jpg')
    preds = [(name, tmp_path / f'{name}.png') for name in ('before', 'after')]
    painted = []

    def keep(labels, palette):
        painted.append((labels.tolist(), palette))
        return 'data:'

    figures._painted, kept = keep, figures._painted
    try:
        figures.image_panels(
            tmp_path / 'image.jpg', tmp_path / 'label.png', preds, made_up_study.PALETTE
        )
    finally:
        figures._painted = kept
    assert painted[-1][0] == [[0, 1, 2, 0, 0]]
    assert [each[0] for each in painted[:3]] == [[columns[name]] for name in columns]


def test_too_many_images_are_left_out_and_said(study, monkeypatch):
    write_scenes(study, 'val', ['bwce', 'bf1', 'dt'])
    monkeypatch.setattr(extremes, 'BYTES_OF_IMAGES', 10)
    page = page_of(study)
    assert '<img' not in page and 'are not shown, because their predictions were not kept' in page
    monkeypatch.setattr(report, 'MOST_BYTES', 10_000)
    with pytest.raises(
        UnfitResults, match=r'would have 0\.\d MB, and 0 MB are allowed: compare few'
    ):
        write_report(study)


# --- Drawings -------------------------------------------------------------------------------------


def test_titles_are_text(study):
    """No formula, no markup."""
    change_plan(study, arms=[dict(each, title=f'{each["name"]} $a_$ <&>')
                             for each in made_up_study.plan()['arms']])  # fmt: skip
    page = page_of(study)
    assert page.count('bf1 $a_$ &lt;&amp;&gt;') > 4 and '<&>' not in page


def test_drawings_are_files_with_their_legend(study):
    """In the colors of the light page, and of titles that are no markup."""
    write_report(study)
    files = {path.name: path.read_text() for path in study.glob('figures/*')}
    kinds, splits = ('differences', 'widths'), ('val', 'test')
    assert files.keys() == {f'{kind}_{split}.svg' for kind in kinds for split in splits}
    for name, svg in files.items():
        assert 'var(' not in svg and figures.COLORS[2] in svg and '#0102' not in svg
        assert f'(figures/{name})' in (study / 'report.md').read_text()
        assert {'BF1 <2>', 'DT'} <= set(texts_of(svg))
    assert {'CE', 'boundary-weighted CE'} <= set(texts_of(files['widths_val.svg']))


def test_a_lost_run_leaves_no_diamond():
    nothing = Interval(float('nan'), float('nan'))
    lines = [figures.Difference('a', 0, [1.0, -np.inf], nothing, nothing)]
    lost = figures.forest(lines, 'Δ', None)
    whole = figures.forest(
        [figures.Difference('a', 0, [1.0, 2.0], Interval(0, 3), nothing)], 'Δ', None
    )
    assert len(whole) > len(lost) and 'inf' not in lost and 'nan' not in lost.lower()


# --- Numbers of others ----------------------------------------------------------------------------


def test_published_numbers_come_with_their_caveats():
    section = published('epl_results: VIII')
    (table,) = section.tables
    assert len(table.rows) == 14 and {row[0] for row in table.rows} == {'VIII'}
    assert 'Single runs' in section.text[1] and section.folded
    with pytest.raises(
        UnfitResults, match="numbers 'epl', which are not there: choose of epl_resu"
    ):
        published('epl')
    with pytest.raises(UnfitResults, match='names the table XX of epl_results, which has I, II'):
        published('epl_results: XX, VIII')


def test_every_table_of_a_paper_has_its_source(study):
    folder = papers.HERE
    sources = json.loads((folder / 'sources.json').read_text())
    assert {path.stem for path in folder.glob('*.csv')} == sources.keys()
    for name in sources:
        section = published(name)
        assert section.tables[0].rows and len(section.text) > 1
    change_plan(study, published='epl_results: IX')
    assert 'PSANet' in page_of(study)


def test_the_caveats_are_so():
    """Classes do not average to the mIoU that was printed; some folds cannot be."""

    def rows(name):
        with (papers.HERE / f'{name}.csv').open(newline='') as file:
            return list(csv.DictReader(file))

    for name, shown in (('epl_cityscapes_classes', '79.59 against 79.44'),
                        ('epl_voc_classes', '80.26 against 80.46')):  # fmt: skip
        (row,) = (row for row in rows(name) if row['model'] == 'PSPNet-R101+EPL')
        classes = [float(row[key]) for key in row if key not in ('model', 'mIoU')]
        assert f'{np.mean(classes):.2f} against {row["mIoU"]}' == shown
        assert shown in published(name).text[1]
    impossible = [
        row['loss']
        for row in rows('thesis_folds')
        if float(row['Dice']) > 2 * float(row['IoU']) / (1 + float(row['IoU']))
    ]
    assert len(impossible) == 14 and impossible.count('Ours') == 5


# --- Folders that do not go together --------------------------------------------------------------


def no_plan(folder):
    (folder / 'study.json').unlink()


def unknown_arm(folder):
    add_row(folder, 'abl', 0, 'val')


def other_code(folder):
    change_row(folder, 'bf1__seed0__val', code_hash='def')


def damaged(folder):
    (folder / 'rows/bf1__seed0__val.json').write_text('{"arm": ')


def other_scores(folder):
    row = json.loads((folder / 'rows/bf1__seed0__test.json').read_text())
    change_row(folder, 'bf1__seed0__test', metrics=dict(row['metrics'], mIoU=59.0))


def other_images(folder):
    file = folder / 'per_image/bf1__seed0__test.npz'
    arrays = dict(np.load(file))
    np.savez(file, **dict(arrays, names=arrays['names'][::-1]))


@pytest.mark.parametrize(
    'change, said',
    [
        (no_plan, r'has no study\.json: run the study first'),
        (
            unknown_arm,
            r"abl__seed0__val\.json is a row of the arm 'abl', which the study does not ha",
        ),
        (other_code, r'rows of different code \(abc, def\), which do not compare'),
        (damaged, r'bf1__seed0__val\.json is no JSON .* restore it, or remove it'),
        (other_scores, r'gives mIoU [\d.]+, and its row 59\.00: the file is of another run'),
        (other_images, r'has other images than .*: the runs of a study are evaluated on the same'),
    ],
)
def test_a_folder_that_does_not_go_together_is_refused(study, change, said):
    change(study)
    with pytest.raises(UnfitResults, match=said):
        write_report(study)
    assert not (study / 'report.html').exists()


# --- Small parts ----------------------------------------------------------------------------------


def test_points_are_written_alike():
    assert [points(value, signed=True) for value in (1.005, -0.001, -2, float('nan'))] == [
        '+1.00', '0.00', '−2.00', '—',
    ]  # fmt: skip


def test_an_endpoint_over_classes_leaves_out_what_is_not_there(study):
    run = read(study).reported('ce', 'val')[0]
    one, both = (run.score(Endpoint('mBoundaryF_2px', '', c)) for c in (('car',), ('car', 'bus')))
    assert one == both and np.isnan(run.score(Endpoint('mBoundaryF_2px', '', ('bus',))))


def test_a_study_of_shares_of_the_diagonal(study):
    """The page has the scores of the same runs, at 0.01, 0.02 and 0.03 of the diagonal."""
    page, in_pixels = page_of(study), markdown_of(study)
    for file in study.rglob('*.json'):
        file.write_text(re.sub(r'_([123])px', r'_0.0\1d', file.read_text()))
    for file in study.rglob('*.npz'):
        arrays = dict(np.load(file))
        np.savez_compressed(file, **arrays | dict(widths=arrays['widths'] / 100))
    assert page_of(study).count('<svg') == page.count('<svg') > 0
    in_shares = markdown_of(study)
    assert 'trimap IoU, 0.02 d' in in_shares and '+3.00 [+2.40, +3.60]' in in_shares
    assert in_shares.replace('trimap IoU, 0.02 d', 'trimap IoU, 2 px') == in_pixels


@pytest.fixture(scope='module')
def evaluated(tmp_path_factory):
    """The scores of `BoundaryMetric` and the file of its counts per image."""
    metric = METRICS.build(dict(type='BoundaryMetric', widths=[2, 0.06, 3]))
    metric.dataset_meta = dict(classes=('sky', 'road', 'car'))
    for seed in range(4):
        pred, label = segmentation((30, 40), seed=seed, wrong=0.1)
        sample = dict(pred_sem_seg=dict(data=pred[None]), gt_sem_seg=dict(data=label[None]))
        metric.process({}, [sample | dict(img_path=f'{seed}.png')])
    scores = metric.evaluate(4)
    file = tmp_path_factory.mktemp('per_image') / 'run.npz'
    np.savez_compressed(file, **metric.per_image())
    return scores, file


@pytest.mark.parametrize(
    'key',
    [
        *('mIoU', 'mBoundaryIoU_2px', 'mBoundaryIoU_3px', 'mBoundaryF_2px', 'mTrimapIoU_3px'),
        *('mBoundaryF_0.06d', 'mTrimapIoU_0.06d'),
    ],
)
def test_every_endpoint_is_read_from_the_file_of_its_images(study, evaluated, key):
    scores, file = evaluated
    run = dataclasses.replace(read(study).runs[0], metrics=scores, per_image=file)
    names, sums = image_sums([run], Endpoint(key, key))
    assert names == ['0', '1', '2', '3']
    assert mean_over_images(sums).item() == pytest.approx(scores[key])


RESULTS = sorted(path.parent for path in ROOT.glob('docs/results/*/study.json'))


@pytest.mark.parametrize('folder', RESULTS, ids=lambda path: path.name)
def test_pages_of_results_are_written_from_their_rows(folder, tmp_path):
    """The drawings up to 2 pt, since versions of Matplotlib place letters differently."""
    written = shutil.copytree(folder, tmp_path / folder.name)
    assert markdown_of(written) == (folder / 'report.md').read_text()
    names = [path.name for path in sorted(folder.glob('figures/*'))]
    assert names == [path.name for path in sorted(written.glob('figures/*'))] != []
    for name in names:
        new, kept = ((each / 'figures' / name).read_text() for each in (written, folder))
        assert texts_of(new) == texts_of(kept)
        np.testing.assert_allclose(numbers_of(new), numbers_of(kept), atol=2)


def texts_of(svg):
    return [each.text for each in ElementTree.fromstring(svg).iter() if each.tag.endswith('}text')]


def numbers_of(svg):
    """All but those in the names of its parts, which are hashes."""
    return [float(each) for each in re.findall(r'-?\d+(?:\.\d+)?', re.sub(r'"\w*#?\w+"', '', svg))]


@pytest.mark.parametrize('page', ['README.md', 'docs/results.md'])
def test_differences_that_are_quoted_stand_on_a_page_of_results(page):
    number = r'[+−]\d+\.\d\d'
    quoted = re.findall(rf'{number} \[{number}, {number}\]', (ROOT / page).read_text())
    pages = [(folder / 'report.md').read_text() for folder in RESULTS]
    assert quoted and all(any(each in text for text in pages) for each in quoted)


def test_the_runs_of_one_class_are_quoted_as_their_rows_say():
    page = (ROOT / 'docs/bf1.md').read_text()
    quoted = re.findall(r'^\| (.+) \| ([12]) \| (\d) \| ([\d.| ]+) \|$', page, re.M)
    studies = {'1': 'nuclei_bf1_initial', '2': 'nuclei_bf1_two_logits'}
    rows = []
    for logits, name in studies.items():
        folder = ROOT / 'docs/results' / name
        arms = json.loads((folder / 'study.json').read_text())['arms']
        titles = {arm['name']: arm['title'] for arm in arms}
        for row in map(json.loads, (each.read_text() for each in folder.glob('rows/*.json'))):
            metrics, iou = row['metrics'], row['per_class']['IoU']['nucleus']
            scores = metrics['mBoundaryF_1px'], metrics['mBoundaryF_3px'], iou
            numbers = ' | '.join(f'{each:.2f}' for each in scores)
            rows.append((titles[row['arm']], logits, str(row['seed']), numbers))
    assert sorted(quoted) == sorted(rows)

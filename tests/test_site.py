"""The pages that `make docs` builds of docs/, and the files beside the package, as far as they need
no generator, which .venv/docs alone has."""

import re
import runpy
import sys
from types import SimpleNamespace

import pytest
import yaml

import mmseg_boundary
from tests.support.skips import ROOT

HOOKS = runpy.run_path(str(ROOT / 'docs/site_hooks.py'))
SITE = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())
MODULES = {page: module for module, page, _ in HOOKS['module_pages']()}
WRITTEN = {str(path.relative_to(ROOT / 'docs')) for path in ROOT.glob('docs/**/*.md')}
MADE = {*HOOKS['OUTSIDE_DOCS'], *MODULES}


def pages_in(nav):
    """Every page that a nav of MkDocs names."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages_in(part)]


def test_every_page_is_in_the_menu_once():
    config = HOOKS['on_config'](SimpleNamespace(nav=[*SITE['nav']]))
    assert sorted(pages_in(config.nav)) == sorted(WRITTEN | MADE)


def test_every_module_has_a_page():
    for page, module in MODULES.items():
        assert page == f'modules/{module}.md'
    for name in ('', '.labels', '.losses', '.losses.bf1', '.metrics.boundary_f', '.registered'):
        assert f'mmseg_boundary{name}' in MODULES.values()
    assert not [module for module in MODULES.values() if '.mim' in module]


def test_a_package_says_what_is_in_it():
    pages = {module: text for module, _, text in HOOKS['module_pages']()}
    text = pages['mmseg_boundary.losses']
    listed = re.findall(r'^- \[`mmseg_boundary\.losses\.(\w+)`\]\(\S+\): \S.*\S$', text, re.M)
    files = {path.stem for path in (ROOT / 'mmseg_boundary/losses').glob('*.py')}
    assert set(listed) >= files - {'__init__'}
    assert not re.search(r'\beq\.$', text, re.M)  # no sentence is cut at 'eq. (3)'


@pytest.mark.parametrize('page', sorted(WRITTEN | set(HOOKS['OUTSIDE_DOCS'])))
def test_links_stay_in_the_site(page):
    """MkDocs in strict mode checks the anchors too: `make docs`."""
    source = HOOKS['OUTSIDE_DOCS'].get(page, ROOT / 'docs' / page)
    text = HOOKS['to_site'](source.read_text(), in_root=page in HOOKS['OUTSIDE_DOCS'])
    for target in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'```.*?```', '', text, flags=re.S)):
        file = target.partition('#')[0]
        if file and '://' not in file:
            assert (
                file in WRITTEN | MADE or (ROOT / 'docs' / page).parent.joinpath(file).is_file()
            ), target


def test_links_are_moved():
    to_site = HOOKS['to_site']
    assert to_site('[a](docs/epl.md#cost) [b](CHANGELOG.md)', in_root=True) == (
        '[a](epl.md#cost) [b](changelog.md)'
    )
    moved = to_site('[a](../README.md#tools) [b](../mmseg_boundary/losses/bf1.py)', in_root=False)
    assert moved == '[a](index.md#tools) [b](modules/mmseg_boundary.losses.bf1.md)'
    unmoved = '[a](https://arxiv.org) [b](#here) [c](epl.md)\n```text\n[d](../README.md)\n```'
    assert to_site(unmoved, in_root=False) == unmoved


def test_the_tour_is_run():
    """Each block prints or draws, and the outputs show what the text says."""
    tour = (ROOT / 'docs/tour.md').read_text()
    text, figures = HOOKS['with_outputs'](tour)
    printed = re.findall(r'^```text\n(.*?)^```', text, re.M | re.S)
    assert len(printed) == 3 and len(figures) == 3
    assert all(png.startswith(b'\x89PNG') and len(png) < 200_000 for png in figures.values())
    assert all(f']({name})' in text for name in figures)
    assert not set(figures) & {f'pictures/{path.name}' for path in ROOT.glob('docs/pictures/*')}
    labels, gradients, scores = (each.splitlines() for each in printed)
    assert [line.split()[1] for line in labels] == ['0:', '1:', '2:', '255:']
    assert {line.split()[-1] for line in gradients[1:]} == {'0'}  # at void
    assert all(float(line.split()[2]) > 0 for line in gradients[1:])
    ious = {line.split()[0]: [float(x) for x in line.split()[1:]] for line in scores[2:]}
    assert ious.keys() == {'ground', 'disc', 'pole'}
    # 'The IoU of the disc hides …', '… the pole scores worst in both'
    assert ious['disc'][0] > 0.8 > 0.3 > ious['disc'][2]
    assert ious['pole'][0] < 0.3 and ious['pole'][0] == min(row[0] for row in ious.values())


def test_a_tour_that_fails_is_an_error():
    with pytest.raises(ZeroDivisionError):
        HOOKS['with_outputs']('```python\n1 / 0\n```\n')


def test_docstrings_are_read_as_we_write_them(monkeypatch):
    monkeypatch.setitem(sys.modules, 'griffe', SimpleNamespace(Extension=object, Object=object))
    docstrings = runpy.run_path(str(ROOT / 'docs/docstrings.py'))
    fenced, entries = docstrings['fenced'], docstrings['one_entry_each']
    assert fenced('Words.\n\n>>> 1 + 1\n2\n\nMore.') == (
        'Words.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore.'
    )
    docstring = (
        'Of a, b: x.\n\nArgs:\n    a, b: one\n        two.\n    c: three.\n\nReturns:\n    d, e: f.'
    )
    assert entries(docstring) == docstring.replace(
        '    a, b: one\n        two.', '    a: one\n        two.\n    b: one\n        two.'
    )


def test_the_changelog_knows_this_version():
    text = (ROOT / 'CHANGELOG.md').read_text()
    versions = re.findall(r'^## \[(.+?)\]', text, re.M)
    assert versions[0] == 'Unreleased' and mmseg_boundary.__version__ == versions[1]
    kinds = set(re.findall(r'^### (.*)$', text, re.M))
    assert kinds <= {'Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security'}


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert {'cff-version', 'message', 'title', 'authors'} <= citation.keys()
    assert citation['version'] == mmseg_boundary.__version__
    readme = (ROOT / 'README.md').read_text()
    for work in citation['references']:
        assert work['url'] in readme and work['authors'] and work['year']


def test_hosted_ci_calls_what_runs_anywhere():
    jobs = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text())['jobs']
    commands = [step['run'] for job in jobs.values() for step in job['steps'] if 'run' in step]
    assert commands == ['bash .ci/run', 'make docs']


def test_commits_are_checked_by_the_tools_of_make_lint():
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    (repo,) = config['repos']
    assert repo['repo'] == 'local'
    lint = re.search(r'^lint:\n(.*?)\n\n', (ROOT / 'Makefile').read_text(), re.M | re.S)[1]
    for hook in repo['hooks']:
        assert hook['language'] == 'system'
        tool, *arguments = hook['entry'].replace(' --force-exclude', '').split()
        assert f'{tool} {arguments[0]}' in lint

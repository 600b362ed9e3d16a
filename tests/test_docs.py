"""The code in README and docs/ runs, their links exist, and what they say holds."""

import ast
import inspect
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest
import tomllib
from mmengine.config import Config
from mmseg.registry import HOOKS, METRICS, MODELS
from mmseg.utils import register_all_modules
from torch.nn.functional import one_hot

import mmseg_boundary.registered  # noqa: F401
from mmseg_boundary import check, metrics
from mmseg_boundary.losses.decode_head_loss import DecodeHeadLoss
from mmseg_boundary.metrics import Metric
from mmseg_boundary.registered.loss_wrapper import LossWrapper
from mmseg_boundary.requirements import MINIMUM_TORCH
from mmseg_boundary.stacks import STACK
from tests.support.commands import LIMIT, environment_for, run
from tests.support.losses import LOSSES as LOSS_ROWS
from tests.support.metrics import METRICS as METRIC_ROWS
from tests.support.scenes import ringed
from tests.support.skips import ROOT
from tests.support.worked_example import LABELS, LOGITS

IN_ROOT = ('README.md', 'CHANGELOG.md', '.github/CONTRIBUTING.md')
PAGES = sorted([*(ROOT / name for name in IN_ROOT), *ROOT.glob('docs/*.md')])
ADDING = ROOT / 'docs/adding-a-loss.md'
ADDING_METRIC = ROOT / 'docs/adding-a-metric.md'
LOSSES = {
    name: loss
    for name, loss in MODELS.module_dict.items()
    if isinstance(loss, type) and issubclass(loss, DecodeHeadLoss)
}
WRAPPERS = {
    name: wrapper
    for name, wrapper in MODELS.module_dict.items()
    if isinstance(wrapper, type) and issubclass(wrapper, LossWrapper)
}
SHARED = {'use_sigmoid': False, 'class_weight': None, 'loss_weight': 1.0, 'ignore_index': None}
COMMANDS = ('python', 'bash', 'make', 'pip', 'mim', '.')


def name_of(path):
    return str(path.relative_to(ROOT))


def fenced(path):
    """(language, code) of every fenced block, indented ones in lists too."""
    blocks = re.findall(r'^( *)```(\w*)\n(.*?)^\1```', path.read_text(), re.MULTILINE | re.DOTALL)
    return [(language, dedent(code)) for _, language, code in blocks]


def shell_lines(path):
    """Indented lines, and those of ```sh, that begin with a command."""
    text = re.sub(r'^( *)```python\n.*?^\1```', '', path.read_text(), flags=re.M | re.S)
    for line in text.splitlines():
        if re.match(r' {4}|[a-z.]', line):
            # MMSegmentation's environment variables come before the command
            line = re.sub(r'^(\w+=\S* )+', '', line.split('  #')[0].strip())
            if line.split(' ')[0] in COMMANDS and ' ' in line:
                yield line


def is_config(code):
    """Whether the code is assignments alone, as in a config file."""
    return all(isinstance(node, ast.Assign) for node in ast.parse(code).body)


def dicts_in(config):
    if isinstance(config, dict):
        yield config
    parts = config.values() if isinstance(config, dict) else config
    for part in parts if isinstance(config, (dict, list, tuple)) else ():
        yield from dicts_in(part)


PYTHON = [
    pytest.param(path, [code for language, code in fenced(path) if language == 'python'])
    for path in PAGES
    if path not in (ADDING, ADDING_METRIC)
]


@pytest.mark.parametrize('path, blocks', PYTHON, ids=[name_of(p.values[0]) for p in PYTHON])
def test_python_runs(path, blocks, tmp_path):
    """Programs, in order and one namespace per page; configs, with all that they name built."""
    register_all_modules()
    namespace = {}
    for number, code in enumerate(blocks):
        if not is_config(code):
            exec(compile(code, f'{path.name}, block {number}', 'exec'), namespace)
            continue
        file = tmp_path / f'block_{number}.py'
        file.write_text(code)
        config = Config.fromfile(file)
        if code.startswith('_base_'):  # a complete config, which tests/configs builds
            assert config.model.decode_head.loss_decode
            continue
        for each in dicts_in(config.to_dict()):
            if 'type' in each:
                (registry,) = (r for r in (MODELS, METRICS, HOOKS) if r.get(each['type']))
                registry.build(dict(each))


def test_no_block_is_missed():
    """A page with ``` in the wrong place, or a block without a language, would not be tested."""
    for path in PAGES:
        blocks = fenced(path)
        assert path.read_text().count('```') == 2 * len(blocks), path
        assert {language for language, _ in blocks} <= {'python', 'sh', 'text'}, path
    assert sum(len(param.values[1]) for param in PYTHON) >= 8


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_commands_name_what_exists(path):
    """Files exist, modules can be found, and our tools know the options."""
    known = (ROOT / 'mmseg_boundary/cli/arguments.py').read_text()
    for module in re.findall(r'python -m (mmseg_boundary[\w.]*)', path.read_text()):
        assert find_spec(module), module
    for line in shell_lines(path):
        words = line.split()
        for word in words:
            if re.fullmatch(r'(tools|configs|tests|docs|\.ci)/[\w./-]+', word):
                made = word == 'configs/pspnet_mae_shapes.py' and path == ADDING
                assert made or (ROOT / word).exists(), line
        script = ROOT / next((w for w in words if w.endswith('.py')), 'none')
        if words[0] == 'python' and script.is_file() and '-m' not in words:
            options = [word for word in words if re.fullmatch(r'--[a-z-]+', word)]
            for option in options:
                assert f"'{option}'" in script.read_text() + known, line


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_links_exist(path):
    for target in re.findall(r'\]\(([^)\s]+)\)', path.read_text()):
        if '://' in target:
            continue
        file, _, anchor = target.partition('#')
        page = (path.parent / file).resolve() if file else path
        assert page.exists(), target
        if anchor:
            headings = re.findall(r'^#+ (.*)$', page.read_text(), re.MULTILINE)
            slugs = {re.sub(r'[^\w -]', '', each.lower()).replace(' ', '-') for each in headings}
            assert anchor in slugs, target


def tables_of_arguments():
    """{name of the loss: {argument: default}}, as the pages have them."""
    found = {}
    for path in PAGES:
        table = None
        for line in path.read_text().splitlines():
            cells = [cell.strip(' `') for cell in line.strip('|').split(' | ')]
            if not line.startswith('| '):
                table = table if line.startswith('|---') else None
            elif cells[1:2] == ['default']:
                assert cells[0] not in found
                table = found[cells[0]] = {}
            elif table is not None:
                table[cells[0]] = cells[1]
    return found


def test_tables_of_arguments_are_the_signatures():
    tables = tables_of_arguments()
    shared = {name: ast.literal_eval(default) for name, default in tables.pop('all losses').items()}
    assert shared == SHARED
    # A page is written when somebody will read it.
    assert len(tables) >= 10 and set(tables) <= {*LOSSES, *WRAPPERS}
    for name in set(tables) & set(WRAPPERS):  # all but what they wrap
        _, *arguments = inspect.signature(WRAPPERS[name]).parameters.values()
        own = {each.name: each.default for each in arguments}
        assert {each: ast.literal_eval(given) for each, given in tables.pop(name).items()} == own
    for name, table in tables.items():
        arguments = inspect.signature(LOSSES[name]).parameters
        without = {'class_weight'} - set(LOSS_ROWS[name].arguments)
        of_all = {each: arguments[each].default for each in SHARED if each in arguments}
        assert of_all == {each: SHARED[each] for each in SHARED if each not in without}
        own = {each: p.default for each, p in arguments.items() if each not in SHARED}
        assert {each: ast.literal_eval(default) for each, default in table.items()} == own, name


@pytest.mark.parametrize(
    'name, page', [('SemanticBoundaryHead', 'semantic-boundary-head'), ('GSCNNHead', 'gscnn')]
)
def test_the_arguments_of_the_heads_are_their_signatures(name, page):
    head = inspect.signature(MODELS.get(name)).parameters
    rows = rows_of(f'`{name}`', (ROOT / f'docs/{page}.md').read_text())
    table = dict([cell.strip(' `') for cell in row.split('|')[1:3]] for row in rows.splitlines())
    assert sorted(table) == sorted(head)
    for name, default in table.items():
        given = head[name].default
        if head[name].kind is inspect.Parameter.VAR_KEYWORD:
            assert default == "the base class's"
            continue
        required = given is inspect.Parameter.empty
        assert (default == 'required') if required else (ast.literal_eval(default) == given), name


def test_the_oldest_torch_is_named():
    for name in ('README.md', 'docs/troubleshooting.md'):
        assert f'torch {MINIMUM_TORCH} or newer' in (ROOT / name).read_text()


def test_quoted_messages_exist():
    """The page of troubleshooting quotes them."""
    files = [*ROOT.glob('mmseg_boundary/**/*.py'), *ROOT.glob('tools/*.py')]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    said = [node.value for node in nodes if isinstance(node, ast.Constant)]
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            said.append(
                ''.join(
                    part.value if isinstance(part, ast.Constant) else '…' for part in node.values
                )
            )
    text = (ROOT / 'docs/troubleshooting.md').read_text()
    messages = re.findall(r'[Ss]ays\s`([^`]+)`', text)
    assert len(messages) >= 8
    for message in messages:
        assert any(message in each for each in said if isinstance(each, str)), message


def test_the_readme_is_short():
    """It has six lines of config, six lines of PyTorch, and a row for each loss and metric."""
    readme = (ROOT / 'README.md').read_text()
    assert len(readme.splitlines()) <= 120
    config, program = (code for language, code in fenced(ROOT / 'README.md') if language)
    assert len(config.splitlines()) == len(program.splitlines()) == 6
    assert is_config(config) and not is_config(program) and '__import__' not in readme
    assert all(f'`{name}`' in readme for name in LOSSES)
    classes = [each for each in vars(metrics).values() if isinstance(each, type)]
    names = {each.name for each in classes if issubclass(each, Metric) and each is not Metric}
    assert {'BoundaryIoU', 'BoundaryF', 'TrimapIoU'} <= names
    assert all(f'`m{name}_3px`' in readme for name in names)


def pins_of(stack):
    """{distribution: version} of what CI installs."""
    lines = (ROOT / f'.ci/{stack}.txt').read_text().splitlines()
    return dict(line.split('==') for line in lines if '==' in line and not line.startswith('#'))


def test_the_versions_are_those_of_ci():
    readme, page = ((ROOT / name).read_text() for name in ('README.md', 'docs/installing.md'))
    onedl, mmlab = (pins_of(stack) for stack in ('onedl', 'mmlab'))
    torch, ours, theirs = (
        onedl['torch'], onedl['onedl-mmsegmentation'], mmlab['mmsegmentation'],
    )  # fmt: skip
    assert torch == mmlab['torch']
    said = f'torch {torch}, and MMSegmentation {ours} (onedl) or {theirs} (mmlab)'
    assert said in ' '.join(readme.split())
    parts = ('mmengine', 'mmcv', 'mmsegmentation')
    rows = {row.split('|')[1].strip(' `'): row for row in rows_of('in CI', page).splitlines()}
    for stack, pins, prefix in (('onedl', onedl, 'onedl-'), ('mmlab', mmlab, '')):
        cells = [cell.split(', ')[0].strip() for cell in rows[f'STACK={stack}'].split('|')[3:7]]
        words = prefix.replace('-', ' ')
        assert cells == [torch, *(f'{words}{pins[f"{prefix}{part}"]}' for part in parts)]


@pytest.mark.parametrize('name', ['README.md', 'docs/installing.md'])
def test_the_stacks_are_installed_with_what_exists(name):
    """The command that compiles mmcv is that of `check`, where nothing is installed yet."""
    lines = [line.split('  #')[0] for line in shell_lines(ROOT / name)]
    compiled = check._reinstall('mmlab', 'mmcv').replace(' --force-reinstall --no-deps', '')
    assert compiled in lines and lines.index(compiled) > lines.index('pip install torch')
    assert lines.index("pip install -e '.[mmlab,logs]'") == lines.index(compiled) + 1
    extras = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project'][
        'optional-dependencies'
    ]
    wanted = {each for line in lines for each in re.findall(r'\.\[([\w,]+)\]', line)}
    assert wanted == {'onedl,logs', 'mmlab,logs'}
    assert {part for each in wanted for part in each.split(',')} <= set(extras)
    assert extras['logs'] == ['seaborn', 'tensorboard'] and set(extras['logs']) <= set(
        pins_of(STACK)
    )


def test_mmsegmentations_own_tools_are_where_the_pages_say():
    (command,) = [
        line for line in shell_lines(ROOT / 'docs/installing.md') if line.startswith('python -c')
    ]
    folder = Path(run(sys.executable, *shlex.split(command)[1:]).strip())
    assert (folder / 'analysis_tools/analyze_logs.py').is_file()
    said = re.search(
        r'own tools are in its package, in `([\w/.]+)`', (ROOT / 'README.md').read_text()
    )
    assert folder.as_posix().endswith(f'/{said[1]}')


def test_every_page_can_be_reached():
    linked = {
        (path.parent / target.partition('#')[0]).resolve()
        for path in PAGES
        for target in re.findall(r'\]\(([^)\s]+)\)', path.read_text())
    }
    assert not [path.name for path in ROOT.glob('docs/*.md') if path.resolve() not in linked]


def test_the_layout_has_every_part_of_the_package():
    page = (ROOT / 'docs/layout.md').read_text()
    named = re.findall(r'`([\w./-]+)`', ''.join(re.findall(r'^\| `.*?\|', page, re.MULTILINE)))
    package = ROOT / 'mmseg_boundary'
    assert all((package / name).exists() or (ROOT / name).exists() for name in named)
    parts = {path.name for path in package.iterdir() if path.suffix == '.py' or path.is_dir()}
    listed = {name.strip('/') for name in named}
    assert {part for part in parts if not part.startswith(('__', '.'))} <= listed


def test_the_readmes_figure_shows_what_it_says():
    """The two predictions are alike in mIoU, by its definition, and far apart in the boundary F."""
    drawing = runpy.run_path(str(ROOT / 'docs/pictures.py'))
    label, preds = drawing['alike']()
    (patches, patches_f), (ragged, ragged_f) = (
        drawing['scores_of'](pred, label) for pred in preds.values()
    )
    assert abs(patches - ragged) < 0.5 and patches_f - ragged_f > 5
    for pred, score in zip(preds.values(), (patches, ragged)):
        both = [((pred == k) & (label == k)).sum() for k in range(4)]
        either = [((pred == k) | (label == k)).sum() for k in range(4)]
        assert score == pytest.approx(100 * sum(b / e for b, e in zip(both, either)).item() / 4)
    readme = ' '.join((ROOT / 'README.md').read_text().split())
    assert f'mIoU {patches:.1f} and {ragged:.1f}' in readme
    assert f'boundary F at 3 px {patches_f:.1f} and {ragged_f:.1f}' in readme


def test_mmsegs_hausdorff_loss_gives_what_the_page_says():
    """Beside ours: to it, class 0 everywhere is better than the label itself."""
    page = (ROOT / 'docs/hausdorff.md').read_text()
    rows = [line.strip('| ').split(' | ') for line in rows_of('prediction', page).splitlines()]
    classes = {'the label itself': LABELS % 3, 'class 0 everywhere': 0 * LABELS}
    logits = {name: 40.0 * one_hot(each, 3).movedim(3, 1) for name, each in classes.items()}
    register_all_modules()
    ours, theirs = (
        MODELS.build(dict(type=name)) for name in ('HausdorffDTLoss', 'HuasdorffDisstanceLoss')
    )
    for name, *written in rows:
        given = {'the example': LOGITS, **logits}.pop(name)
        found = [loss(given.double(), LABELS).item() for loss in (ours, theirs)]
        assert [float(cell) for cell in written] == pytest.approx(found, abs=1e-6), name
    assert len(rows) == 3


def test_the_two_trimaps_differ_as_is_said():
    label = ringed()
    pred = label.roll(4, 1) % 255
    band, deeplab = (
        100 * metrics.trimap_iou(pred, label, 3, (1,), void_is_boundary=void, mode=mode).mean.item()
        for void, mode in ((True, 'band'), (False, 'deeplab'))
    )
    page = ' '.join((ROOT / 'docs/metrics.md').read_text().split())
    said = f'they are {band:.2f} (with `void_is_boundary=True`) and {deeplab:.2f} at 1 px'
    assert said in page


def test_every_loss_has_its_costs():
    """The page that `tools/benchmark.py` writes has each in time and in memory."""
    page = (ROOT / 'docs/performance.md').read_text()
    kind = r'(cross-entropy|\w+Loss|\w+, cross-entropy)'
    rows = re.findall(rf'^\| {kind} \| [\d.]+ (?:ms|s|MiB) ', page, re.MULTILINE)
    tables = tables_of_arguments()
    expected = {'cross-entropy', *(set(tables) & set(LOSSES))}
    expected |= {f'{name}, cross-entropy' for name in set(tables) & set(WRAPPERS)}
    assert set(rows) == expected and len(rows) == 2 * len(expected)


def rows_of(table, text):
    """The rows of the README's table whose first column has this heading."""
    (found,) = re.findall(rf'^\| {table} \|.*\n\|[-|]+\n((?:\|.*\n)+)', text, re.MULTILINE)
    return found


def test_every_loss_and_metric_is_in_the_readme():
    text = (ROOT / 'README.md').read_text()
    losses, metrics = rows_of('loss', text), rows_of('metric', text)
    assert [name for name in LOSS_ROWS if f'`{name}`' not in losses] == []
    keys = {f'`m{name.split(",")[0]}_3px`' for name in METRIC_ROWS}
    assert [key for key in keys if key not in metrics] == []


def test_a_loss_is_added_as_described(tmp_path):
    """The battery passes in a copy with the page's blocks where their first lines say."""
    out = run_in(
        copy_with(tmp_path, ADDING),
        *('tests/registered/test_battery.py', 'tests/configs/test_configs.py'),
        *('tests/losses/test_reduction.py', 'tests/test_architecture.py', 'tests/test_mutants.py'),
        'tests/test_docs.py',
        *(
            '-k',
            'AbsoluteErrorLoss or mae or listed or absolute or file_of or mutants or every_loss',
        ),
    )
    assert int(re.search(r'(\d+) passed', out)[1]) >= 30, out


def test_a_metric_is_added_as_described(tmp_path):
    """As for a loss; and BoundaryMetric has the keys."""
    copy = copy_with(tmp_path, ADDING_METRIC)
    tests = copy / 'tests/registered/test_metrics.py'
    tests.write_text(f"""{tests.read_text()}

def test_added():
    keys = {{f'mBoundaryRecall_{{width}}px' for width in WIDTHS}}
    scores = evaluate(build(boundary_metrics=['BoundaryRecall']))
    assert set(scores) == keys | {{'aAcc', 'mIoU', 'mAcc'}}
    assert all(50 < scores[key] < 100 for key in keys)
    assert EarlyStoppingHook(monitor='mBoundaryRecall_3px').rule == 'greater'
    assert not keys & set(evaluate(build()))
""")
    out = run_in(
        copy,
        *('tests/metrics', 'tests/registered/test_metrics.py', 'tests/test_architecture.py'),
        *('tests/test_mutants.py', 'tests/test_docs.py'),
        *(
            '-k',
            'BoundaryRecall or listed or test_added or recall or file_of or mutants or every_loss',
        ),
    )
    assert int(re.search(r'(\d+) passed', out)[1]) >= 30, out


@pytest.mark.slow
def test_the_suite_holds_with_what_the_pages_add(tmp_path):
    """All of `make test` but the tests of these pages, whose blocks the copy has already."""
    added = [
        f'--deselect=tests/test_docs.py::test_a_{what}_is_added' for what in ('loss', 'metric')
    ]
    copy = copy_with(tmp_path, ADDING, ADDING_METRIC)
    out = run_in(copy, '-n2', '--dist=loadfile', *added, TORCHDYNAMO_DISABLE='0')
    assert int(re.search(r'(\d+) passed', out)[1]) >= 1500, out


@pytest.mark.slow
def test_the_mutants_of_the_pages_are_detected(tmp_path):
    copy = copy_with(tmp_path, ADDING, ADDING_METRIC)
    files = ('losses/absolute_error.py', 'metrics/boundary_recall.py')
    out = run(sys.executable, 'tests/mutate.py', *files, cwd=copy, PYTHONPATH=str(copy))
    assert '6 mutants, 0 that no test sees' in out, out


def copy_with(tmp_path, *pages):
    """A copy of the repository with the blocks of the pages where their first lines say."""
    copy = tmp_path / 'copy'
    shutil.copytree(ROOT, copy, ignore=generated)
    for page in pages:
        for _, block in unindented(page):
            put(block, copy)
    return copy


def generated(folder, names):
    """What is not of the repository: environments, caches, results."""
    kept = {'.ci', '.github', '.gitignore', '.pre-commit-config.yaml'}
    made = {'__pycache__', 'work_dirs', 'build'}
    return [
        name
        for name in names
        if (name.startswith('.') and name not in kept) or name in made or name.endswith('.egg-info')
    ]


def put(block, copy):
    """`# FILE` is a new file, `# in FILE` is appended, `# in FILE, TABLE` goes below its head."""
    place, code = block.split('\n', 1)
    assert place.startswith('# '), place
    path, _, table = place.removeprefix('# in ').removeprefix('# ').partition(', ')
    file = copy / path
    if table:
        head = rf'^\| {table} \|.*\n\|[-|]+\n' if file.suffix == '.md' else rf'^{table} = [\[{{]\n'
        text, found = re.subn(head, lambda found: found[0] + code, file.read_text(), flags=re.M)
        assert found == 1, place
        file.write_text(text)
    elif place.startswith('# in '):
        file.write_text(f'{file.read_text()}\n\n{code}')
    else:
        assert not file.exists(), place
        file.write_text(code)


def run_in(copy, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *arguments],
        cwd=copy,
        env=environment_for(PYTHONPATH=str(copy), **environment),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def unindented(path):
    """(language, code) of every fenced block that is not indented."""
    return re.findall(r'^```(\w*)\n(.*?)^```', path.read_text(), re.MULTILINE | re.DOTALL)

"""The shell scripts: what Python and srun get, which stand-ins on the PATH print here."""

import subprocess
import sys

import pytest

from tests.support.commands import ROOT, attempt, environment_for

# {script: its arguments up to those of the tool}
SCRIPTS = {
    'dist_train': ['a config.py', '2'],
    'dist_test': ['a config.py', 'a.pth', '2'],
    'slurm_train': ['part', 'job', 'a config.py'],
    'slurm_test': ['part', 'job', 'a config.py', 'a.pth'],
}
SLURM = [name for name in SCRIPTS if name.startswith('slurm')]
DIST = [name for name in SCRIPTS if name.startswith('dist')]


@pytest.fixture
def launched(tmp_path):
    """A function that runs a script: (status, what it said, the launcher's PYTHONPATH and
    arguments, None where none was started)."""
    printed = tmp_path / 'printed'
    for launcher in ('bin/python', 'bin/srun', 'my own/python3.11'):
        path = tmp_path / launcher
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\nprintf "%s\\0" "${{PYTHONPATH-unset}}" "$@" > {printed}\n')
        path.chmod(0o755)

    def launch(name, *arguments, options=('-u',), **environment):
        printed.unlink(missing_ok=True)
        given = environment_for(**environment)
        given['PATH'] = f'{tmp_path}/bin:{given["PATH"]}'
        for key in [key for key in given if given[key] is None]:
            del given[key]
        done = subprocess.run(
            ['bash', *options, ROOT / f'tools/{name}.sh', *arguments],
            cwd=tmp_path,
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        words = printed.read_text().split('\0')[:-1] if printed.exists() else [None]
        return done.returncode, done.stdout, words[0], words[1:]

    return launch


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT'):
        monkeypatch.delenv(name, raising=False)
    for name in ('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS', 'PYTHONPATH'):
        monkeypatch.delenv(name, raising=False)
    for name in ('GRES', 'PYTHON'):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize('name', SCRIPTS)
@pytest.mark.parametrize('options', [(), ('-u',)], ids=['bash', 'bash -u'])
def test_the_current_folder_is_not_on_pythons_path(name, options, launched):
    """As an empty entry would have it, before the standard library: a `random.py` there runs."""
    here = f'{ROOT}/tools/..'
    for given, expected in ((None, here), ('', here), ('/a:/b', f'{here}:/a:/b')):
        status, said, path, words = launched(
            name, *SCRIPTS[name], '--x', 'y z', options=options, PYTHONPATH=given
        )
        assert (status, said, path) == (0, '', expected)
        tool = f'{ROOT}/tools/{name.split("_")[1]}.py'
        launcher = 'slurm' if name in SLURM else 'pytorch'
        assert words[words.index(tool) :][-4:] == ['--launcher', launcher, '--x', 'y z']
        assert words[words.index(tool) + 1] == 'a config.py'


@pytest.mark.parametrize('name', SLURM)
def test_the_arguments_of_srun(name, launched, tmp_path):
    """Split into words, as before, and not taken for patterns of files in the current folder."""
    (tmp_path / '--comment=x').touch()
    plain = launched(name, *SCRIPTS[name])[3]
    words = launched(name, *SCRIPTS[name], SRUN_ARGS=' --comment=*\n-w  node[1-2] ')[3]
    place = words.index('--comment=*')
    assert words[place : place + 3] == ['--comment=*', '-w', 'node[1-2]']
    assert words[:place] + words[place + 3 :] == plain
    assert '' not in plain and '--gres=gpu:4' in plain and '--ntasks=4' in plain
    words = launched(name, *SCRIPTS[name], GPUS='2', GPUS_PER_NODE='1')[3]
    assert {'--ntasks=2', '--gres=gpu:1', '--ntasks-per-node=1'} <= set(words)


@pytest.mark.parametrize('name', SLURM)
def test_a_cluster_without_a_gpu_and_another_interpreter(name, launched):
    plain = launched(name, *SCRIPTS[name])[3]
    assert '--gres=gpu:4' in plain and plain[plain.index('-u') - 1] == 'python'
    words = launched(name, *SCRIPTS[name], GRES='', PYTHON='/my own/python')[3]
    expected = [word for word in plain if word != '--gres=gpu:4']
    expected[expected.index('python')] = '/my own/python'
    assert words == expected
    assert '--gres=gpu:a100:2' in launched(name, *SCRIPTS[name], GRES='gpu:a100:2')[3]


@pytest.mark.parametrize('name', SCRIPTS)
@pytest.mark.parametrize('options', [(), ('-u',)], ids=['bash', 'bash -u'])
def test_too_few_arguments(name, options, launched):
    """Nothing is started, and the usage is said."""
    needed = SCRIPTS[name]
    for arguments in (needed[:count] for count in range(len(needed))):
        status, said, path, words = launched(name, *arguments, options=options)
        assert status != 0 and f'bash tools/{name}.sh ' in said and path is None, said


@pytest.mark.parametrize('name', DIST)
def test_another_interpreter(name, launched, tmp_path):
    """Alone: nothing of that name is on the PATH."""
    plain = launched(name, *SCRIPTS[name])
    (tmp_path / 'bin/python').write_text('#!/bin/sh\nexit 3\n')
    assert launched(name, *SCRIPTS[name])[0] == 3
    assert launched(name, *SCRIPTS[name], PYTHON=f'{tmp_path}/my own/python3.11') == plain


def test_torchrun_is_that_of_the_interpreter(tmp_path):
    """Without a look into the current folder, where a module may have a name of Python's."""
    (tmp_path / 'random.py').write_text('raise SystemExit("of the current folder")')
    done = attempt(
        'bash',
        ROOT / 'tools/dist_train.sh',
        'config.py',
        'two',
        cwd=tmp_path,
        PYTHON=sys.executable,
    )
    assert done.returncode != 0 and 'Unsupported nproc_per_node value: two' in done.stdout

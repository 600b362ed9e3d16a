"""What make refuses before it does anything; with -n it does nothing."""

import os
import shutil
import subprocess

import pytest

from tests.support.skips import ROOT


def make(*arguments, cwd=ROOT):
    # `make test` hands its arguments on to every make below it, which then also prints its folder.
    handed_on = ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'STACK')
    environment = {k: v for k, v in os.environ.items() if k not in handed_on}
    return subprocess.run(
        ['make', '-n', *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize('stack', ['onedl', 'mmlab'])
def test_a_stack(stack):
    done = make('test', f'STACK={stack}')
    assert done.returncode == 0 and f'.venv/{stack}/bin/python -m pytest' in done.stdout


@pytest.mark.parametrize('stack', ['', 'docs', '../.ci/onedl', 'onedl mmlab', 'onedl/', 'other'])
def test_what_is_no_stack(stack):
    """Also where a file of that name is in .ci."""
    done = make('test', f'STACK={stack}')
    said = f"STACK is '{stack}'; choose onedl (default) or mmlab."
    assert done.returncode == 2 and said in done.stderr and not done.stdout


def test_in_another_folder_the_command_is_named(tmp_path):
    done = make('-f', ROOT / 'Makefile', 'quick', cwd=tmp_path)
    said = f'works in its own folder, not in {tmp_path}; call make -C {ROOT} quick.'
    assert done.returncode == 2 and said in done.stderr and not done.stdout
    assert make('-C', ROOT, 'quick', cwd=tmp_path).returncode == 0


def test_a_folder_with_a_space_and_a_link_to_it(tmp_path):
    shutil.copytree(ROOT / '.ci', tmp_path / 'a clone/.ci')
    shutil.copy(ROOT / 'Makefile', tmp_path / 'a clone')
    (tmp_path / 'link').symlink_to(tmp_path / 'a clone')
    for name in ('a clone', 'link'):
        assert make('clean', cwd=tmp_path / name).returncode == 0
        assert make('-C', tmp_path / name, 'clean').returncode == 0

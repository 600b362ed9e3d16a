"""All of `make mutants`, and what it does when the tests or the mutants are wrong."""

import subprocess
import sys

import pytest

from tests import mutate
from tests.mutate import MUTANTS, TESTS, Mutant
from tests.support.commands import ROOT, run

PACKAGE = ROOT / 'mmseg_boundary'
PURE = ('geometry', 'losses', 'metrics')
WITHOUT_FORMULAS = {'__init__.py', 'compiled.py', 'modules.py'}


def test_every_file_of_the_pure_packages_has_mutants():
    """And so has every other module with a formula."""
    registered = ('loss_wrapper', 'neighbour_penalised', 'visualization')
    drawing = {'drawing/potential.py', 'drawing/predictions.py'}
    others = {f'registered/{name}.py' for name in registered} | {'study/statistics.py'} | drawing
    files = {'choices.py', 'labels.py', 'requirements.py', *others} | {
        str(path.relative_to(PACKAGE))
        for package in PURE
        for path in (PACKAGE / package).rglob('*.py')
        if path.name not in WITHOUT_FORMULAS
    }
    assert set(MUTANTS) == set(TESTS) == files
    assert sum(len(changes) for changes in MUTANTS.values()) >= 50


def test_every_mutant_fits():
    for file, changes in MUTANTS.items():
        for change in changes:
            assert mutate.occurrences(Mutant(file, *change)) == 1, change


def test_a_mutant_that_does_not_fit_is_an_error(monkeypatch):
    stale = Mutant('labels.py', 'a text that is nowhere', '')
    with pytest.raises(SystemExit, match=r'once:\n    labels.py: .*found 0 times'):
        mutate.survivors_of([stale])


@pytest.mark.slow
def test_a_mutant_that_changes_nothing_survives():
    script = """
from tests import mutate
same = mutate.Mutant('geometry/distance.py', 'cv2.DIST_C,', 'cv2.DIST_C ,')
other = mutate.Mutant('geometry/distance.py', 'cv2.DIST_C', 'cv2.DIST_L2')
assert mutate.survivors_of([other, same]) == [same]
"""
    run(sys.executable, '-c', script, PYTHONPATH=str(ROOT / 'tests'))


@pytest.mark.slow
def test_no_mutant_survives():
    # It takes some minutes, longer than `commands.run` waits.
    done = subprocess.run(
        [sys.executable, ROOT / 'tests/mutate.py'], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr

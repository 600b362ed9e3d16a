"""Which stack is installed, and the errors if it is none, both or too old."""

import importlib
import importlib.util

import pytest

from mmseg_boundary import stacks

ORIGINALS = {'mmengine', 'mmcv', 'mmsegmentation'}
CONTINUED = {f'onedl-{name}' for name in ORIGINALS}


@pytest.mark.parametrize(
    'distributions, stack',
    [(CONTINUED, 'onedl'), (ORIGINALS, 'mmlab'), (set(), 'mmlab')],
    ids=['onedl', 'mmlab', 'checkouts'],
)
def test_one_stack_has_a_name(monkeypatch, distributions, stack):
    monkeypatch.setattr(stacks, '_is_distribution', distributions.__contains__)
    assert stacks.installed_stack() == stack


@pytest.mark.parametrize('extra', sorted(ORIGINALS))
def test_both_stacks_are_refused_with_the_command_that_fixes_it(monkeypatch, extra):
    """Also where a single original is installed, as by `pip install mmengine`."""
    monkeypatch.setattr(stacks, '_is_distribution', (CONTINUED | {extra}).__contains__)
    with pytest.raises(RuntimeError, match=f'pip uninstall -y onedl-mmengine .* {extra} && pip'):
        stacks.installed_stack()


def test_no_stack_is_refused_with_the_command_that_fixes_it(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(RuntimeError, match=r"mmseg cannot be.*pip install -e '.\[onedl\]'"):
        stacks.installed_stack()


@pytest.mark.parametrize('module, name', stacks.MODULES.items())
@pytest.mark.parametrize('distributions, prefix', [(CONTINUED, 'onedl-'), (ORIGINALS, '')])
def test_too_old_a_part_is_refused(monkeypatch, module, name, distributions, prefix):
    """The remedy has the name of the distribution: `mmseg` on the index is something else."""
    monkeypatch.setattr(stacks, '_is_distribution', distributions.__contains__)
    monkeypatch.setattr(importlib.import_module(module), '__version__', '0.0.1')
    minimum = stacks.MINIMUM_VERSIONS[module]
    with pytest.raises(RuntimeError, match=f"-U '{prefix}{name}>={minimum}'"):
        stacks.installed_stack()

"""Which stack is installed, and what is said where it is none, both or too old a one."""

import importlib.util

import mmengine
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
def test_both_stacks_are_refused_with_the_command_that_mends_it(monkeypatch, extra):
    """Also where one of the originals slipped in, as with `pip install mmengine`."""
    monkeypatch.setattr(stacks, '_is_distribution', (CONTINUED | {extra}).__contains__)
    with pytest.raises(RuntimeError, match=f'pip uninstall -y onedl-mmengine .* {extra} && pip'):
        stacks.installed_stack()


def test_no_stack_is_refused_with_the_command_that_mends_it(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(RuntimeError, match=r'mmseg cannot be.*mmseg-boundary\[onedl\]'):
        stacks.installed_stack()


def test_too_old_a_part_is_refused(monkeypatch):
    monkeypatch.setattr(mmengine, '__version__', '0.7.4')
    with pytest.raises(RuntimeError, match='needs mmengine 0.10.4 or newer, but 0.7.4'):
        stacks.installed_stack()

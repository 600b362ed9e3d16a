"""Which stack is installed, and the errors if it is none, both or too old."""

import importlib
import importlib.util

import pytest
import torch

from mmseg_boundary import stacks
from mmseg_boundary.requirements import UnfitInstallation

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


@pytest.mark.parametrize('is_clone', [True, False], ids=['clone', 'wheel'])
def test_a_wheel_has_no_folder_that_a_command_could_name(is_clone, monkeypatch):
    monkeypatch.setattr(stacks, '_is_clone', lambda: is_clone)
    commands, said = [], []
    for hidden in ('find_spec', '_is_distribution'):
        with monkeypatch.context() as patch, pytest.raises(UnfitInstallation) as caught:
            place = importlib.util if hidden == 'find_spec' else stacks
            patch.setattr(place, hidden, lambda name: None if hidden == 'find_spec' else True)
            stacks.installed_stack()
        commands.append(caught.value.command.rpartition(' && ')[2])
        said.append(str(caught.value))
    if is_clone:
        expected = "pip install -e '.[onedl]'"
    else:
        expected = 'pip install onedl-mmengine onedl-mmcv onedl-mmsegmentation'
    assert commands == [expected] * 2
    assert all(('folder' in each) is is_clone and ('.[' in each) is is_clone for each in said)


def test_too_old_a_torch_is_refused(monkeypatch):
    monkeypatch.setattr(torch, '__version__', '1.13.1')
    with pytest.raises(UnfitInstallation, match='torch 2.1 or newer, but 1.13.1 is installed'):
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

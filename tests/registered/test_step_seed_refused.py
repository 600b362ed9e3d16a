"""StepSeed on either stack."""

import pytest
from mmseg.registry import HOOKS

from mmseg_boundary.registered import StepSeed, step_seed


def test_it_is_refused_where_the_sampler_cannot_skip(monkeypatch):
    monkeypatch.setattr(step_seed.stacks, 'STACK', 'mmlab')
    with pytest.raises(ValueError, match='StepSeed needs the onedl stack, .* this is mmlab'):
        HOOKS.build(dict(type='StepSeed'))
    monkeypatch.setattr(step_seed.stacks, 'STACK', 'onedl')
    assert isinstance(HOOKS.build(dict(type='StepSeed')), StepSeed)

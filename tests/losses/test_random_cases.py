"""Whatever a head can give: finite values and gradients, nothing from void, nothing left to chance.

`test_losses_bear_random_cases` is part of `make test`, the thousands of `make test-slow`.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_boundary import losses
from tests.support.losses import LOSSES, value_and_gradient
from tests.support.scenes import wild_scenes


def built(name, options, sigmoid, weighted, num_logits):
    """The loss; if `weighted`, and weights have a meaning, the first of several classes, perhaps
    the only present, has none."""
    row = LOSSES[name]
    arguments = row.on_small_images | options
    if weighted and 'class_weight' in row.arguments and not set(options) & set(row.unweighted):
        weights = [0.0] * (num_logits > 1) + [1.5] * (num_logits - (num_logits > 1))
        arguments['class_weight'] = weights
    return getattr(losses, name)(**arguments, use_sigmoid=sigmoid)


def bears(loss, scene):
    logits, labels = scene.logits, scene.labels
    before = logits.clone(), labels.clone()
    value, grad = value_and_gradient(loss, logits, labels)
    assert value.dtype == torch.promote_types(logits.dtype, torch.float32) and value.dim() == 0
    assert value.isfinite(), value
    assert grad.dtype == logits.dtype and grad.isfinite().all()
    assert grad.masked_select(labels.unsqueeze(1) == scene.void).eq(0).all()
    # Computed anew: targets are cached for the tensor of labels alone.
    again = value_and_gradient(loss, logits, labels.clone())
    assert again[0].equal(value) and again[1].equal(grad)
    assert logits.equal(before[0]) and labels.equal(before[1])


def cases_of(name):
    """(options, sigmoid, weighted, scene)"""
    options = st.sampled_from([{}, *LOSSES[name].options])
    return st.tuples(options, st.booleans(), st.booleans(), wild_scenes())


@pytest.mark.parametrize('name', LOSSES)
def test_losses_bear_random_cases(name):
    @given(cases_of(name))
    def holds(case):
        *how, scene = case
        bears(built(name, *how, scene.logits.shape[1]), scene)

    holds()


@pytest.mark.slow
@pytest.mark.parametrize('name', LOSSES)
def test_losses_bear_ten_thousand_random_cases(name):
    tried = []

    @settings.get_profile('thorough')
    @given(cases_of(name))
    def holds(case):
        *how, scene = case
        bears(built(name, *how, scene.logits.shape[1]), scene)
        tried.append(scene.kind)

    holds()
    assert len(tried) >= 10_000

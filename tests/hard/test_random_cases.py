"""Whatever a head can give: finite values and gradients, nothing from void, nothing left to chance.

`test_losses_bear_random_cases` is part of `make test`, the thousands of `make test-slow`.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_boundary import losses
from tests.support.scenes import wild_scenes

# Of each loss the arguments that take another path through it; the first is the default.
LINES = [
    dict(),
    dict(mu=2, edc='squared', padding='replicate'),
    dict(variant='authors', mu=2),
    dict(kernel_size=3, splitter='C', mu=20),
    dict(kernel_size=11, splitter='SC'),
]
OVERLAPS = [dict(), dict(smooth=0), dict(per_image=False), dict(per_class=False, per_image=False)]
OPTIONS = {
    'EPLPointLoss': [
        dict(),
        dict(norm='l1', splitter='B', padding='constant'),
        dict(norm='pixel', kernel_size=3, splitter='C'),
        dict(splitter='SC', sc_scale='literal'),
    ],
    'EPLLineLoss': LINES,
    'EPLLoss': [dict(), dict(kernel_size=(11, 3), norm='pixel', mu=2)],
    'KervadecBoundaryLoss': [dict(), dict(normalize='diag'), dict(normalize='max')],
    'DistanceTransformLoss': [
        dict(),
        dict(metric='chessboard', per_image=False),
        dict(metric='taxicab', class_reduction='sum'),
    ],
    'BF1Loss': [dict(), dict(theta0=5, theta=1, per_image=False)],
    'SoftDiceLoss': OVERLAPS,
    'JaccardLoss': OVERLAPS,
    'SoftmaxFocalLoss': [dict(), dict(gamma=0), dict(gamma=0.5)],
    'BoundaryWeightedCELoss': [dict(), dict(radius=1, boundary_weight=5)],
}
# `smooth=0` with one class weight of 0, say: where class weights have a meaning they are tried too.
UNWEIGHTED = ('variant', 'per_class', 'class_reduction')


def test_every_loss_is_listed():
    modules = {name for name in losses.__all__ if isinstance(getattr(losses, name), type)}
    assert set(OPTIONS) == modules


def built(name, options, sigmoid, weighted, fields):
    """The loss; if `weighted` the first of several classes, perhaps the only present, has none."""
    class_weight = None
    if weighted and not set(options) & set(UNWEIGHTED):
        class_weight = [0.0] * (fields > 1) + [1.5] * (fields - (fields > 1))
    return getattr(losses, name)(**options, use_sigmoid=sigmoid, class_weight=class_weight)


def value_and_gradient(loss, logits, labels):
    leaf = logits.detach().requires_grad_()  # keeps its strides
    value = loss(leaf, labels)
    value.backward()
    return value.detach(), leaf.grad


def bears(loss, scene):
    logits, labels = scene.logits, scene.labels
    before = logits.clone(), labels.clone()
    value, grad = value_and_gradient(loss, logits, labels)
    assert value.dtype == torch.promote_types(logits.dtype, torch.float32) and value.dim() == 0
    assert value.isfinite(), value
    assert grad.dtype == logits.dtype and grad.isfinite().all()
    assert grad.masked_select(labels.unsqueeze(1) == scene.void).eq(0).all()
    # Measured anew: what a loss knows of labels, it knows of this tensor.
    again = value_and_gradient(loss, logits, labels.clone())
    assert again[0].equal(value) and again[1].equal(grad)
    assert logits.equal(before[0]) and labels.equal(before[1])


def cases_of(name):
    """(options, sigmoid, weighted, scene)"""
    return st.tuples(st.sampled_from(OPTIONS[name]), st.booleans(), st.booleans(), wild_scenes())


@pytest.mark.parametrize('name', OPTIONS)
def test_losses_bear_random_cases(name):
    @given(cases_of(name))
    def holds(case):
        *how, scene = case
        bears(built(name, *how, scene.logits.shape[1]), scene)

    holds()


@pytest.mark.slow
@pytest.mark.parametrize('name', OPTIONS)
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

"""Gradients written by hand are right once, and refused where they are differentiated again."""

import ast
import inspect

import pytest
import torch
import torch.nn.functional as F

from mmseg_boundary import losses
from mmseg_boundary.losses import bf1
from mmseg_boundary.losses.epl import line, point
from tests.support.scenes import scene

HAND_WRITTEN = [
    ('EPLPointLoss', dict(), 'epl_point_loss'),
    ('EPLPointLoss', dict(norm='l1'), 'epl_point_loss'),
    ('EPLPointLoss', dict(norm='pixel'), 'epl_point_loss'),
    ('EPLLineLoss', dict(mu=2), 'epl_line_loss'),
    ('EPLLineLoss', dict(mu=2, edc='squared'), 'epl_line_loss'),
    ('EPLLineLoss', dict(mu=2, variant='authors'), 'epl_line_loss'),
    ('EPLLoss', dict(), 'epl_(point|line)_loss'),
    ('BF1Loss', dict(), 'bf1_loss'),
    ('BF1Loss', dict(per_image=False), 'bf1_loss'),
]
ROUTES = {
    'backward': lambda penalty, logits: penalty.backward(),
    'grad': lambda penalty, logits: torch.autograd.grad(penalty, logits),
}
cases = pytest.mark.parametrize('name, options, refuses', HAND_WRITTEN)


def built(name, options, beside):
    """The loss as a function of the logits, and the logits; `beside` a cross-entropy."""
    case, loss = scene(3, (2, 12, 13)), getattr(losses, name)(**options)

    def value(logits):
        ours = loss(logits, case.labels, ignore_index=case.void)
        return ours + F.cross_entropy(logits, case.labels, ignore_index=255) if beside else ours

    return value, case.logits.requires_grad_()


@cases
@pytest.mark.parametrize('beside', [False, True])
@pytest.mark.parametrize('route', ROUTES)
def test_a_gradient_penalty_is_refused(name, options, refuses, beside, route):
    value, logits = built(name, options, beside)
    (gradient,) = torch.autograd.grad(value(logits), logits, create_graph=True)
    with pytest.raises(RuntimeError, match=f'gradient of {refuses} was .*once_differentiable'):
        ROUTES[route](gradient.square().sum(), logits)


@cases
@pytest.mark.filterwarnings('ignore:Using backward')
def test_the_gradient_itself_is_the_same(name, options, refuses):
    value, logits = built(name, options, beside=True)
    (once,) = torch.autograd.grad(value(logits), logits)
    (gradient,) = torch.autograd.grad(value(logits), logits, create_graph=True)
    assert gradient.equal(once) and gradient.requires_grad
    value(logits).backward(create_graph=True)
    assert logits.grad.equal(once)
    logits.grad = None  # a cycle of logits, gradient and graph


@cases
def test_a_penalty_by_a_learned_weight_is_refused(name, options, refuses):
    """Its path leads through the incoming gradients alone."""
    value, logits = built(name, options, beside=False)
    weight = torch.ones((), dtype=logits.dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(weight * value(logits), logits, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        torch.autograd.grad(gradient.square().sum(), weight)


def test_the_penalty_of_another_term_is_not_in_the_way():
    value, logits = built('EPLLoss', dict(), beside=False)
    (gradient,) = torch.autograd.grad(logits.softmax(1).log().mean(), logits, create_graph=True)
    (value(logits) + gradient.square().sum()).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('module', [line, point, bf1])
def test_no_hand_written_gradient_is_forgotten(module):
    functions = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.FunctionDef) and node.name == 'backward'
    ]
    assert functions
    for function in functions:
        (call,) = [each for each in function.decorator_list if isinstance(each, ast.Call)]
        assert call.func.id == 'once_differentiable'

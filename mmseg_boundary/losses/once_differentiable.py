"""Gradients written by hand, which have no derivatives of their own."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def once_differentiable(loss: str) -> Callable:
    """Decorates the `backward` of an autograd.Function that saves its one differentiable input
    first: the gradient is right, and to differentiate it again is a RuntimeError that names `loss`.

    torch's decorator of that name refuses only if the incoming gradients have a graph, and not
    where `torch.autograd.grad` is asked for the gradient of given tensors: what is missing from a
    gradient penalty is then left out in silence.
    """

    def decorate(backward: Callable) -> Callable:
        @functools.wraps(backward)
        def refusing(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
            with torch.no_grad():
                gradient, *others = backward(ctx, *grads)
            if torch.is_grad_enabled():  # under `create_graph=True` alone
                gradient = _Refusal.apply(gradient, loss, ctx.saved_tensors[0], *grads)
            return gradient, *others

        return refusing

    return decorate


class _Refusal(torch.autograd.Function):
    """The gradient, with a node between it and all that it was made of."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, loss: str, *sources: Tensor | None) -> Tensor:
        ctx.loss = loss
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> None:
        raise RuntimeError(
            f'The gradient of {ctx.loss} was differentiated, but the loss is once_differentiable; '
            'leave it out of what a gradient penalty or a Hessian is made of.'
        )

r"""Losses over a large vocabulary: logits are made for some tokens at a time and never kept.

The logits of ``B`` samples of ``T`` tokens over ``V`` words, their exponentials and their residuals
are ``3 B T V`` numbers. Where the layer above the states is frozen, its loss and the gradient at
the states need only those of a chunk:

.. math:: \frac{\partial \ell_t}{\partial h_t} = W^\top (p_t - e_{y_t})
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LOGITS = 1 << 23
"""Logits at a time: 32 MB of float32."""


def token_losses(h: Tensor, weight: Tensor, bias: Tensor | None, y: Tensor) -> Tensor:
    r"""Computes :math:`-\log p_t(y_t)` with :math:`p_t = \mathrm{softmax}(W h_t + b)`.

    Time ``4 n d V``, memory ``n d`` and the logits of a chunk; softmax in ``float32`` or better.

    Args:
        h: States, ``[n, d]``.
        weight: :math:`W`, ``[V, d]``; gets no gradient.
        bias: :math:`b`, ``[V]``, or none; gets no gradient.
        y: Labels ``[n]``.

    Returns:
        ``[n]``, in ``float32`` or better.
    """
    return _TokenLosses.apply(h, weight.detach(), None if bias is None else bias.detach(), y)


class _TokenLosses(torch.autograd.Function):
    """The slopes are computed with the losses: softmax is then evaluated once."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor | None, y: Tensor) -> Tensor:
        wide = h.dtype if h.dtype == torch.float64 else torch.float32
        losses, slopes = h.new_empty(len(h), dtype=wide), torch.empty_like(h)
        step = max(1, _LOGITS // len(weight))
        for i in range(0, len(h), step):
            part, labels = slice(i, i + step), y[i : i + step, None]
            logs = F.linear(h[part], weight, bias).to(wide).log_softmax(1)
            losses[part] = -logs.gather(1, labels).squeeze(1)
            residual = logs.exp_().scatter_add_(1, labels, -torch.ones_like(labels, dtype=wide))
            slopes[part] = residual.to(weight.dtype) @ weight
        ctx.save_for_backward(slopes)
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return slopes * grads[0].unsqueeze(1).to(slopes.dtype), None, None, None


def head_of(model: nn.Module) -> nn.Linear | None:
    """Returns the linear layer that makes logits of states, where the model names one."""
    named = getattr(model, "get_output_embeddings", None)
    head = named() if callable(named) else None
    return head if type(head) is nn.Linear else None


@contextmanager
def reaching(head: nn.Linear) -> Generator[list[Tensor]]:
    """Takes the states that reach ``head`` and spares it the work; the model goes on with them."""
    states: list[Tensor] = []

    def take(input: Tensor) -> Tensor:
        states.append(input)
        return input

    own = head.__dict__.get("forward")
    head.forward = take
    try:
        yield states
    finally:
        del head.forward
        if own is not None:
            head.forward = own

"""Per-sample gradients of any layer: by ``torch.func``, or sample by sample where that fails."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap


def as_matrix(outputs: object, B: int) -> Tensor:
    """Returns a model's outputs as ``[B, C]``; one number a sample is ``C = 1``.

    Raises:
        ValueError: they are no tensor of one or two axes with the batch first.
    """
    if isinstance(outputs, Tensor) and outputs.ndim in (1, 2) and len(outputs) == B:
        return outputs if outputs.ndim == 2 else outputs.unsqueeze(-1)
    seen = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise ValueError(
        f"model must return a tensor [B, C] or [B] for a batch of B={B}, got {seen}; "
        "wrap it in a module that returns its logits"
    )


def vmapped_gradients(
    model: nn.Module, names: Sequence[str], x: Tensor, residual: Tensor
) -> dict[str, Tensor]:
    r"""Computes gradients of :math:`\langle f(x_i), \rho_i\rangle` with all samples at once.

    Args:
        model: In eval mode.
        names: Parameters.
        x: Inputs, batch first.
        residual: :math:`\rho`, ``[B, C]``, see `skmm.gradients.residuals`.

    Returns:
        By parameter, ``[B, *shape]``.
    """
    own = {name: p.detach() for name, p in model.named_parameters()}
    chosen = {name: own[name] for name in names}

    def objective(parameters: dict[str, Tensor], x_i: Tensor, rho_i: Tensor) -> Tensor:
        outputs = functional_call(model, own | parameters, (x_i.unsqueeze(0),))
        return (as_matrix(outputs, 1).squeeze(0) * rho_i).sum()

    return vmap(grad(objective), in_dims=(None, 0, 0))(chosen, x, residual)


def looped_gradients(
    model: nn.Module, names: Sequence[str], x: Tensor, residual: Tensor
) -> dict[str, Tensor]:
    """Computes the same one sample at a time: right for every model, and the slowest."""
    own = dict(model.named_parameters())
    rows = []
    for x_i, rho_i in zip(x, residual, strict=True):
        outputs = as_matrix(model(x_i.unsqueeze(0)), 1)
        rows.append(
            torch.autograd.grad(
                outputs,
                [own[name] for name in names],
                rho_i.unsqueeze(0).to(outputs.dtype),
                allow_unused=True,
                materialize_grads=True,
            )
        )
    return {name: torch.stack([row[k] for row in rows]) for k, name in enumerate(names)}

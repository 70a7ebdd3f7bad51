"""Per-sample gradients of any layer: by ``torch.func``, or sample by sample where that fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_map

from skmm.gradients.batches import part_of
from skmm.gradients.objectives import Objective


def vmapped_gradients(
    model: nn.Module, objective: Objective, names: Sequence[str], x: Any, residual: Tensor
) -> dict[str, Tensor]:
    r"""Computes gradients of :math:`\langle f(x_i), \rho_i\rangle` with all samples at once.

    Args:
        model: In eval mode.
        objective: What f is of the model.
        names: Parameters.
        x: A tensor or a nest of tensors, batch first.
        residual: :math:`\rho`, ``[B, C]``, see `skmm.gradients.residuals`.

    Returns:
        By parameter, ``[B, *shape]``.
    """
    own = {name: p.detach() for name, p in model.named_parameters()}
    chosen = {name: own[name] for name in names}

    def projected(parameters: dict[str, Tensor], x_i: Any, rho_i: Tensor) -> Tensor:
        def call(*args: Any, **kwargs: Any) -> Any:
            return functional_call(model, own | parameters, args, kwargs)

        outputs = objective(call, tree_map(lambda tensor: tensor.unsqueeze(0), x_i))
        return (outputs.squeeze(0) * rho_i).sum()

    return vmap(grad(projected), in_dims=(None, 0, 0))(chosen, x, residual)


def looped_gradients(
    model: nn.Module, objective: Objective, names: Sequence[str], x: Any, residual: Tensor
) -> dict[str, Tensor]:
    """Computes the same one sample at a time: right for every model, and the slowest."""
    own = dict(model.named_parameters())
    rows = []
    for i, rho_i in enumerate(residual):
        outputs = objective(model, part_of(x, slice(i, i + 1)))
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

"""Which way each parameter's gradients are computed, decided on two samples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skmm.gradients.batches import part_of, size
from skmm.gradients.functional import looped_gradients, vmapped_gradients
from skmm.gradients.layers import Recorder, add_gradients, closed_form_layers, residuals_at
from skmm.gradients.objectives import Objective
from skmm.gradients.rows import FormedGradients

_TF32_EPS = 2.0**-10
"""Precision of the format that a GPU's matrix units round ``float32`` factors to."""

_FEW = 4
"""Errors of rounding, in units of the precision, that no difference between two ways is below."""


@dataclass(frozen=True)
class Plan:
    """The way for each parameter, fastest first.

    Attributes:
        layers: Layers with a closed form, and their parameters.
        vmapped: Parameters for ``torch.func``.
        looped: Parameters that need one backward pass a sample.
    """

    layers: dict[nn.Module, dict[str, str]]
    vmapped: list[str]
    looped: list[str]


def make_plan(
    model: nn.Module, objective: Objective, shapes: dict[str, tuple[int, ...]], x: Any
) -> Plan:
    """Chooses, for each parameter, the fastest way that reproduces plain backpropagation.

    A closed form can be wrong without a sign of it: the weight may be used outside its layer (as
    attention does with its output projection), the batch may not come first or be reordered, or the
    input may be overwritten. So each way is tried on two samples, in both orders, and kept where it
    agrees with one backward pass a sample, to the square root of the precision (of a GPU's matrix
    units, where these may be used) or, where a gradient is zero but for rounding (as of the bias of
    attention's keys), to the precision of all of them together. This takes as much memory as
    gradients of two samples.

    Args:
        model: In eval mode, with just these parameters requiring gradients.
        objective: What is differentiated.
        shapes: Parameters and their shapes.
        x: Two inputs, batch first; or one, which is then taken twice.

    Raises:
        ValueError: the outputs do not depend on the parameters, have the wrong shape, or are not
            the same again for the same inputs.
    """
    if size(x) == 1:
        x = part_of(x, np.zeros(2, np.int64))
    outputs = objective(model, x)
    if not outputs.requires_grad:
        raise ValueError(f"model's outputs do not depend on parameters {list(shapes)}")
    dtype = _coarsest(model, outputs)
    if not _Judge(dtype).agree(objective(model, x), outputs):
        raise ValueError(
            "model's outputs must be the same again for the same inputs in eval mode, got others: "
            "use nn.Dropout, or F.dropout(..., training=self.training), and no random numbers else"
        )
    _warn_of_unused(model, shapes, outputs)
    C = outputs.shape[1]
    # One for each sample, or a layer that takes tokens for samples would go unnoticed.
    spread = torch.linspace(-1, 1, 2 * C, dtype=outputs.dtype, device=outputs.device)
    residual = spread.view(2, C)
    truth = looped_gradients(model, objective, list(shapes), x, residual)

    judge = _Judge(dtype, float(torch.stack([_norm(g) for g in truth.values()]).norm()))

    layers = closed_form_layers(model, shapes)
    there = _formed_gradients(model, objective, layers, shapes, x, residual)
    turned = part_of(x, np.array([1, 0]))
    back = _formed_gradients(model, objective, layers, shapes, turned, residual.flip(0))
    closed = {
        name
        for name in there.keys() & back.keys()
        if judge.agree(there[name], truth[name]) and judge.agree(back[name].flip(0), truth[name])
    }
    # A layer's parameters share its calls, but not their fate: weights may be tied, biases not.
    kept = {
        layer: {leaf: name for leaf, name in held.items() if name in closed}
        for layer, held in layers.items()
    }
    rest = [name for name in shapes if name not in closed]
    vmapped = _vmappable(model, objective, rest, x, residual, truth, judge)
    looped = [name for name in rest if name not in vmapped]
    if looped:
        warnings.warn(
            f"torch.func cannot differentiate {', '.join(looped)}: "
            "one backward pass a sample instead",
            stacklevel=3,
        )
    return Plan({layer: held for layer, held in kept.items() if held}, vmapped, looped)


def _formed_gradients(
    model: nn.Module,
    objective: Objective,
    layers: dict[nn.Module, dict[str, str]],
    shapes: dict[str, tuple[int, ...]],
    x: Any,
    residual: Tensor,
) -> dict[str, Tensor]:
    with Recorder(layers, 2) as recorder:
        outputs = objective(model, x)
    calls = recorder.calls
    if not calls:
        return {}
    into = FormedGradients(shapes, dtype=outputs.dtype, device=outputs.device).start(2)
    deltas = residuals_at(calls, outputs, residual, keep=False)
    wrong: set[str] = set()
    for call, delta in zip(calls, deltas, strict=True):
        # The batch must come first at this layer too, or there is no closed form to check.
        if delta is None or not call.covers(2) or len(delta) != 2:
            continue
        held = layers[call.layer]
        try:
            add_gradients(call.layer, held, call.x, delta, into)
        except Exception:  # whatever a layer raises that is not what its parameters look like
            wrong |= set(held.values())
    return {name: block for name, block in into.blocks.items() if name not in wrong}


def _warn_of_unused(model: nn.Module, shapes: dict[str, tuple[int, ...]], outputs: Tensor) -> None:
    own = dict(model.named_parameters())
    chosen = [own[name] for name in shapes]
    found = torch.autograd.grad(outputs.sum(), chosen, allow_unused=True)
    if unused := [name for name, g in zip(shapes, found, strict=True) if g is None]:
        warnings.warn(
            f"the outputs of the first samples do not depend on {', '.join(unused)}: "
            "gradients are zero there; leave out what is never used by parameters=[...]",
            stacklevel=4,
        )


@dataclass(frozen=True)
class _Judge:
    """Whether two ways agree.

    Attributes:
        dtype: The precision in which they were computed.
        total: Norm of all gradients, whose rounding no difference is below.
    """

    dtype: torch.dtype
    total: float = 0.0

    def agree(self, gradients: Tensor, truth: Tensor) -> bool:
        """Whether the difference is small beside the truth, or is rounding of all gradients."""
        if not truth.isfinite().all():
            return True  # nothing to compare with; the rows will be refused, and the sample named
        tolerance = _tolerance(self.dtype, truth.device.type) * _norm(truth)
        rounding = _FEW * torch.finfo(self.dtype).eps * self.total
        return bool(_norm(gradients - truth) <= max(tolerance, tolerance.new_tensor(rounding)))


def _coarsest(model: nn.Module, outputs: Tensor) -> torch.dtype:
    """Returns the least precise type that the model computes in: adapters may be finer than it."""
    used = {p.dtype for p in model.parameters() if p.is_floating_point()} | {outputs.dtype}
    return max(used, key=lambda dtype: torch.finfo(dtype).eps)


def _norm(gradients: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gradients, dtype=torch.float64)


def _tolerance(dtype: torch.dtype, device: str) -> float:
    """Square root of the precision; a wrong way is wrong by far more."""
    eps = torch.finfo(dtype).eps
    if device == "cuda" and dtype == torch.float32:
        eps = _TF32_EPS  # torch's own setting for convolutions; two ways round differently
    return eps**0.5


def _vmappable(
    model: nn.Module,
    objective: Objective,
    names: list[str],
    x: Any,
    residual: Tensor,
    truth: dict[str, Tensor],
    judge: _Judge,
) -> list[str]:
    if not names:
        return []
    try:
        gradients = vmapped_gradients(model, objective, names, x, residual)
    except RuntimeError:
        return []
    return [name for name in names if judge.agree(gradients[name], truth[name])]

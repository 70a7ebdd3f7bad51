r"""Per-sample gradients in closed form, layer by layer.

With the residual :math:`\delta` (the gradient at the layer's output) and the activation ``a`` (its
input), over positions ``p`` of a convolution or tokens of a sequence:

=====================  ==========================================  =========================
layer                  weight                                      bias
=====================  ==========================================  =========================
Linear                 :math:`\sum_p \delta_p a_p^\top`            :math:`\sum_p \delta_p`
Conv2d                 the same, ``a`` unfolded, by group          the same
transposed linear      :math:`\sum_p a_p \delta_p^\top`            the same
Embedding              :math:`\sum_p e_{a_p} \delta_p^\top`        none
BatchNorm, LayerNorm   :math:`\sum_p \delta_p \circ \hat x_p`      the same
RMSNorm                the same                                    none
=====================  ==========================================  =========================

A transposed linear layer, such as GPT-2's, holds its weight as inputs by outputs. Normalisations of
other packages, such as LLaMA's, are known by their parameters: :math:`\hat x` is then what the
layer makes of its input with weight 1, less what it makes with weight 0. BatchNorm normalises by
its running statistics, so :math:`\hat x` is a fixed function of its input.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from skmm.gradients.rows import Collector

Form = Callable[[nn.Module, dict[str, str], Tensor, Tensor, Collector], None]


def closed_form(module: nn.Module) -> Form | None:
    """Returns what adds the gradients of one call of ``module`` to a collector.

    It takes the layer, its parameters (``weight`` or ``bias`` to the name under which they are
    collected), its input and the residual at its output, batch first, and the collector.

    A subclass with a forward of its own may not compute what its class says, and has none. A layer
    of another package is taken for what its parameters look like; whether it is that, is for
    `skmm.gradients.plan` to find out.
    """
    forward = type(module).forward
    if forward is nn.Embedding.forward:
        embedding = cast("nn.Embedding", module)
        plain = embedding.max_norm is None and not embedding.scale_grad_by_freq
        return _embedding if plain and not embedding.sparse else None
    if forward in _OF_TORCH:
        return _OF_TORCH[forward]
    own = dict(module.named_parameters(recurse=False))
    foreign = not type(module).__module__.startswith("torch.nn.")
    if not foreign or next(module.children(), None) is not None or "weight" not in own:
        return None
    if own.keys() - {"weight", "bias"}:
        return None
    weight, bias = own["weight"], own.get("bias")
    if weight.ndim == 2 and (bias is None or bias.shape == weight.shape[1:]):
        return partial(_linear, transposed=True)
    if weight.ndim == 1 and (bias is None or bias.shape == weight.shape):
        return _scaled
    return None


def _linear(
    layer: nn.Module,
    held: dict[str, str],
    x: Tensor,
    delta: Tensor,
    into: Collector,
    *,
    transposed: bool = False,
) -> None:
    delta = _flat(delta)
    if "bias" in held:
        into.add(held["bias"], delta.sum(-1))
    if "weight" in held:
        left, right = (_flat(x), delta) if transposed else (delta, _flat(x))
        into.add_outer(held["weight"], left.unsqueeze(1), right.unsqueeze(1))


def _flat(x: Tensor) -> Tensor:
    """Returns ``[B, ..., d]`` as ``[B, d, P]``."""
    return x.reshape(len(x), -1, x.shape[-1]).transpose(1, 2)


def _embedding(
    layer: nn.Module, held: dict[str, str], x: Tensor, delta: Tensor, into: Collector
) -> None:
    if (padding := cast("nn.Embedding", layer).padding_idx) is not None:
        delta = delta.masked_fill((x == padding).unsqueeze(-1), 0)
    into.add_picked(held["weight"], x.flatten(1), delta.reshape(len(x), -1, delta.shape[-1]))


def _conv(
    layer: nn.Module, held: dict[str, str], x: Tensor, delta: Tensor, into: Collector
) -> None:
    conv = cast("nn.Conv2d", layer)
    delta = delta.flatten(2)
    if "bias" in held:
        into.add(held["bias"], delta.sum(-1))
    if "weight" in held:
        by_group = delta.reshape(len(delta), conv.groups, -1, delta.shape[-1])
        into.add_outer(held["weight"], by_group, _patches(conv, x))


def _batch_norm(
    layer: nn.Module, held: dict[str, str], x: Tensor, delta: Tensor, into: Collector
) -> None:
    norm = cast("_BatchNorm", layer)
    delta = delta.flatten(2) if delta.ndim > 2 else delta.unsqueeze(-1)
    total = delta.sum(-1)
    if "bias" in held:
        into.add(held["bias"], total)
    if "weight" in held:
        # sum(delta (x - mean)) without a centred copy of x.
        moment = (delta * x.reshape(delta.shape)).sum(-1)
        running = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        mean, variance = (statistic.to(into.dtype) for statistic in running)
        into.add(held["weight"], (moment - mean * total) * torch.rsqrt(variance + norm.eps))


def _layer_norm(
    layer: nn.Module, held: dict[str, str], x: Tensor, delta: Tensor, into: Collector
) -> None:
    norm = cast("nn.LayerNorm", layer)
    unit = F.layer_norm(x, norm.normalized_shape, eps=norm.eps) if "weight" in held else None
    _add_scaled(held, unit, delta, len(norm.normalized_shape), into)


def _rms_norm(
    layer: nn.Module, held: dict[str, str], x: Tensor, delta: Tensor, into: Collector
) -> None:
    norm = cast("nn.RMSNorm", layer)
    eps = torch.finfo(norm.weight.dtype).eps if norm.eps is None else norm.eps
    unit = F.rms_norm(x, norm.normalized_shape, eps=eps)
    _add_scaled(held, unit, delta, len(norm.normalized_shape), into)


def _scaled(
    layer: nn.Module, held: dict[str, str], x: Tensor, delta: Tensor, into: Collector
) -> None:
    own = dict(layer.named_parameters(recurse=False))
    # In the model's precision, in which the layer itself computed; tests of x's type then hold too.
    x = x.to(own["weight"].dtype)
    none = {leaf: torch.zeros_like(p) for leaf, p in own.items()}
    with torch.no_grad():
        base = functional_call(layer, none, x)
        unit = functional_call(layer, none | {"weight": torch.ones_like(own["weight"])}, x) - base
    _add_scaled(held, unit.to(into.dtype), delta, 1, into)


def _add_scaled(
    held: dict[str, str], unit: Tensor | None, delta: Tensor, axes: int, into: Collector
) -> None:
    """Adds the gradients of a scale and a shift along the last axes."""
    over = tuple(range(1, delta.ndim - axes))
    if "bias" in held:
        into.add(held["bias"], delta.sum(over) if over else delta)
    if "weight" in held and unit is not None:
        into.add(held["weight"], (delta * unit).sum(over) if over else delta * unit)


def _patches(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Unfolds ``x`` into what the kernel sees at each position, ``[B, groups, e, P]``."""
    if isinstance(conv.padding, str):
        spans = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        total = spans if conv.padding == "same" else [0, 0]
        sides = [(t // 2, t - t // 2) for t in total]
    else:
        sides = [(p, p) for p in conv.padding]
    if any(map(any, sides)):
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        x = F.pad(x, (*sides[1], *sides[0]), mode=mode)
    if conv.kernel_size == (1, 1):
        columns = x[:, :, :: conv.stride[0], :: conv.stride[1]].flatten(2)
    else:
        columns = F.unfold(x, conv.kernel_size, dilation=conv.dilation, stride=conv.stride)
    return columns.reshape(len(x), conv.groups, -1, columns.shape[-1])


_OF_TORCH: dict[Callable, Form] = {
    nn.Linear.forward: _linear,
    nn.Conv2d.forward: _conv,
    _BatchNorm.forward: _batch_norm,
    nn.LayerNorm.forward: _layer_norm,
    nn.RMSNorm.forward: _rms_norm,
}

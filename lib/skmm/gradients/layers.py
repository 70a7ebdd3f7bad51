r"""Layers whose per-sample gradients have a closed form.

With the residual :math:`\delta` (the gradient at the layer's output) and the activation ``a`` (its
input), over positions ``p`` of a convolution or tokens of a sequence:

==========  ==========================================  ==================================
layer       weight                                      bias
==========  ==========================================  ==================================
Linear      :math:`\sum_p \delta_p a_p^\top`            :math:`\sum_p \delta_p`
Conv2d      the same, ``a`` unfolded, by group          the same
BatchNorm   :math:`\sum_p \delta_p \circ \hat x_p`      the same
==========  ==========================================  ==================================

BatchNorm normalises by its running statistics, so :math:`\hat x` is a fixed function of its input.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.modules.batchnorm import _BatchNorm

from skmm.gradients.rows import Collector


def has_closed_form(module: nn.Module) -> bool:
    """Whether ``module`` computes what its class says; a subclass with its own forward may not."""
    forward = type(module).forward
    return forward in (nn.Linear.forward, nn.Conv2d.forward, _BatchNorm.forward)


def closed_form_layers(model: nn.Module, names: Iterable[str]) -> dict[nn.Module, dict[str, str]]:
    """Finds the layers that hold parameters ``names`` and have a closed form.

    Returns:
        For each layer, its own name of a parameter (``weight`` or ``bias``) to the model's. A
        parameter that is also held by a layer without closed form is left out.
    """
    wanted = {id(p): name for name, p in model.named_parameters() if name in set(names)}
    layers: dict[nn.Module, dict[str, str]] = {}
    excluded = set()
    for module in model.modules():
        for leaf, p in module.named_parameters(recurse=False):
            if id(p) not in wanted:
                continue
            if has_closed_form(module) and leaf in ("weight", "bias"):
                layers.setdefault(module, {})[leaf] = wanted[id(p)]
            else:
                excluded.add(wanted[id(p)])
    kept = {
        module: {leaf: name for leaf, name in held.items() if name not in excluded}
        for module, held in layers.items()
    }
    return {module: held for module, held in kept.items() if held}


@dataclass(frozen=True)
class Call:
    """One call of a layer: its input, and the place in the graph where its residual arrives."""

    layer: nn.Module
    x: Tensor
    edge: GradientEdge

    def covers(self, B: int) -> bool:
        """Whether the layer saw as many samples as the batch has."""
        return len(self.x) == B


@dataclass
class Recorder:
    """Records the calls of ``layers`` while it is entered; its hooks are removed on leaving.

    The edge is taken before anything downstream works on the output in place
    (``ReLU(inplace=True)`` does), so the residual is that of the layer's own output.
    """

    layers: Iterable[nn.Module]
    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._handles = [
            layer.register_forward_hook(self._record, with_kwargs=True) for layer in self.layers
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _record(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        if output.requires_grad:
            x = args[0] if args else kwargs["input"]
            self.calls.append(Call(layer, x.detach(), get_gradient_edge(output)))


def residuals_at(
    calls: list[Call], outputs: Tensor, residual: Tensor, *, keep: bool
) -> Sequence[Tensor | None]:
    """Backpropagates ``residual`` from ``outputs`` to the calls; None where it does not reach.

    Weight gradients are not computed: the engine walks only the paths to the recorded edges.
    """
    return torch.autograd.grad(
        outputs,
        [call.edge for call in calls],
        residual.to(outputs.dtype).view_as(outputs),
        retain_graph=keep,
        allow_unused=True,
    )


def add_gradients(
    layer: nn.Module, held: dict[str, str], x: Tensor, delta: Tensor, into: Collector
) -> None:
    """Adds the per-sample gradients of one call of ``layer`` to a collector.

    Args:
        layer: A layer with a closed form.
        held: Its parameters: ``weight`` or ``bias`` to the name under which they are collected.
        x: Its input, batch first.
        delta: The residual at its output.
        into: Where the gradients go.
    """
    x, delta = x.to(into.dtype), delta.to(into.dtype)
    # [B, channels, P]: a linear layer has its channels last, the others second.
    flat = delta.reshape(len(delta), -1, delta.shape[-1]).transpose(1, 2)
    if not isinstance(layer, nn.Linear):
        flat = delta.flatten(2) if delta.ndim > 2 else delta.unsqueeze(-1)
    if "bias" in held:
        into.add(held["bias"], flat.sum(-1))
    if "weight" not in held:
        return
    if isinstance(layer, _BatchNorm):
        # sum(delta (x - mean)) without a centred copy of x.
        moment = (flat * x.reshape(flat.shape)).sum(-1)
        running = cast("Tensor", layer.running_mean), cast("Tensor", layer.running_var)
        mean, variance = (statistic.to(into.dtype) for statistic in running)
        centred = moment - mean * flat.sum(-1)
        into.add(held["weight"], centred * torch.rsqrt(variance + layer.eps))
    elif isinstance(layer, nn.Linear):
        a = x.reshape(len(x), -1, x.shape[-1]).transpose(1, 2)
        into.add_outer(held["weight"], flat.unsqueeze(1), a.unsqueeze(1))
    elif isinstance(layer, nn.Conv2d):
        by_group = flat.reshape(len(flat), layer.groups, -1, flat.shape[-1])
        into.add_outer(held["weight"], by_group, _patches(layer, x))


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

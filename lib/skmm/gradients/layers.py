"""The layers of a network whose gradients have a closed form, and what they see and pass on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from skmm.gradients.closed_forms import closed_form
from skmm.gradients.rows import Collector


def closed_form_layers(model: nn.Module, names: Iterable[str]) -> dict[nn.Module, dict[str, str]]:
    """Finds the layers that hold parameters ``names`` and have a closed form.

    A parameter may be held by several layers, whose gradients add up, and used by others that have
    no closed form: `skmm.gradients.plan` tells.

    Returns:
        For each layer, its own name of a parameter (``weight`` or ``bias``) to the model's.
    """
    wanted = {id(p): name for name, p in model.named_parameters() if name in set(names)}
    layers: dict[nn.Module, dict[str, str]] = {}
    for module in model.modules():
        if closed_form(module) is None:
            continue
        own = module.named_parameters(recurse=False)
        held = {leaf: wanted[id(p)] for leaf, p in own if id(p) in wanted}
        if held:
            layers[module] = held
    return layers


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
    (``ReLU(inplace=True)`` does), so the residual is that of the layer's own output. What is picked
    from an embedding once for all ``B`` samples, as positions often are, is handed on as ``B``
    views of it: the residual of each sample then arrives on its own.
    """

    layers: Iterable[nn.Module]
    B: int
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
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        x = args[0] if args else next(iter(kwargs.values()), None)
        if isinstance(x, Tensor) and isinstance(output, Tensor) and output.requires_grad:
            if isinstance(layer, nn.Embedding) and x.ndim > 1 and len(x) == 1 < self.B:
                x, output = (t.expand(self.B, *t.shape[1:]) for t in (x, output))
            self.calls.append(Call(layer, x.detach(), get_gradient_edge(output)))
        return output


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
    form = closed_form(layer)
    if form is None:
        raise ValueError(f"layer must have a closed form, got {type(layer).__name__}")
    x = x.to(into.dtype) if x.is_floating_point() else x
    form(layer, held, x, delta.to(into.dtype), into)

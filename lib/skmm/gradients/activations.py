"""What enters the classifier of a network: the features of linear probing, for a whole pool."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from skmm.gradients.batches import Inputs
from skmm.gradients.parameters import frozen


def classifier_inputs(
    model: nn.Module, batches: Iterable[Inputs], *, layer: str | None = None, progress: bool = False
) -> NDArray[np.float32]:
    r"""Computes the features of a pool: what enters the layer that makes the model's outputs.

    The classifier is the linear layer whose outputs the model returns as they are. A model without
    one, such as a backbone that lost its head, has its outputs for features. Positions of images
    and tokens of texts are averaged: :math:`[B, d, h, w]` and :math:`[B, T, d]` become
    :math:`[B, d]`. The model runs in eval mode, without gradients, and is given back as it was.

    Args:
        model: Any module that takes a batch: a tensor, or a mapping, by names.
        batches: Inputs, on the model's device.
        layer: Name of another module whose inputs are the features.
        progress: Shows a progress bar.

    Returns:
        :math:`G`, shape ``[N, d]``.

    Raises:
        ValueError: the model has no such ``layer``, does not call it, or returns no tensor.
    """
    modules = dict(model.named_modules())
    if layer is not None and layer not in modules:
        raise ValueError(
            f"layer must name a module of the model, got {layer!r}; the last ones are "
            f"{', '.join(list(modules)[-3:])}"
        )
    linear: list[nn.Module] = [m for m in modules.values() if isinstance(m, nn.Linear)]
    watched = linear if layer is None else [modules[layer]]
    parts = []
    with frozen(model, []), _last_call(watched) as call:
        for x in tqdm(batches, desc="features", unit="batch", disable=not progress):
            call.clear()
            outputs = _tensor_of(model(**x) if isinstance(x, Mapping) else model(x))
            if layer is not None and not call:
                raise ValueError(f"layer must be called by the model, got {layer!r}, which is not")
            ends = layer is not None or (call and _same(call["outputs"], outputs))
            parts.append(_pooled(call["inputs"] if ends else outputs).float().cpu().numpy())
    return np.concatenate(parts)


@contextmanager
def _last_call(modules: list[nn.Module]) -> Generator[dict[str, Any]]:
    """Holds what entered and left the one of ``modules`` that was called last."""
    call: dict[str, Any] = {}

    def record(module: nn.Module, args: tuple[Any, ...], outputs: Any) -> None:
        call.update(inputs=args[0], outputs=outputs)

    handles = [module.register_forward_hook(record) for module in modules]
    try:
        yield call
    finally:
        for handle in handles:
            handle.remove()


def _same(made: Any, returned: Tensor) -> bool:
    """Whether the model returns what a layer made, but perhaps for axes of length one."""
    same_place = isinstance(made, Tensor) and made.data_ptr() == returned.data_ptr()
    return same_place and made.squeeze().shape == returned.squeeze().shape


def _tensor_of(outputs: Any) -> Tensor:
    """Returns the tensor that matters among a model's outputs: logits, or what is pooled."""
    if isinstance(outputs, Tensor):
        return outputs
    named = dict(outputs) if isinstance(outputs, Mapping) else {}
    parts = outputs if isinstance(outputs, tuple | list) else named.values()
    for name in ("logits", "pooler_output", "last_hidden_state"):
        if isinstance(named.get(name), Tensor):
            return named[name]
    for part in parts:
        if isinstance(part, Tensor):
            return part
    raise ValueError(
        f"model must return a tensor, a tuple or a mapping of tensors, got {type(outputs).__name__}"
    )


def _pooled(features: Tensor) -> Tensor:
    """Returns one row a sample: positions of an image, or tokens, averaged."""
    if features.ndim == 3:
        return features.mean(1)
    return features.flatten(2).mean(2) if features.ndim > 3 else features.reshape(len(features), -1)

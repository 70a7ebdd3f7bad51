"""Which parameters the gradients are taken of, and the state a model is held in meanwhile."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from skmm.numerics.inputs import check_integer


def last_parameters(model: nn.Module, last: int = 2) -> list[str]:
    """Names the parameters of the last ``last`` layers of ``model``, in its own order.

    A layer is a module that holds a weight with two axes or more (linear, convolution, embedding,
    attention). Normalisations, whose parameters are vectors, go with the layer before them: the
    last two layers of a ResNet-18 are ``layer4.1.conv2`` with ``layer4.1.bn2``, and ``fc``. "Last"
    is the order in which the model registers its modules.

    Args:
        model: Any module.
        last: How many layers.

    Returns:
        Names as in ``model.named_parameters()``.

    Raises:
        ValueError: the model has fewer layers.

    Example:
        >>> import skmm
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        >>> skmm.last_parameters(model, 1)
        ['2.weight', '2.bias']
    """
    _check_model(model)
    check_integer(last, "last", low=1, hint="it counts layers from the end")
    names = {id(p): name for name, p in model.named_parameters()}
    groups: list[list[str]] = []
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if any(p.ndim >= 2 for p in own) or (own and not groups):
            groups.append([])
        for p in own:
            groups[-1].append(names[id(p)])
    if last > len(groups):
        raise ValueError(
            f"last must be at most the model's {len(groups)} layers, got last={last}; "
            "name parameters instead with parameters=[...]"
        )
    chosen = {name for group in groups[-last:] for name in group}
    return [name for name in names.values() if name in chosen]


def resolve_parameters(
    model: nn.Module, parameters: Iterable[str] | None, last: int | None
) -> dict[str, nn.Parameter]:
    """Returns the chosen parameters by name, in the model's order (``last=2`` where none is named).

    Raises:
        ValueError: a name is unknown (the closest ones are listed), given twice or not floating
            point, none is given, or both ``parameters`` and ``last`` are.
    """
    _check_model(model)
    own = dict(model.named_parameters())
    if parameters is None:
        return {name: own[name] for name in last_parameters(model, 2 if last is None else last)}
    if last is not None:
        raise ValueError(f"pass either parameters or last, got both (last={last})")
    if not isinstance(parameters, str) and isinstance(parameters, Iterable):
        parameters = list(parameters)
    if not isinstance(parameters, list) or not parameters:
        raise ValueError(
            f"parameters must be a non-empty list of names, got {parameters!r}; "
            "see model.named_parameters()"
        )
    parameters = [name for given in parameters for name in _matching(given, own)]
    tied = dict(model.named_parameters(remove_duplicate=False))
    for name in parameters:
        if name not in own and name in tied:
            kept = next(other for other, p in own.items() if p is tied[name])
            raise ValueError(
                f"parameters names {name!r}, which is tied to {kept!r}: name that, whose gradient "
                "is the sum of both"
            )
        if name not in own:
            close = get_close_matches(str(name), own, n=3, cutoff=0.4) or list(own)[-3:]
            raise ValueError(
                f"parameters names {name!r}, which the model does not have; "
                f"closest: {', '.join(close)}"
            )
        if not own[name].is_floating_point():
            raise ValueError(
                f"parameters names {name!r} of dtype {own[name].dtype}; gradients need floats"
            )
    if len(set(parameters)) < len(parameters):
        raise ValueError(f"parameters must name each parameter once, got {list(parameters)}")
    chosen = set(parameters)
    return {name: p for name, p in own.items() if name in chosen}


def _matching(name: str, own: Iterable[str]) -> list[str]:
    """Returns the names that a name with ``*`` stands for; another name, as it is."""
    if not isinstance(name, str) or "*" not in name:
        return [name]
    if not (found := [one for one in own if fnmatchcase(one, name)]):
        raise ValueError(
            f"parameters has {name!r}, which no parameter matches; names are such as "
            f"{', '.join(list(own)[-3:])}"
        )
    return found


def warn_of_idle_adapters(model: nn.Module, names: Iterable[str]) -> None:
    """Warns where a low-rank adapter adds ``B A x`` with ``B = 0``: A then has no gradient."""
    own = dict(model.named_parameters())
    idle = [
        name
        for name in names
        if (other := name.replace("lora_A", "lora_B")) != name
        and other in own
        and not own[other].detach().any()
    ]
    if idle:
        warnings.warn(
            f"gradients of {len(idle)} adapters A are zero while their B is zero, as it is before "
            f"training, such as {idle[0]}; choose B alone, or train for some steps first",
            stacklevel=3,
        )


def _check_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if next(model.parameters(), None) is None:
        raise ValueError("model has no parameters, so there are no gradients to take")
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"model's layer {name!r} has no running statistics: it normalises over the batch "
                "even in eval mode, so a sample has no gradient of its own; "
                "use track_running_stats=True"
            )


@contextmanager
def frozen(model: nn.Module, names: Sequence[str]) -> Generator[None]:
    """Holds ``model`` in eval mode with only ``names`` requiring gradients; restores it on leaving.

    Everything below the first chosen layer then builds no graph, so it runs as in inference. What
    language models keep to go on writing is not kept.
    """
    training = {module: module.training for module in model.modules()}
    flags = {p: p.requires_grad for p in model.parameters()}
    chosen = set(names)
    config: Any = getattr(model, "config", None)
    cached = getattr(config, "use_cache", None)
    try:
        if cached:
            config.use_cache = False
        model.eval()
        for name, p in model.named_parameters():
            p.requires_grad_(name in chosen)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        if cached:
            config.use_cache = cached
        for module, mode in training.items():
            module.training = mode
        for p, flag in flags.items():
            p.requires_grad_(flag)

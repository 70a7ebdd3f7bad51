"""Knobs of a method: ``--set knob=value``, checked before anything is read."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm import SELECTORS
from skmm_cli.errors import CommandError, UsageError
from skmm_cli.reading.pool import PoolFile

_AXIS = {"correctness": -1, "early_probabilities": -2, "logits": 0, "labels": 0, "probabilities": 0}
"""The axis along which what a method needs has one entry a sample; what is missing has none."""


def check_method(name: str) -> None:
    """Refuses a method that does not exist."""
    if name not in SELECTORS:
        raise UsageError(f"no method {name!r}; there are {', '.join(sorted(SELECTORS))}")


def parse_knobs(method: str, settings: Sequence[str], *, labels: str | None) -> dict[str, Any]:
    """Returns the knobs of ``knob=value`` words: numbers, truth values, or text.

    What a method `needs` stays text: the column or the file that it is read from by `read_needs`;
    ``labels`` stands for those of ``--labels`` unless they are set.

    Raises:
        UsageError: the method does not exist or takes no such knob, or lacks what it needs.
    """
    check_method(method)
    chosen = SELECTORS[method]
    takes = ", ".join(chosen.knobs) or "no knobs"
    knobs: dict[str, Any] = {}
    for word in settings:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--set takes knob=value, got {word!r}; {method} takes {takes}")
        if name not in chosen.knobs:
            raise UsageError(f"method {method!r} has no knob {name!r}; it takes {takes}")
        if name in knobs:
            raise UsageError(f"knob {name!r} is set twice")
        knobs[name] = value if name in chosen.needs else _literal(value)
    if labels is not None and "labels" in chosen.needs:
        knobs.setdefault("labels", labels)
    if missing := [name for name in chosen.needs if name not in knobs]:
        raise UsageError(
            f"method {method!r} needs {' and '.join(missing)}: "
            f"--set {missing[0]}=FILE, or a column of the pool's file"
        )
    return knobs


def read_needs(method: str, knobs: Mapping[str, Any], pool: PoolFile) -> dict[str, Any]:
    """Returns the knobs with the columns and files that the method needs read as arrays."""
    needs = SELECTORS[method].needs
    return {
        name: encode(pool.values(value, name))
        if name == "labels"
        else pool.values(value, name)
        if name in needs
        else value
        for name, value in knobs.items()
    }


def encode(labels: NDArray) -> NDArray:
    """Returns class labels as whole numbers: as they are if they are so, else by sorted name."""
    if labels.dtype.kind in "iu":
        return labels
    return np.unique(labels.astype(str), return_inverse=True)[1]


def of_part(knobs: Mapping[str, Any], part: NDArray[np.intp] | None, N: int) -> dict[str, Any]:
    """Returns the knobs of a method that is to see the rows ``part`` of ``N`` alone."""
    if part is None:
        return dict(knobs)
    return {
        name: _take(name, value, part, N) if name in _AXIS else value
        for name, value in knobs.items()
    }


def _take(name: str, value: NDArray, part: NDArray[np.intp], N: int) -> NDArray:
    axis = _AXIS[name]
    if not -value.ndim <= axis < value.ndim or value.shape[axis] != N:
        raise CommandError(
            f"{name} must have one entry for each of the {N} samples, "
            f"but has shape {list(value.shape)}"
        )
    return value.take(part, axis=axis)


def _literal(value: str) -> Any:
    lowered = {"true": True, "false": False, "none": None}
    if value.lower() in lowered:
        return lowered[value.lower()]
    try:
        number = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return number if isinstance(number, int | float) else value

"""Digests of maps and weights: equal where the numbers are, on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def digest_of(value: Any) -> str:
    """Returns the SHA-256 of a map, or of arrays and tensors by name.

    Types, shapes and bytes count, and the public fields of dataclasses; what was derived from them
    does not.
    """
    seen = hashlib.sha256()
    feed(value, seen)
    return seen.hexdigest()


def _feed_array(value: Any, seen: hashlib._Hash) -> None:
    if hasattr(value, "detach"):
        import torch

        value = value.detach().cpu().contiguous()
        seen.update(f"{value.dtype} {list(value.shape)};".encode())
        seen.update(value.reshape(-1).view(torch.uint8).numpy())
    else:
        array = np.ascontiguousarray(value)
        seen.update(f"{array.dtype.str} {list(array.shape)};".encode())
        seen.update(array)


def feed(value: Any, seen: hashlib._Hash) -> None:
    """Feeds a map, or arrays and tensors by name or in lists, to a hash."""
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value) if not f.name.startswith("_")]
        value = {name: getattr(value, name) for name in names} | {"": type(value).__name__}
    if isinstance(value, Mapping):
        seen.update(f"{len(value)} by name;".encode())
        for name in value:
            seen.update(f"{name!r}:".encode())
            feed(value[name], seen)
    elif isinstance(value, np.ndarray) or hasattr(value, "detach"):
        _feed_array(value, seen)
    elif isinstance(value, tuple | list):
        seen.update(f"{len(value)};".encode())
        for one in value:
            feed(one, seen)
    elif isinstance(value, str | int | float | bool | None):
        seen.update(f"{value!r};".encode())
    else:  # whose words may hold an address
        raise ValueError(
            f"data must be arrays, tensors, numbers or text, got {type(value).__name__}"
        )

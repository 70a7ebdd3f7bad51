"""Checks at the public edge: bad input is named, with the value seen and what to do."""

from __future__ import annotations

import numbers
import sys
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray


def is_tensor(rows: Any) -> bool:
    """Whether ``rows`` is a torch tensor, without importing torch to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(rows, torch.Tensor)


def check_integer(value: Any, name: str, *, low: int, high: int | None = None, hint: str) -> int:
    """Returns ``value`` as an ``int`` within ``[low, high]``.

    Raises:
        ValueError: it is no whole number or lies outside; the message ends with ``hint``.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} must be a whole number {bound}, got {name}={value!r}; {hint}")
    return int(value)


def check_budget(n: Any, N: int) -> int:
    """Returns the budget ``n`` as an ``int`` in ``1..N``."""
    return check_integer(n, "n", low=1, high=N, hint=f"the pool has N={N} samples to choose from")


def check_positive(value: Any, name: str, *, hint: str) -> float:
    """Returns ``value`` as a finite, positive ``float``."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a finite number above 0, got {name}={value!r}; {hint}")
    return float(value)


def check_choice(value: Any, name: str, choices) -> str:
    """Returns ``value`` if it is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(sorted(choices))}, got {value!r}")
    return value


def check_indices(indices: ArrayLike, N: int, name: str = "indices") -> NDArray[np.intp]:
    """Returns distinct indices in ``0..N-1``, at least one, shape ``[n]``."""
    array = np.asarray(indices)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be whole numbers of shape [n], at least one, "
            f"got shape {list(array.shape)} and dtype {array.dtype}"
        )
    if array.min() < 0 or array.max() >= N:
        raise ValueError(
            f"{name} must lie in 0..{N - 1}, the pool's rows, got {array.min()} to {array.max()}"
        )
    if len(np.unique(array)) < len(array):
        raise ValueError(f"{name} must be distinct, got {len(array)} of which some are equal")
    return array.astype(np.intp, copy=False)


def check_labels(labels: ArrayLike, N: int, name: str = "labels") -> NDArray[np.int64]:
    """Returns class labels as ``int64``, shape ``[N]``."""
    array = np.asarray(labels)
    if array.shape != (N,) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"{name} must be N={N} whole numbers, one a sample, "
            f"got shape {list(array.shape)} and dtype {array.dtype}; encode classes as 0, 1, ..."
        )
    return array.astype(np.int64, copy=False)


def check_rows(rows: Any, name: str = "features") -> NDArray[np.floating]:
    r"""Returns per-sample rows as a C-contiguous float array ``[N, r]``, ready for BLAS.

    ``float32`` stays; every other real type becomes ``float64``, so that squares of half-precision
    values cannot overflow. Torch tensors are brought to the CPU, sparse matrices are densified.

    Raises:
        ValueError: not two-dimensional, empty, not real, or with NaN or infinite entries; the
            first offending row and column are named.
    """
    if is_tensor(rows):
        rows = rows.detach().cpu()
        rows = (rows if rows.dtype.itemsize >= 4 else rows.float()).numpy()
    elif scipy.sparse.issparse(rows):
        rows = rows.toarray()
    if isinstance(rows, np.ma.MaskedArray):
        raise ValueError(f"{name} must have no mask; fill or drop the masked entries")
    try:
        array = np.asarray(rows)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{name} must have rows of equal length [N, r]; {error}") from error
    if array.ndim != 2:
        raise ValueError(
            f"{name} must have two axes [N, r], one row a sample, got shape {list(array.shape)}; "
            "reshape to one row a sample"
        )
    if 0 in array.shape:
        raise ValueError(f"{name} is empty, got shape {list(array.shape)}; pass at least one row")
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} must hold real numbers, got dtype {array.dtype}; convert them, "
            "as a table by .to_numpy(dtype=float) without its columns of text"
        )
    if array.dtype != np.float32:
        array = array.astype(np.float64, copy=False)
    array = np.ascontiguousarray(array)
    # One pass without an [N, r] temporary: a sum is finite unless an entry is not, or it overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = not np.isfinite(array.sum(axis=1, dtype=np.float64)).all()
    if suspect and not (finite := np.isfinite(array)).all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(
            f"{name} must be finite, got {array[row, column]} at row {row}, column {column} "
            f"({np.size(finite) - finite.sum()} such entries); drop or impute these rows"
        )
    return array

"""Checks at the public edge: bad input is named, with the value seen and what to do."""

from __future__ import annotations

import numbers
import sys
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.stored import StoredRows, is_stored, scan


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


def check_vector(values: ArrayLike, name: str, N: int | None = None) -> NDArray[np.float64]:
    """Returns finite real numbers as ``float64``, shape ``[N]``, any number of them unless told."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be real numbers of shape [N]; {error}") from error
    if array.ndim != 1 or array.dtype.kind not in "fiub" or N not in (None, len(array)):
        raise ValueError(
            f"{name} must be real numbers of shape [{'N' if N is None else N}], "
            f"got shape {list(array.shape)} and dtype {array.dtype}"
        )
    array = array.astype(np.float64, copy=False)
    if not (finite := np.isfinite(array)).all():
        raise ValueError(f"{name} must be finite, got {array[~finite][0]}; drop such entries")
    return array


def check_labels(labels: ArrayLike, N: int, name: str = "labels") -> NDArray[np.int64]:
    """Returns class labels as ``int64``, shape ``[N]``."""
    array = np.asarray(labels)
    if array.shape != (N,) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"{name} must be N={N} whole numbers, one a sample, "
            f"got shape {list(array.shape)} and dtype {array.dtype}; encode classes as 0, 1, ..."
        )
    return array.astype(np.int64, copy=False)


def check_weights(weights: ArrayLike | None, n: int, name: str = "weights") -> NDArray[np.float64]:
    """Returns weights of rows scaled to mean one, shape ``[n]``; all ones for ``None``."""
    if weights is None:
        return np.ones(n)
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be n={n} positive numbers; {error}") from error
    if array.shape != (n,):
        raise ValueError(
            f"{name} must be n={n} positive numbers, one a row, got shape {list(array.shape)}"
        )
    if not (np.isfinite(array) & (array > 0)).all():
        worst = array[~(np.isfinite(array) & (array > 0))][0]
        raise ValueError(
            f"{name} must be finite and positive, got {worst}; leave rows without weight out"
        )
    array = array / array.max()  # so that no sum overflows
    return array / array.mean()


def check_rows(rows: Any, name: str = "features") -> NDArray[np.floating]:
    r"""Returns per-sample rows as a C-contiguous float array ``[N, r]``, ready for BLAS.

    What `check_pool` returns, dense and in main memory.

    Raises:
        ValueError: as `check_pool`.
    """
    return to_array(check_pool(rows, name))


def check_doubles(rows: Any, name: str = "features") -> NDArray[np.float64]:
    """Returns what `check_rows` does, in double precision."""
    return check_rows(rows, name).astype(np.float64, copy=False)


def check_pool(rows: Any, name: str = "features") -> Any:
    r"""Returns per-sample rows ``[N, r]`` where and as they are stored: what a sketch can take.

    Sparse rows, of SciPy or torch, are returned as a SciPy ``csr_array``, a tensor on an
    accelerator as that tensor, a memory map or a store as `StoredRows`, which are read by blocks,
    everything else as a C-contiguous array. ``float32`` stays; other
    real types become ``float64`` (tensors of less than four bytes an entry ``float32``), so that
    squares of half-precision values cannot overflow. What fits is not copied, and nothing is
    written to.

    Raises:
        ValueError: not two-dimensional, empty, not real, without data (the device ``meta``), or
            with NaN or infinite entries; the first offending row and column are named.
    """
    if isinstance(rows, np.ma.MaskedArray):
        raise ValueError(f"{name} must have no mask; fill or drop the masked entries")
    if is_tensor(rows):
        _check_shape(tuple(rows.shape), name)
        _check_real(not rows.is_complex(), rows.dtype, name)
        rows = _stored(rows.detach(), name)
        if is_tensor(rows):
            return _check_finite_tensor(rows, name)
    if is_stored(rows):
        return _check_stored(rows, name)
    if not scipy.sparse.issparse(rows):
        try:
            rows = np.asarray(rows)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"{name} must have rows of equal length [N, r]; {error}") from error
    _check_shape(rows.shape, name)
    _check_real(rows.dtype.kind in "fiub", rows.dtype, name)
    if rows.dtype != np.float32:
        rows = rows.astype(np.float64, copy=False)
    if scipy.sparse.issparse(rows):
        return _check_finite_sparse(scipy.sparse.csr_array(rows), name)
    return _check_finite(np.ascontiguousarray(rows), name)


def to_array(pool: Any) -> NDArray[np.floating]:
    """Returns what `check_pool` returned as a C-contiguous array in main memory."""
    if is_tensor(pool):
        return pool.cpu().contiguous().numpy()
    if isinstance(pool, StoredRows):
        return pool.whole()
    return pool.toarray() if scipy.sparse.issparse(pool) else pool


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) != 2:
        raise ValueError(
            f"{name} must have two axes [N, r], one row a sample, got shape {list(shape)}; "
            "reshape to one row a sample"
        )
    if 0 in shape:
        raise ValueError(f"{name} is empty, got shape {list(shape)}; pass at least one row")


def _check_real(real: bool, dtype: Any, name: str) -> None:
    if not real:
        raise ValueError(
            f"{name} must hold real numbers, got dtype {dtype}; convert them, "
            "as a table by .to_numpy(dtype=float) without its columns of text"
        )


def _stored(rows: Any, name: str) -> Any:
    """Returns a tensor as an array, a sparse array, or, on an accelerator, itself."""
    import torch

    if rows.dtype.itemsize < 4:
        rows = rows.float()
    if rows.layout is not torch.strided:
        coo = rows.to_sparse_coo().coalesce()
        if coo.dense_dim():
            return _stored(coo.to_dense(), name)
        parts = coo.values().cpu().numpy(), coo.indices().cpu().numpy()
        return scipy.sparse.coo_array(parts, tuple(rows.shape)).tocsr()
    if rows.device.type == "cpu":
        return rows.numpy()
    try:
        rows[:0].cpu()
    except NotImplementedError as error:
        raise ValueError(
            f"{name} must hold data, got a tensor on the device {rows.device}, which has none; "
            "pass the tensor it stands for"
        ) from error
    return rows if rows.is_floating_point() else rows.double()


def _check_finite(array: NDArray[np.floating], name: str) -> NDArray[np.floating]:
    # One pass without an [N, r] temporary: a sum is finite unless an entry is not, or it overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = not np.isfinite(array.sum(axis=1, dtype=np.float64)).all()
    if suspect and not (finite := np.isfinite(array)).all():
        row, column = np.argwhere(~finite)[0]
        count = np.size(finite) - finite.sum()
        _refuse(array[row, column], row, column, count, name)
    return array


def _check_stored(rows: Any, name: str) -> StoredRows:
    """Returns rows out of core, read once to see whether all are finite."""
    _check_shape(tuple(rows.shape), name)
    _check_real(np.dtype(rows.dtype).kind in "fiub", rows.dtype, name)
    rows = rows if isinstance(rows, StoredRows) else StoredRows(rows)
    for part, block in scan(rows):
        if np.isfinite(block.sum(axis=1, dtype=np.float64)).all():
            continue
        if not (finite := np.isfinite(block)).all():
            row, column = np.argwhere(~finite)[0]
            count = sum(int(np.size(b) - np.isfinite(b).sum()) for _, b in scan(rows))
            _refuse(block[row, column], part.start + row, column, count, name)
    return rows


def _check_finite_sparse(rows: scipy.sparse.csr_array, name: str) -> scipy.sparse.csr_array:
    (bad,) = np.nonzero(~np.isfinite(rows.data))
    if len(bad):
        row = int(np.searchsorted(rows.indptr, bad[0], side="right")) - 1
        within = bad[bad < rows.indptr[row + 1]]
        first = within[np.argmin(rows.indices[within])]
        _refuse(rows.data[first], row, rows.indices[first], len(bad), name)
    return rows


def _check_finite_tensor(rows: Any, name: str) -> Any:
    # One pass where the rows are: NaN is passed on, infinity is an extreme.
    if not all(bool(end.isfinite()) for end in rows.aminmax()):
        bad = (~rows.isfinite()).nonzero()
        row, column = bad[0].tolist()
        _refuse(rows[row, column].item(), row, column, len(bad), name)
    return rows


def _refuse(value: float, row: int, column: int, count: int, name: str) -> None:
    raise ValueError(
        f"{name} must be finite, got {value} at row {row}, column {column} "
        f"({count} such entries); drop or impute these rows"
    )

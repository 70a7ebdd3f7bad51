"""Rows out of core: a pool that stays on disk, or is too large to copy, read block by block."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

_SCANNED = 1 << 20
"""Entries of a block of a scan: 8 MB in double precision. Blocks are cut by the width of the rows
alone, not by shards, threads or memory, so that sums over a pool are added in one order."""

_WINDOW = 1 << 24
"""Bytes of a pool within which scattered rows are gathered at once. A row of a memory map may bring
2 MB of neighbours with it, so that a few hundred, far apart, would bring the whole file."""


@runtime_checkable
class RowStore(Protocol):
    """What a store of rows must have: rows by slice and by an array of ascending indices.

    A folder of shards, an array of h5py or zarr behind a wrapper, or anything else that is no
    array in memory.
    """

    shape: tuple[int, ...]
    ndim: int
    dtype: Any

    def __getitem__(self, rows: Any, /) -> Any:
        """Returns some rows as an array."""


class StoredRows:
    r"""Rows ``[N, r]`` that are read when asked for, a few at a time, and never held as a whole.

    Single precision stays, half is read as single; other types as double precision. Pages of a
    memory map are given back as soon as they are read, so that a scan of a large file does not
    fill the memory of the process with it.

    Args:
        source: A memory map, an array, or a `RowStore`.
        exponent: Rows are read times 2 to this power.
    """

    ndim = 2

    def __init__(self, source: Any, *, exponent: int = 0):
        self.source, self._exponent = source, exponent
        self.shape: tuple[int, int] = tuple(source.shape)
        narrow = np.dtype(source.dtype).kind == "f" and np.dtype(source.dtype).itemsize <= 4
        self.dtype = np.dtype(np.float32 if narrow else np.float64)

    @classmethod
    def over(cls, rows: Any) -> StoredRows:
        """Returns rows that are stored, or arrays in memory, as such rows, without a copy."""
        return rows if isinstance(rows, cls) else cls(rows)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> NDArray[np.floating]:
        """Returns some of the rows, by a slice or an array of indices in any order, as a copy."""
        if isinstance(rows, slice):
            return self._read(rows)
        rows = np.asarray(rows)
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        order = np.argsort(rows, kind="stable")  # the way of the disk
        width = self.shape[1] * np.dtype(self.source.dtype).itemsize
        windows = rows[order] // max(1, _WINDOW // max(width, 1))
        for some in np.split(order, np.flatnonzero(np.diff(windows)) + 1):
            out[some] = self._read(rows[some])
        return out

    def _read(self, rows: slice | NDArray[np.intp]) -> NDArray[np.floating]:
        # Copied: a view of a map would keep its pages.
        block = np.array(self.source[rows], dtype=self.dtype, order="C", ndmin=2)
        _give_back(self.source)
        return np.ldexp(block, self._exponent) if self._exponent else block

    def scaled(self, exponent: int) -> StoredRows:
        """Returns the rows times 2 to a power."""
        return StoredRows(self.source, exponent=self._exponent + exponent)

    def located(self, indices: NDArray[np.intp]) -> tuple[Any, int, NDArray[np.intp]]:
        """Returns what some rows are read from, the power of 2, and their places there."""
        if not isinstance(self.source, _Part):
            return self.source, self._exponent, indices
        source, exponent, places = self.source.located(indices)
        return source, exponent + self._exponent, places

    def part(self, indices: NDArray[np.intp]) -> StoredRows:
        """Returns some of the rows as a pool of their own, not read yet."""
        return StoredRows(_Part(self, indices))

    def whole(self) -> NDArray[np.floating]:
        """Returns all rows as an array, which is a view where they are one already."""
        if isinstance(self.source, np.ndarray) and not self._exponent:
            return np.ascontiguousarray(self.source, dtype=self.dtype)
        out = np.empty(self.shape, self.dtype)
        for part, block in scan(self):
            out[part] = block
        return out


class _Part:
    """Some rows of a store, as a store."""

    ndim = 2

    def __init__(self, rows: StoredRows, indices: NDArray[np.intp]):
        self._rows, self._indices = rows, indices
        self.shape, self.dtype = (len(indices), rows.shape[1]), rows.dtype

    def __getitem__(self, rows: Any) -> NDArray[np.floating]:
        return self._rows[self._indices[rows]]

    def located(self, indices: NDArray[np.intp]) -> tuple[Any, int, NDArray[np.intp]]:
        """Returns what `StoredRows.located` does."""
        return self._rows.located(self._indices[indices])


def is_stored(rows: Any) -> bool:
    """Whether ``rows`` are out of core: a memory map, or a store that is no array in memory."""
    if isinstance(rows, StoredRows | np.memmap):
        return True
    if isinstance(rows, np.ndarray | np.generic) or scipy.sparse.issparse(rows):
        return False
    return not hasattr(rows, "__array__") and isinstance(rows, RowStore)


def scan(rows: StoredRows | NDArray[np.floating]) -> Iterator[tuple[slice, NDArray[np.floating]]]:
    """Yields all rows block by block, in order: slices of the pool and what they hold."""
    N, r = rows.shape
    step = max(1, _SCANNED // max(r, 1))
    for start in range(0, N, step):
        part = slice(start, min(start + step, N))
        yield part, rows[part]


def _give_back(source: Any) -> None:
    """Lets the system take pages of a memory map that were read; they stay in its cache."""
    pages = getattr(source, "_mmap", None)
    # Of a private map, mode "c", pages written to would be lost.
    held = isinstance(pages, mmap.mmap) and getattr(source, "mode", "") != "c"
    if held and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)

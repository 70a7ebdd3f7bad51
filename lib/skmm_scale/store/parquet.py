"""Parquet, the exchange format: a column of lists of equal length, and the ids beside it.

Nothing is computed on it: a scan of Parquet is several times slower than one of mapped files, so
that a pool is converted once. Rows lie uncompressed, for gradients do not compress, in plain types
of Arrow, which every reader of Parquet knows.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.extras import extra
from skmm_scale.store.store import Store

ROWS, ID = "rows", "id"
"""Names of the columns that are written."""

_NOTE = b"skmm"
"""Key of the file's note: how the rows were made."""

_GROUP_BYTES = 1 << 26
"""Rows that are written together: what a reader holds at least."""

_BATCH_BYTES = 1 << 23
"""Rows that are decoded together."""


def foresee_parquet(store: Store) -> tuple[float, int]:
    """Writes some of a store to a draft; returns seconds and bytes that all of it will take."""
    m = store.shape[1]
    some = min(len(store), max(1, _GROUP_BYTES // (m * store.dtype.itemsize)))
    with tempfile.TemporaryFile() as file:
        write_parquet(store, file, 1)  # brings the code to memory
    with tempfile.TemporaryFile() as file:
        begin = time.perf_counter()
        write_parquet(store, file, some)
        elapsed, written = time.perf_counter() - begin, file.tell()
    share = len(store) / some
    return elapsed * share, int(written * share)


def write_parquet(store: Store, file: Any, first: int | None = None) -> None:
    """Writes a store as one Parquet file: ``rows``, ``fixed_size_list[m]``, and ``id``.

    The precision is that of the store, bit for bit; how its rows were made is kept in the file's
    metadata.

    Args:
        store: The store.
        file: A path, or a file open for writing.
        first: How many rows are written; all unless told.

    Cost:
        One pass; memory of a row group, 64 MB.
    """
    with extra("cli", needed_by="writing Parquet"):
        import pyarrow as pa
        from pyarrow import parquet

    N, m = store.shape
    N = N if first is None else min(first, N)
    lists = pa.list_(pa.from_numpy_dtype(store.dtype), m)
    names = pa.array(store.ids(slice(0, 1))).type
    schema = pa.schema(
        [pa.field(ID, names, nullable=False), pa.field(ROWS, lists, nullable=False)],
        metadata={_NOTE: json.dumps(store.note, sort_keys=True).encode()},
    )
    step = max(1, _GROUP_BYTES // (m * store.dtype.itemsize))
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    with parquet.ParquetWriter(file, schema, write_statistics=False, **plain) as writer:
        for start in range(0, N, step):
            part = slice(start, min(start + step, N))
            rows = pa.FixedSizeListArray.from_arrays(
                pa.array(np.ascontiguousarray(store[part]).ravel()), type=lists
            )
            ids = pa.array(store.ids(part), names)
            writer.write_table(pa.table([ids, rows], schema=schema), row_group_size=step)


class ParquetRows:
    """A column of lists of numbers of equal length, read in order, a slice at a time.

    Slices that follow one another are one scan; one that goes back begins at its row group.

    Attributes:
        shape: ``(N, r)``.
        dtype: Of the entries.
        ndim: 2.
        note: How the rows were made, if a store was written to this file.

    Args:
        path: The file.
        column: Name of the column; its values are a list of ``float16``, ``float32`` or ``float64``
            in each row, all of one length.

    Raises:
        ValueError: the column is nothing of the kind.
    """

    ndim = 2

    def __init__(self, path: Path, column: str = ROWS):
        with extra("cli", needed_by="reading Parquet"):
            import pyarrow as pa
            from pyarrow import parquet

        self._path, self._column = path, column
        self._file = parquet.ParquetFile(path)
        kind = self._file.schema_arrow.field(column).type
        if not is_row_type(kind):
            raise ValueError(f"column {column!r} of {path} must hold lists of numbers, got {kind}")
        groups = range(self._file.num_row_groups)
        sizes = [self._file.metadata.row_group(g).num_rows for g in groups]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int).tolist()
        self.dtype = np.dtype(kind.value_type.to_pandas_dtype())
        self._stream: Iterator[NDArray] = iter(())
        self._at, self._left = -1, np.empty((0, 0), self.dtype)
        fixed = pa.types.is_fixed_size_list(kind)
        width = kind.list_size if fixed else self._first_width()
        self.shape = (self._starts[-1], width)
        self._batch = max(1, _BATCH_BYTES // max(width * self.dtype.itemsize, 1))

    @property
    def note(self) -> dict[str, Any] | None:
        """What the file says of how its rows were made."""
        held = (self._file.schema_arrow.metadata or {}).get(_NOTE)
        return None if held is None else json.loads(held)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice) -> NDArray[np.floating]:
        """Returns neighbouring rows, as a copy.

        Raises:
            ValueError: a list is missing or of another length.
        """
        start, stop, _ = key.indices(len(self))
        if start != self._at:
            self._begin(start)
        parts, missing = [], max(stop - start, 0)
        while missing:
            if not len(self._left):
                self._left = next(self._stream)
            parts.append(self._left[:missing])
            self._left = self._left[missing:]
            missing -= len(parts[-1])
        self._at = max(start, stop)
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), self.dtype)

    def _first_width(self) -> int:
        batch = next(self._file.iter_batches(batch_size=1, columns=[self._column]), None)
        return 0 if batch is None or not batch.num_rows else len(batch.column(0)[0] or ())

    def _begin(self, start: int) -> None:
        """Opens a scan at the row group of ``start`` and drops what comes before."""
        group = int(np.searchsorted(self._starts, start, side="right")) - 1
        groups = list(range(group, self._file.num_row_groups))
        batches = self._file.iter_batches(self._batch, row_groups=groups, columns=[self._column])
        self._stream = (self._rows(batch.column(0)) for batch in batches)
        self._left, skip = np.empty((0, self.shape[1]), self.dtype), start - self._starts[group]
        while skip >= len(self._left) and skip:
            skip -= len(self._left)
            self._left = next(self._stream)
        self._left = self._left[skip:]

    def _rows(self, column: Any) -> NDArray:
        values = column.flatten()
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        if (lengths != self.shape[1]).any() or column.null_count or values.null_count:
            raise ValueError(
                f"{self._path} must have {self.shape[1]} numbers in each row of column "
                f"{self._column!r}; some row has others, or none"
            )
        return values.to_numpy(zero_copy_only=False).reshape(len(column), self.shape[1])


def is_row_type(kind: Any) -> bool:
    """Whether an Arrow type is that of a list of floating-point numbers."""
    from pyarrow import types

    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return lists and types.is_floating(kind.value_type)

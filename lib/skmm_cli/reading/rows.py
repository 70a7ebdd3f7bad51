"""Rows of a pool that need not fit into memory: mapped, scanned, or a store; whole if need be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from skmm.numerics.extras import extra
from skmm_cli.errors import CommandError, reason
from skmm_cli.reading.arrays import map_npy
from skmm_cli.reading.files import check_file
from skmm_cli.reading.pool import ID, is_store, listed, names_of, split_pool
from skmm_cli.reading.tables import read_parquet
from skmm_scale.store import Store
from skmm_scale.store.parquet import ParquetRows, is_row_type


@dataclass(frozen=True, eq=False)
class RowsFile:
    """A pool as its file holds it, not read yet where its format allows.

    Attributes:
        rows: Features ``[N, r]`` by slices.
        ids: Names of the samples, distinct, ``[N]``; ``None`` if the file has none.
        note: How the rows were made, if the file tells.
        source: What the features are, in words.
    """

    rows: Any
    ids: NDArray | None
    note: Mapping[str, Any] | None
    source: str


def open_rows(path: Path, *, features: Sequence[str] = (), ident: str | None = None) -> RowsFile:
    """Opens a pool: of ``.npy``, a store, and Parquet with a column of lists nothing is read yet.

    Args:
        path: The file, or the folder of a store.
        features: As `read_pool`.
        ident: As `read_pool`.

    Raises:
        CommandError: as `read_pool`, but for entries that are not finite.
    """
    if is_store(path):
        store = Store(path)
        return RowsFile(store, store.ids(), store.note, "a store")
    check_file(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy" and not features and not ident:
            return RowsFile(map_npy(path), None, None, "all of it")
        if suffix == ".parquet" and (found := _lists(path, features, ident)):
            return _parquet(path, found, ident)
    except (CommandError, ImportError):
        raise
    except Exception as error:  # whatever a parser makes of a broken file
        raise CommandError(f"cannot read {path}: {reason(error)}") from error
    rows, ids, _, names = split_pool(path, features=features, ident=ident)
    return RowsFile(rows, ids, None, "all of it" if names == [""] else listed(names))


def _lists(path: Path, features: Sequence[str], ident: str | None) -> str | None:
    """Returns the column of lists that are the features, if it is plain which one."""
    with extra("cli", needed_by="reading tables"):
        from pyarrow import parquet
    schema = parquet.read_schema(path)
    named = list(features) or [f.name for f in schema if is_row_type(f.type)]
    known = set(schema.names) >= {*named, *([ident] if ident else [])}
    if len(named) == 1 and known and is_row_type(schema.field(named[0]).type):
        return named[0]
    return None


def _parquet(path: Path, column: str, ident: str | None) -> RowsFile:
    rows = ParquetRows(path, column)
    with extra("cli", needed_by="reading tables"):
        from pyarrow import parquet
    ident = ident or (ID if ID in parquet.read_schema(path).names else None)
    ids = None
    if ident is not None:
        ids = names_of(read_parquet(path, [ident])[ident], len(rows), path)
    return RowsFile(rows, ids, rows.note, repr(column))

"""Tables in: CSV, Parquet and Arrow files as arrays by column, lists of numbers as matrices."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.extras import extra
from skmm_cli.errors import CommandError


def read_csv(path: Path) -> dict[str, NDArray]:
    """Reads ``.csv``, or ``.tsv`` by tabs. Where the first line is all numbers it is no header."""
    with extra("cli", needed_by="reading tables"):
        from pyarrow import csv as reader
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = next(csv.reader(file, delimiter=delimiter), [])
    headless = all(map(_is_number, first))
    table = reader.read_csv(
        path,
        read_options=reader.ReadOptions(autogenerate_column_names=headless),
        parse_options=reader.ParseOptions(delimiter=delimiter),
        convert_options=reader.ConvertOptions(
            strings_can_be_null=True, null_values=["", "NaN", "nan"]
        ),
    )
    return _columns(table, path, names=[f"column {i}" for i in range(len(first))] * headless)


def read_parquet(path: Path, columns: list[str] | None = None) -> dict[str, NDArray]:
    """Reads ``.parquet``, or some of its columns."""
    with extra("cli", needed_by="reading tables"):
        from pyarrow import parquet
    return _columns(parquet.ParquetFile(path).read(columns), path)


def read_arrow(path: Path) -> dict[str, NDArray]:
    """Reads Arrow's file or stream format: ``.arrow`` and ``.feather``."""
    with extra("cli", needed_by="reading tables"):
        import pyarrow
    with pyarrow.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            source.seek(0)
            return _columns(pyarrow.ipc.open_file(source).read_all(), path)
        source.seek(0)
        return _columns(pyarrow.ipc.open_stream(source).read_all(), path)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(table, path: Path, names: list[str] | None = None) -> dict[str, NDArray]:
    names = names or table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CommandError(f"{path} has several columns of the name {twice[0]!r}")
    if table.num_rows == 0:
        raise CommandError(f"{path} has a header and no rows")
    pairs = zip(names, table.columns, strict=True)
    return {name: _array(name, column.combine_chunks(), path) for name, column in pairs}


def _array(name: str, column, path: Path) -> NDArray:
    """Returns one column: numbers ``[N]``, lists of numbers ``[N, d]``, anything else as text.

    A number that is missing is NaN, a text that is missing ``None``.
    """
    import pyarrow

    kind = column.type
    if isinstance(column, pyarrow.ChunkedArray):
        column = pyarrow.concat_arrays(column.chunks)
    if pyarrow.types.is_dictionary(kind):
        return _array(name, column.dictionary_decode(), path)
    if _is_list(kind):
        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise CommandError(f"{path} lacks a list at row {row} of column {name!r}")
        values = column.flatten()
        width, rest = divmod(len(values), len(column))
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        if rest or (lengths != width).any():
            row = int(np.flatnonzero(lengths != lengths[0])[0])
            raise CommandError(
                f"{path} has lists of unequal length in column {name!r}: "
                f"{lengths[0]} at row 0, {lengths[row]} at row {row}"
            )
        return _array(name, values, path).reshape(len(column), width)
    if pyarrow.types.is_decimal(kind):
        column = column.cast(pyarrow.float64())
    return column.to_numpy(zero_copy_only=False)


def _is_list(kind) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)

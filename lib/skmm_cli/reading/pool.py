"""The pool in: features ``[N, r]``, the ids of the samples, and columns of one value a sample."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_pool
from skmm_cli.errors import CommandError
from skmm_cli.reading.files import Columns, only_column, read_columns
from skmm_scale.store import Store
from skmm_scale.store.manifest import MANIFEST, RECIPE

ARRAYS = (".npy", ".npz", ".safetensors", ".pt", ".pth")
"""Suffixes of files of arrays, in which a vector alone is no pool of one feature."""

ID, INDEX = "id", "index"
"""Names of the columns that tell a sample: by its name, or by its row, counted from 0."""


@dataclass(frozen=True, eq=False)
class PoolFile:
    """A pool as its file holds it.

    Attributes:
        path: Where it was read.
        rows: Features, shape ``[N, r]``; mapped into memory where the format allows.
        ids: Names of the samples, distinct, shape ``[N]``; ``None`` if the file has none.
        columns: All that is not features: one entry a sample.
        source: What the features are, in words.
    """

    path: Path
    rows: NDArray
    ids: NDArray | None
    columns: Columns
    source: str

    @property
    def N(self) -> int:
        """Pool size."""
        return len(self.rows)

    @property
    def told(self) -> str:
        """What was taken for features, and what was not, for a user to notice a mistake."""
        others = f"; not features: {listed(self.columns)}" if self.columns else ""
        return f"{self.N} samples with {self.rows.shape[1]} features, {self.source}{others}"

    def values(self, reference: str, role: str) -> NDArray:
        """Returns one entry a sample: of the column, or of the file, that ``reference`` names.

        A table with a column ``id`` is matched to the pool's ids; any other is in the pool's order.

        Raises:
            CommandError: it is neither, or has not one entry for each sample.
        """
        if reference in self.columns:
            return np.asarray(self.columns[reference])
        path = Path(reference)
        if not path.exists():
            held = ", ".join(map(repr, self.columns)) or "none"
            raise CommandError(
                f"{role} {reference!r} is neither a file nor a column of {self.path}, "
                f"whose columns besides its features are: {held}"
            )
        values = only_column(path, besides=ID if self.ids is not None else None)
        if self.ids is not None and ID in (columns := read_columns(path)):
            places = _places(columns[ID], path)
            missing = [name for name in _text(self.ids) if name not in places]
            if missing:
                raise CommandError(f"{path} has no {role} for id {missing[0]!r}")
            return values[[places[name] for name in _text(self.ids)]]
        return values

    def one_each(self, reference: str, role: str) -> NDArray:
        """Returns `values` of shape ``[N]``.

        Raises:
            CommandError: they are not one for each sample.
        """
        values = self.values(reference, role)
        if values.shape != (self.N,):
            raise CommandError(
                f"{role} {reference!r} must have one value for each of the {self.N} samples, "
                f"but has shape {list(values.shape)}"
            )
        if len(holes := _missing(values)):
            raise CommandError(f"{role} {reference!r} lacks a value at row {holes[0]}")
        return values

    def samples(self, path: Path) -> NDArray[np.intp]:
        """Returns the rows of the samples that a file lists, by ``id`` or by ``index``.

        Raises:
            CommandError: a sample is listed twice, or is none of the pool's.
        """
        columns = read_columns(path)
        if self.ids is not None and ID in columns:
            return self._by_id(columns[ID], path)
        if INDEX in columns:
            return self._by_index(columns[INDEX], path)
        listed = only_column(path)
        if self.ids is not None and listed.dtype.kind not in "iu":
            return self._by_id(listed, path)
        return self._by_index(listed, path)

    def _by_id(self, listed: NDArray, path: Path) -> NDArray[np.intp]:
        _places(listed, path)
        places = _places(self.ids, self.path)
        rows = [places.get(name, -1) for name in _text(listed)]
        if -1 in rows:
            raise CommandError(
                f"{path} lists id {_text(listed)[rows.index(-1)]!r}, which {self.path} lacks"
            )
        return np.array(rows, dtype=np.intp)

    def _by_index(self, listed: NDArray, path: Path) -> NDArray[np.intp]:
        listed = np.asarray(listed)
        if listed.ndim != 1 or listed.dtype.kind not in "iu":
            raise CommandError(
                f"{path} must list rows of {self.path} by whole numbers, one a line, "
                f"but holds {listed.dtype} of shape {list(listed.shape)}"
            )
        outside = (listed < 0) | (listed >= self.N)
        if outside.any():
            raise CommandError(
                f"{path} lists row {listed[outside][0]}, but {self.path} has rows 0 to {self.N - 1}"
            )
        _places(listed, path)
        return listed.astype(np.intp)


def read_pool(
    path: Path, *, features: Sequence[str] = (), ident: str | None = None, taken: Iterable[str] = ()
) -> PoolFile:
    """Reads the features of a pool.

    Args:
        path: The file.
        features: Names of the columns, or the array, that hold the features. Unless given: the one
            matrix that the file holds; or, in a table without, all columns of numbers.
        ident: The column of ids; unless given, ``id`` if there is one.
        taken: Columns of numbers that are not features, for something else is made of them.

    Raises:
        CommandError: there are no features, or it is unclear which; ids come twice or are missing.
    """
    if is_store(path):
        store = Store(path)
        return PoolFile(path, check_pool(store, str(path)), store.ids(), {}, "a store")
    rows, ids, others, names = split_pool(path, features=features, ident=ident, taken=taken)
    rows = check_pool(rows, str(path))
    return PoolFile(path, rows, ids, others, listed(names) if names != [""] else "all of it")


def is_store(path: Path) -> bool:
    """Whether a path is the folder of a store, finished or begun."""
    return any(os.path.isfile(path / name) for name in (MANIFEST, RECIPE))


def split_pool(
    path: Path, *, features: Sequence[str] = (), ident: str | None = None, taken: Iterable[str] = ()
) -> tuple[NDArray, NDArray | None, Columns, list[str]]:
    """Returns features, ids, the other columns and the names of the features of `read_pool`.

    Raises:
        CommandError: as `read_pool`, but for the entries of the features.
    """
    columns, taken = dict(read_columns(path)), set(taken)
    for name in [*features, *([ident] if ident else [])]:
        if name not in columns:
            raise CommandError(f"{path} has no column {name!r}: it has {listed(columns)}")
    ident = ident or (ID if ID in columns and ID not in features else None)
    rest = [name for name in columns if name != ident and name not in taken]
    names = list(features) or _features_among(rest, columns, path)
    rows = _matrix([columns[name] for name in names], names, path)
    others = {name: array for name, array in columns.items() if name not in names}
    ids = None if ident is None else names_of(others.pop(ident), len(np.atleast_1d(rows)), path)
    return rows, ids, others, names


def names_of(column: NDArray, N: int, path: Path) -> NDArray:
    """Returns the ids of ``N`` samples, shape ``[N]``.

    Raises:
        CommandError: there are others than ``N``, one is missing or comes twice.
    """
    ids = np.asarray(column)
    if ids.shape != (N,):
        raise CommandError(f"{path} has {N} rows, but ids of shape {list(ids.shape)}")
    if len(holes := _missing(ids)):
        raise CommandError(f"{path} has no id at row {holes[0]}")
    _places(ids, path)
    return ids


def _features_among(names: list[str], columns: Columns, path: Path) -> list[str]:
    """Returns the columns that are features, where nobody said which."""
    if names == [""]:  # an array without a name is all that there is
        return names
    matrices = [name for name in names if columns[name].ndim != 1 and _is_numeric(columns[name])]
    if len(matrices) > 1:
        raise CommandError(
            f"{path} holds several matrices: say which by --columns, one of {listed(matrices)}"
        )
    if matrices:
        return matrices
    numbers = [name for name in names if _is_numeric(columns[name])]
    for name in names:
        if columns[name].dtype == object:
            _refuse_broken_numbers(name, columns[name], path)
    if not numbers:
        raise CommandError(f"{path} holds no numbers to take for features: it has {listed(names)}")
    return numbers


def _refuse_broken_numbers(name: str, column: NDArray, path: Path) -> None:
    """Refuses a column of numbers, some of which are none: left out, nobody would notice."""
    bad = [row for row, cell in enumerate(column.tolist()) if not _is_number(cell)]
    if 0 < len(bad) <= len(column) // 2:
        raise CommandError(
            f"{path} has {column[bad[0]]!r} among numbers, at row {bad[0]} of column {name!r}: "
            "mend it, or name the features by --columns"
        )


def _is_number(cell: object) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def _missing(values: NDArray) -> NDArray[np.intp]:
    """Returns where there is no value."""
    if values.dtype.kind == "f":
        return np.flatnonzero(np.isnan(values))
    if values.dtype != object:
        return np.zeros(0, dtype=np.intp)
    return np.array([row for row, value in enumerate(values) if value is None], dtype=np.intp)


def _is_numeric(array: NDArray) -> bool:
    return array.dtype.kind in "fiub"


def _matrix(parts: list[NDArray], names: list[str], path: Path) -> NDArray:
    """Returns the features as one matrix, without a copy if they are one."""
    if len(parts) == 1 and (parts[0].ndim != 1 or path.suffix.lower() in ARRAYS):
        return parts[0]
    if wrong := [name for name, part in zip(names, parts, strict=True) if part.ndim != 1]:
        raise CommandError(f"column {wrong[0]!r} of {path} is a matrix: it must be the only one")
    if text := [name for name, part in zip(names, parts, strict=True) if not _is_numeric(part)]:
        raise CommandError(f"column {text[0]!r} of {path} holds no numbers")
    if len({len(part) for part in parts}) > 1:
        raise CommandError(f"{path} holds arrays of different lengths: {listed(names)}")
    single = all(part.dtype.kind == "f" and part.dtype.itemsize <= 4 for part in parts)
    rows = np.empty((len(parts[0]), len(parts)), np.float32 if single else np.float64)
    for j, part in enumerate(parts):
        rows[:, j] = part
    return rows


def _places(names: NDArray, path: Path) -> dict[str, int]:
    """Returns where each name stands.

    Raises:
        CommandError: one comes twice.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(_text(names)):
        if (first := places.setdefault(name, place)) != place:
            raise CommandError(f"{path} has {name!r} twice, at rows {first} and {place}")
    return places


def _text(names: NDArray) -> list[str]:
    return [str(name) for name in names.tolist()]


def listed(names: Iterable[str]) -> str:
    """Returns names as they are told: some of them, if they are many."""
    names = [repr(name) for name in names]
    return ", ".join(names if len(names) <= 6 else [*names[:3], "...", names[-1]])

"""The rows of a grid, one a finished cell, in a database that no crash can tear."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from skmm_study.storage.files import claim
from skmm_study.storage.keys import digest

FILE = "cells.sqlite"
_TABLE = """
    CREATE TABLE IF NOT EXISTS cells (
        method TEXT, n INTEGER, seed INTEGER, depends TEXT,
        results TEXT NOT NULL, costs TEXT NOT NULL, checksum TEXT NOT NULL,
        PRIMARY KEY (method, n, seed, depends)
    )"""
_OF_CELL = "WHERE (method, n, seed, depends) = (?, ?, ?, ?)"


@dataclass(frozen=True, order=True)
class Cell:
    """One trial.

    Attributes:
        method: the name that its row bears.
        n: budget.
        seed: repeat.
        depends: digest of what this cell alone depends on beside the grid's key, such as the
            method's knobs or the subset that is evaluated.
    """

    method: str
    n: int
    seed: int
    depends: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a cell found.

    Attributes:
        values: column -> JSON value; the same in every run.
        costs: column -> measured seconds or memory; never the same twice.
    """

    values: Mapping[str, Any]
    costs: Mapping[str, float]


class Rows:
    """The finished cells of one grid; a row, or a whole database, that is damaged is as none.

    Any number of processes may have the same rows open, and be killed with them.

    Args:
        home: folder of the grid; ``None`` keeps the rows for as long as this object.

    Warns:
        RuntimeWarning: the database is damaged; it is put aside, as ``damaged-cells.sqlite``.
    """

    def __init__(self, home: Path | None):
        self._home = home
        if home is None:
            self._open(":memory:")
            return
        path = home / FILE
        with claim(home / "open.lock", wait=True):
            try:
                self._open(path)
            except sqlite3.OperationalError:  # such as a disk that is full
                raise
            except sqlite3.DatabaseError as error:
                _warn(f"{path} is damaged ({error}); measuring all of its cells again")
                for file in home.glob(f"{FILE}*"):
                    file.replace(home / f"damaged-{file.name}")
                self._open(path)

    def _open(self, path: str | Path) -> None:
        self._database = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(_TABLE)
        (found,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)

    def get(self, cell: Cell) -> Outcome | None:
        """Returns the row of a cell, if there is one; a damaged one goes, with a warning."""
        query = f"SELECT results, costs, checksum FROM cells {_OF_CELL}"
        row = self._database.execute(query, astuple(cell)).fetchone()
        if row is None:
            return None
        *parts, checksum = row
        if digest([asdict(cell), *parts]) != checksum:
            _warn(f"the row of {cell} in {self._home} is damaged; measuring this cell again")
            query = f"DELETE FROM cells {_OF_CELL} AND checksum = ?"
            self._database.execute(query, (*astuple(cell), checksum))
            return None
        return Outcome(*map(json.loads, parts))

    def put(self, cell: Cell, outcome: Outcome) -> None:
        """Keeps the row of a cell, on the disk when this returns; the first one stays."""
        parts = [json.dumps(dict(part)) for part in (outcome.values, outcome.costs)]
        row = (*astuple(cell), *parts, digest([asdict(cell), *parts]))
        self._database.execute("INSERT OR IGNORE INTO cells VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def among(self, cells: Iterable[Cell]) -> int:
        """Returns how many of ``cells`` have a row."""
        query = "SELECT method, n, seed, depends FROM cells"
        return len({astuple(cell) for cell in cells} & set(self._database.execute(query)))

    def claim(self, cell: Cell) -> AbstractContextManager[bool]:
        """Holds a cell for a block, if no other process does; see `claim` of files."""
        if self._home is None:
            return nullcontext(True)
        return claim(self._home / f"{digest(asdict(cell))[:20]}.lock")

    def close(self) -> None:
        """Ends the connection."""
        self._database.close()


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)

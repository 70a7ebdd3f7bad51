"""The committed tables that statements are judged by, and whether the code has changed since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skmm_study.execution.notebook_source import code_digest, read_source

if TYPE_CHECKING:
    import pandas as pd

FULL = "paper/"
"""Where the full study keeps its tables, in the folder of the default ones."""


@dataclass(frozen=True)
class Source:
    """Tables of one run of the study.

    Attributes:
        frames: in the order they were asked for.
        paths: of the tables, below the root of the project.
        earlier: whether a notebook's code has changed since it wrote them.
    """

    frames: tuple[pd.DataFrame, ...]
    paths: tuple[str, ...]
    earlier: bool


class Evidence:
    """What a project has committed below ``figures/``.

    Args:
        root: folder of the project, with ``figures/`` and ``notebooks/``.

    Raises:
        ValueError: ``root`` has no such folders.
    """

    def __init__(self, root: Path):
        self._root = Path(root)
        for name in ("figures", "notebooks"):
            if not (self._root / name).is_dir():
                raise ValueError(
                    f"root must be the folder of the project, got {str(root)!r} without {name}/"
                )
        self._read: dict[str, pd.DataFrame] = {}
        self._earlier: dict[Path, bool] = {}

    @property
    def files(self) -> dict[str, Path]:
        """Every table read so far, by its path below the root."""
        return {path: self._root / path for path in sorted(self._read)}

    def find(self, tables: Sequence[str], *, run: str = "") -> Source | None:
        """Returns tables of the best run that has all of them, or nothing.

        Best is the full study if its notebook is the one of today, then the default run if its
        notebook is, then the full study of an earlier version, then the default run of one. Tables
        of one run are never mixed with another's.

        Args:
            tables: like ``"04_fast_rate/rates.csv"``; ``provenance.json`` is read as one row, the
                parameters of the run.
            run: ``"full"`` or ``"default"`` for that one alone, whose data the other has not.
        """
        runs = []
        for prefix in {"full": (FULL,), "default": ("",)}.get(run, (FULL, "")):
            paths = tuple(f"figures/{prefix}{table}" for table in tables)
            if all((self._root / path).is_file() for path in paths):
                runs.append((any(map(self._is_earlier, paths)), paths))
        if not runs:
            return None
        earlier, paths = min(runs, key=lambda run: run[0])  # the first of equals
        return Source(tuple(map(self._table, paths)), paths, earlier)

    def _table(self, path: str) -> pd.DataFrame:
        import pandas as pd

        if path not in self._read:
            if path.endswith(".json"):
                frame = pd.DataFrame([self._record(path)["parameters"]])
            else:
                frame = pd.read_csv(self._root / path)
            self._read[path] = frame
        return self._read[path]

    def _record(self, path: str) -> dict[str, Any]:
        file = (self._root / path).parent / "provenance.json"
        return json.loads(file.read_text(encoding="utf-8"))

    def _is_earlier(self, path: str) -> bool:
        folder = Path(path).parent
        if folder not in self._earlier:
            record = self._record(path)["notebook"]
            notebook = self._root / "notebooks" / f"{record['name']}.ipynb"
            # A table of a notebook that is gone is of an earlier version, too.
            same = (
                notebook.is_file() and code_digest(read_source(notebook)) == record["code_sha256"]
            )
            self._earlier[folder] = not same
        return self._earlier[folder]

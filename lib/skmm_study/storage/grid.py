"""Long studies in small steps: each finished cell is a durable row, so any interruption is free."""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from skmm.numerics.inputs import check_integer
from skmm_study.storage.arrays import write_bytes

if TYPE_CHECKING:
    import pandas as pd

_WAIT = 0.1
"""Seconds between looks at cells that other processes hold."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_KEY_BYTE = 1 << 61
"""The byte of the claims that guards the key: beyond those of all cells."""


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


@dataclass(frozen=True, eq=False)
class Grid:
    """The rows of all cells, sorted by method, n and seed.

    Attributes:
        results: ``method``, ``n``, ``seed`` and the columns of `Outcome.values`.
        costs: ``method``, ``n``, ``seed`` and the columns of `Outcome.costs`.
    """

    results: pd.DataFrame
    costs: pd.DataFrame


def digest(content: Any) -> str:
    """SHA-256 of JSON values; the order of a mapping's keys does not matter."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def run_grid(
    measure: Callable[[Cell], Outcome],
    cells: Iterable[Cell],
    *,
    folder: str | os.PathLike,
    name: str,
    key: Mapping[str, Any],
    workers: int = 1,
    progress: bool = True,
) -> Grid:
    r"""Measures every cell that has no row yet, and returns the rows of all of them.

    A row is a file of its own, which appears whole or not at all: unlike the lines of a shared log
    it cannot be torn, and its name is the cell, so it cannot be there twice. A process that works
    on a cell holds a lock on that cell's byte of one empty file; the kernel frees it when the
    process ends, however it ends, so that no claim is ever stale. Any number of processes on one
    machine may run the same grid, or different parts of it, at once; each returns when all of its
    cells are there. POSIX only; processes, not threads.

    Args:
        measure: does the work of a cell; must depend on nothing but the cell and ``key``. With
            ``workers`` above 1 it is sent to them by pickle.
        cells: the cells, in the order of work.
        folder: holds the rows of many grids, one subfolder a ``name`` and ``key``.
        name: what the grid is, for people who look into the folder.
        key: everything that all rows depend on, as JSON values: recipe, data, code. A change of
            it starts a new subfolder, so rows that do not belong together never meet.
        workers: processes, of one thread each. 1 works in this process.
        progress: whether to draw a bar with the time left.

    Returns:
        The rows, the same whether the run was interrupted or not.

    Raises:
        ValueError: a cell is given twice, or there is none.
        RuntimeError: all workers died, or a cell failed in one; finished rows are kept.
    """
    cells = list(cells)
    workers = check_integer(workers, "workers", low=1, hint="one a core is usual")
    if not cells or len(set(cells)) < len(cells):
        raise ValueError(f"cells must be distinct, at least one, got {len(cells)}")
    home = Path(folder) / f"{name}-{digest(key)[:20]}"
    _write_key(home, key)
    rows = {cell: row for cell in cells if (row := _read(home, cell)) is not None}
    missing = [cell for cell in cells if cell not in rows]
    # No bar, no tqdm: its lock is shared by forks, and one killed while holding it blocks them all.
    bar = tqdm(total=len(cells), initial=len(rows), desc=name, unit="cell") if progress else None
    with bar or nullcontext():

        def show(left: int) -> None:
            if bar is not None:
                bar.update(len(cells) - left - bar.n)

        if workers == 1 or len(missing) < 2:
            _work(measure, missing, home, show)
        else:
            _share(measure, missing, home, show, min(workers, len(missing)))
    rows |= {cell: _read(home, cell) for cell in missing}
    return _tables(rows)


def _tables(rows: Mapping[Cell, dict]) -> Grid:
    import pandas as pd

    def table(part: str) -> pd.DataFrame:
        places = [{"method": cell.method, "n": cell.n, "seed": cell.seed} for cell in sorted(rows)]
        return pd.DataFrame(
            [at | rows[cell][part] for at, cell in zip(places, sorted(rows), strict=True)]
        )

    return Grid(table("values"), table("costs"))


def _write_key(home: Path, key: Any) -> None:
    """Notes what the rows depend on, once; removes what a killed process left of that."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "claims").open("a") as claims:
        fcntl.lockf(claims, fcntl.LOCK_EX, 1, _KEY_BYTE)
        for orphan in home.glob("key.json.*.partial"):
            orphan.unlink()
        if not (home / "key.json").exists():
            write_bytes(home / "key.json", json.dumps(key, indent=2, sort_keys=True).encode())


def _path(home: Path, cell: Cell) -> Path:
    plain = re.sub(r"[^a-z0-9]+", "_", cell.method.lower())
    return home / f"{plain}-{cell.n}-{cell.seed}-{digest(asdict(cell))[:16]}.json"


def _read(home: Path, cell: Cell) -> dict | None:
    path = _path(home, cell)
    try:
        row = json.loads(path.read_bytes())
        if row["cell"] != asdict(cell) or not {"values", "costs"} <= row.keys():
            raise ValueError("it is of another cell")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"{path} is damaged ({error}); measuring this cell again", RuntimeWarning, stacklevel=3
        )
        return None
    return row


def _work(
    measure: Callable[[Cell], Outcome],
    cells: Sequence[Cell],
    home: Path,
    show: Callable[[int], None] = lambda left: None,
) -> None:
    """Measures cells that nobody else holds, until there is a row of each."""
    missing, parent = list(cells), multiprocessing.parent_process()
    with (home / "claims").open("a") as claims:
        while missing:
            worked = False
            for cell in missing:
                if parent is not None and not parent.is_alive():
                    return
                with _claim(claims, cell) as mine:
                    if mine and _read(home, cell) is None:
                        worked = True
                        _measure(measure, cell, home)
                        show(sum(not _path(home, cell).exists() for cell in cells))
            missing = [cell for cell in missing if _read(home, cell) is None]
            show(len(missing))
            if missing and not worked:
                time.sleep(_WAIT)


def _measure(measure: Callable[[Cell], Outcome], cell: Cell, home: Path) -> None:
    path = _path(home, cell)
    for orphan in home.glob(f"{path.name}.*.partial"):
        orphan.unlink()
    try:
        outcome = measure(cell)
        row = {"cell": asdict(cell), "values": dict(outcome.values), "costs": dict(outcome.costs)}
        content = json.dumps(row)
    except Exception as error:
        error.add_note(f"in {cell}")
        raise
    write_bytes(path, content.encode())


@contextmanager
def _claim(claims: TextIOWrapper, cell: Cell) -> Iterator[bool]:
    """Holds the byte of ``cell`` for this block, unless another process does."""
    # Locks may lie beyond the end of a file: it stays empty, and bytes of two cells do not meet.
    byte = int(digest(asdict(cell))[:15], 16)
    try:
        fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):
        yield False
        return
    try:
        yield True
    finally:
        fcntl.lockf(claims, fcntl.LOCK_UN, 1, byte)


def _share(
    measure: Callable[[Cell], Outcome],
    cells: Sequence[Cell],
    home: Path,
    show: Callable[[int], None],
    workers: int,
) -> None:
    """Lets processes work on the cells; ends them all if one fails or this one is interrupted."""
    context = multiprocessing.get_context("spawn")
    failures = context.SimpleQueue()
    arguments = (measure, cells, home, failures)
    team = [context.Process(target=_serve, args=arguments, daemon=True) for _ in range(workers)]
    try:
        with _one_thread():
            for process in team:
                process.start()
        while any(process.is_alive() for process in team) and failures.empty():
            show(sum(not _path(home, cell).exists() for cell in cells))
            time.sleep(_WAIT)
        if not failures.empty():
            raise RuntimeError(f"a cell failed in a worker:\n{failures.get()}")
    finally:
        for process in team:
            if process.pid is not None:
                process.terminate()
                process.join()
    if left := sum(_read(home, cell) is None for cell in cells):
        codes = sorted({process.exitcode for process in team})
        raise RuntimeError(
            f"all workers ended with {left} cells left, exit codes {codes} (-9: killed, often for "
            "want of memory); run the grid again to go on, with fewer workers if need be"
        )


def _serve(measure, cells, home, failures) -> None:
    try:
        _work(measure, cells, home)
    except BaseException:
        failures.put(traceback.format_exc())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Has processes that are started in this block use one thread each for linear algebra."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

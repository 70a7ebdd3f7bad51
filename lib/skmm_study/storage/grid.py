"""Long studies in small steps: each finished cell is a durable row, so any interruption is free."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from skmm.numerics.inputs import check_integer
from skmm_study.storage.folder import keyed_folder
from skmm_study.storage.rows import Cell, Outcome, Rows

if TYPE_CHECKING:
    import pandas as pd

Measure = Callable[[Cell], Outcome]
Show = Callable[[], None]

_WAIT = 0.1
"""Seconds between looks at cells that other processes hold."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, eq=False)
class Grid:
    """The rows of all cells, sorted by method, n and seed.

    Attributes:
        results: ``method``, ``n``, ``seed`` and the columns of `Outcome.values`.
        costs: ``method``, ``n``, ``seed`` and the columns of `Outcome.costs`.
    """

    results: pd.DataFrame
    costs: pd.DataFrame


def run_grid(
    measure: Measure,
    cells: Iterable[Cell],
    *,
    folder: str | os.PathLike | None,
    name: str,
    key: Mapping[str, Any],
    workers: int = 1,
    progress: bool = True,
) -> Grid:
    r"""Measures every cell that has no row yet, and returns the rows of all of them.

    Rows are kept in a database, one a grid, where a row is whole or absent. A process that works on
    a cell holds a lock that ends with it, so that no claim is ever stale. Any number of processes
    on one machine may run the same grid, or different parts of it, at once; each returns when all
    of its cells are there. Processes, not threads.

    Args:
        measure: does the work of a cell; must depend on nothing but the cell and ``key``. With
            ``workers`` above 1 it is sent to them by pickle.
        cells: the cells, in the order of work.
        folder: holds many grids, one subfolder a ``name`` and ``key``; ``None`` keeps nothing, and
            all cells are measured in this process.
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

    Warns:
        RuntimeWarning: rows are damaged; they are measured again.
    """
    cells = list(cells)
    workers = check_integer(workers, "workers", low=1, hint="one a core is usual")
    if not cells or len(set(cells)) < len(cells):
        raise ValueError(f"cells must be distinct, at least one, got {len(cells)}")
    home = None if folder is None else keyed_folder(folder, name, key)
    with closing(Rows(home)) as rows:
        missing = [cell for cell in cells if rows.get(cell) is None]
        # No bar, no tqdm: its lock is shared by forks, and one killed with it blocks them all.
        known = {"total": len(cells), "initial": len(cells) - len(missing)}
        bar = tqdm(desc=name, unit="cell", **known) if progress else None

        def show() -> None:
            if bar is not None:
                bar.update(rows.among(cells) - bar.n)

        with bar or nullcontext():
            if home is None or workers == 1 or len(missing) < 2:
                _work(measure, missing, rows, show)
            else:
                _share(measure, missing, home, min(workers, len(missing)), show)
        return _tables({cell: rows.get(cell) for cell in cells})


def _tables(rows: Mapping[Cell, Outcome]) -> Grid:
    import pandas as pd

    def table(part: str) -> pd.DataFrame:
        return pd.DataFrame(
            {"method": cell.method, "n": cell.n, "seed": cell.seed, **getattr(rows[cell], part)}
            for cell in sorted(rows)
        )

    return Grid(table("values"), table("costs"))


def _work(measure: Measure, cells: Sequence[Cell], rows: Rows, show: Show) -> None:
    """Measures cells that nobody else holds, until there is a row of each."""
    missing, parent = list(cells), multiprocessing.parent_process()
    while missing:
        worked = False
        for cell in missing:
            if parent is not None and not parent.is_alive():
                return
            with rows.claim(cell) as mine:
                if mine and rows.get(cell) is None:
                    worked = True
                    _measure(measure, cell, rows)
                    show()
        missing = [cell for cell in missing if rows.get(cell) is None]
        show()
        if missing and not worked:
            time.sleep(_WAIT)


def _measure(measure: Measure, cell: Cell, rows: Rows) -> None:
    try:
        rows.put(cell, measure(cell))
    except Exception as error:
        error.add_note(f"in {cell}")
        raise


def _share(measure: Measure, cells: Sequence[Cell], home: Path, workers: int, show: Show) -> None:
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
            show()
            time.sleep(_WAIT)
        if not failures.empty():
            raise RuntimeError(f"a cell failed in a worker:\n{failures.get()}")
    finally:
        for process in team:
            if process.pid is not None:
                process.terminate()
                process.join()
    with closing(Rows(home)) as rows:
        left = len(cells) - rows.among(cells)
    if left:
        codes = sorted({process.exitcode for process in team})
        raise RuntimeError(
            f"all workers ended with {left} cells left, exit codes {codes} (-9: killed, often for "
            "want of memory); run the grid again to go on, with fewer workers if need be"
        )


def _serve(measure, cells, home, failures) -> None:
    try:
        with closing(Rows(home)) as rows:
            _work(measure, cells, rows, lambda: None)
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

"""What choosing costs as pools grow: processor time of each stage and peak memory, by process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skmm.numerics.inputs import check_choice
from skmm.selection.selectors.stratified import is_large
from skmm_cli import forecast
from skmm_study.pools.written import write_pool
from skmm_study.storage.code import code_behind
from skmm_study.storage.grid import run_grid
from skmm_study.storage.keys import arithmetic
from skmm_study.storage.rows import Cell, Outcome
from skmm_study.trials.gauge import gauge
from skmm_study.trials.stages import staged_choice

if TYPE_CHECKING:
    import pandas as pd

CRITERIA = ("balanced", "diagonal", "full")


@dataclass(frozen=True, order=True)
class Size:
    """Of a pool and of what is chosen from it: N rows of m numbers, and n of them."""

    N: int
    n: int
    m: int


def scaling_trials(
    sizes: Iterable[Size],
    criteria: Iterable[str],
    *,
    folder: str | os.PathLike | None,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Chooses from a pool on disk at every size by every criterion, each in a process of its own.

    So no choice finds memory that another one left behind, and its peak is that of a program that
    does nothing else. Rows are in single precision, in a temporary file that is mapped.

    Args:
        sizes: of more rows than can all be compared with each other.
        criteria: some of `CRITERIA`.
        folder: keeps finished sizes; see `run_grid`.
        seed: of pool and choice.

    Returns:
        Two tables of one row a size and criterion, with ``criterion``, ``N``, ``n``, ``m``. The
        first has ``coverage`` and ``fourth``, estimated on a part of the pool; 1 is a uniform
        draw. The second has processor seconds of each stage, ``seconds`` of all and ``peak_mb``,
        10⁶ bytes that the process held, beside ``announced_seconds`` and ``announced_mb``.

    Raises:
        ValueError: a criterion is unknown, or a pool too small to be cut into cells.
    """
    sizes, criteria = sorted(set(sizes)), list(criteria)
    for criterion in criteria:
        check_choice(criterion, "a name in criteria", CRITERIA)
    if small := [size.N for size in sizes if not is_large(size.N)]:
        raise ValueError(
            f"sizes must have pools that are cut into cells, got N = {small[0]}; take more rows"
        )
    of = {
        Cell(criterion, size.n, seed, f"N = {size.N}, m = {size.m}"): size
        for size in sizes
        for criterion in criteria
    }
    key = {"code": code_behind(__name__), **arithmetic()}
    grid = run_grid(lambda cell: _apart(cell, of[cell]), of, folder=folder, name="scaling", key=key)
    values, costs = (
        part.rename(columns={"method": "criterion"}).drop(columns="seed")
        for part in (grid.results, grid.costs)
    )
    costs.insert(1, "N", values["N"])
    costs.insert(3, "m", values["m"])
    return values, costs


def _apart(cell: Cell, size: Size) -> Outcome:
    """Writes a pool, and measures one choice from it in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_pool(path, size.N, size.m, seed=cell.seed)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            given = {"criterion": cell.method, "seed": cell.seed}
            indices, costs = process.submit(staged_choice, path, size.n, **given).result()
        quality = gauge(path, indices)
    announced = {
        "announced_seconds": forecast.seconds("skmm", size.N, size.m, size.m, size.n, cell.method),
        "announced_mb": forecast.megabytes(size.N, size.m, size.n, cell.method),
    }
    return Outcome({"N": size.N, "m": size.m, **quality}, costs | announced)


def exponents(trials: pd.DataFrame, along: str, columns: Iterable[str]) -> pd.DataFrame:
    r"""Fits :math:`\log t = a + b \log x` by least squares, criterion by criterion.

    Args:
        trials: rows that differ in ``along`` alone, of each ``criterion`` three or more.
        along: ``N``, ``n`` or ``m``.
        columns: values of t; where any is 0, as a stage that does not run, there is no fit.

    Returns:
        ``criterion``, ``along``, ``stage`` (the column without its ending), ``exponent`` and its
        standard ``error``.

    Raises:
        ValueError: fewer than three sizes of a criterion.
    """
    import pandas as pd
    from scipy import stats

    found = []
    for criterion, part in trials.groupby("criterion"):
        if part[along].nunique() < 3:
            raise ValueError(
                f"trials must have three sizes or more of {along} for an error, got "
                f"{part[along].nunique()} of {criterion}"
            )
        for column in columns:
            if (part[column] > 1e-3).all():
                fit = stats.linregress(np.log(part[along]), np.log(part[column]))
                row = {"criterion": criterion, "along": along}
                row["stage"] = column.removesuffix("_seconds").replace("seconds", "all")
                found.append(row | {"exponent": fit.slope, "error": fit.stderr})
    return pd.DataFrame(found)

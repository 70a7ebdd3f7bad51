"""How fast this machine is, measured before a choice: a product, a sweep, and a small choice."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.threads import one_thread, share
from skmm.selection.selectors.balance import Balance, Ends
from skmm.selection.selectors.coordinates import Metric
from skmm.selection.selectors.seams import AROUND, Patch, mend
from skmm.selection.selectors.stratified import Cell, choose_in
from skmm.spectrum import Spectrum

ROWS = 1_500
"""Rows of the pool that is chosen from in a rehearsal, which takes a tenth of a second or two."""

_SIDE, _ENTRIES = 384, 1 << 18
"""Side of the product's factors, and entries of what is swept over: 1 and 2 MB."""

_REPEATS = 5


@cache
def product() -> float:
    """Returns the seconds that a multiplication takes in a product of matrices, on one thread."""
    square = np.ones((_SIDE, _SIDE))
    with one_thread():
        return _least(lambda: square @ square) / _SIDE**3


@cache
def sweep() -> float:
    """Returns the seconds that a pass over an array takes for each entry, while it is in cache."""
    entries = np.linspace(-1.0, 1.0, _ENTRIES)
    return _least(lambda: np.maximum(entries, 0.0, out=entries)) / _ENTRIES


@cache
def pair(criterion: str, m: int, rows: int, n: int, threads: int) -> float:
    """Returns the seconds that a choice from a cell takes for each pair of its rows.

    It is made by what makes the others, from a compact group of rows, a Gaussian of spectrum 1/j
    about a mean as far from 0: descents there take about as many swaps as in cells of features. On
    as many threads at once as cells are chosen from, for these share the memory.

    Args:
        criterion: ``balanced`` or ``fourth``.
        m: Numbers of a row.
        rows: Rows of the cell, a thousand or two: of more, a pair takes about as long.
        n: Samples to choose from it.
        threads: Cells that are chosen from at once.
    """
    drawn, metric = _group(m, rows)
    nothing = np.zeros(0, dtype=np.intp)
    cell = Cell(np.arange(rows), n, nothing, metric, criterion, 1.0, 10.0 * n / rows, 0)
    return _on_threads(lambda: choose_in(drawn, cell), threads) / rows**2


@cache
def mended_pair(m: int, rows: int, n: int, cells: int, threads: int) -> float:
    """Returns the seconds that mending a cell takes for each pair of its rows, as `pair` does.

    From greedy coverage, beside as many samples as so many cells around it have, and as many rows
    that it serves as a tenth of its own.
    """
    others = n * min(cells - 1, AROUND)
    drawn, metric = _group(m, rows + rows // 10 + others)
    served, rest = np.split(np.arange(rows, len(drawn)), [rows // 10])
    inside = metric(drawn[:rows])
    balance = Balance.of(inside, n, sigma=1.0, weight=10.0 * n / rows)
    patch = Patch(
        members=np.arange(len(drawn)),
        cell=np.arange(rows),
        served=served,
        own=np.sort(balance.start),
        others=rest,
        kept=np.zeros(0, dtype=np.intp),
        metric=metric,
        sigma=1.0,
        weights=_weights(balance.ends, balance.weight),
    )
    return _on_threads(lambda: mend(drawn, patch), threads) / rows**2


def _weights(ends: Ends, weight: float) -> tuple[float, float]:
    """Returns what makes regrets of what is not covered and of the squared distance."""
    coverage, moment = (end.chance - end.best for end in ends)
    return 1.0 / coverage if coverage else 0.0, weight / moment if moment else 0.0


def _group(m: int, rows: int) -> tuple[NDArray[np.float64], Metric]:
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((rows, m)) + rng.standard_normal(m)
    drawn /= np.sqrt(np.arange(1, m + 1))
    return drawn, Metric("row", Spectrum.of(drawn))


def _on_threads(work: Callable[[], object], threads: int) -> float:
    """Returns the mean time of so many at once."""
    taken = share(lambda _: _least(work, repeats=2), list(range(threads)))
    return float(np.mean(taken))


def _least(work: Callable[[], object], *, repeats: int = _REPEATS) -> float:
    """Returns the least processor time of some repeats: what others do at the time counts less."""
    times = []
    for _ in range(repeats):
        begin = time.thread_time()
        work()
        times.append(time.thread_time() - begin)
    return max(min(times), 1e-9)

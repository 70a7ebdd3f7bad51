"""How fast this machine is, measured before a choice: a product, a sweep, and a small choice."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import numpy as np

from skmm.numerics.threads import one_thread, share
from skmm.selection.selectors.coordinates import Metric
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
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((rows, m)) + rng.standard_normal(m)
    drawn /= np.sqrt(np.arange(1, m + 1))
    nothing, metric = np.zeros(0, dtype=np.intp), Metric("row", Spectrum.of(drawn))
    cell = Cell(np.arange(rows), n, nothing, metric, criterion, 1.0, 10.0 * n / rows, 0)

    def once(_: int) -> float:
        return _least(lambda: choose_in(drawn, cell), repeats=2)

    return float(np.mean(share(once, list(range(threads))))) / rows**2


def _least(work: Callable[[], object], *, repeats: int = _REPEATS) -> float:
    """Returns the least processor time of some repeats: what others do at the time counts less."""
    times = []
    for _ in range(repeats):
        begin = time.thread_time()
        work()
        times.append(time.thread_time() - begin)
    return max(min(times), 1e-9)

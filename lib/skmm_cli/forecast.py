"""What a selection will take: operations by method over this machine's speed, and its memory."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from skmm.selection.selectors.candidates import candidate_count
from skmm.selection.selectors.stratified import cell_size, is_large, largest_cell, rows_seen

_OVERHEAD = 0.2
"""Seconds that any selection takes."""

_PAIRS = ("facility_location", "kernel_herding", "kernel_thinning", "max_herding", "prob_cover")
"""Methods that compare all pairs of rows a few times."""


_BY_CANDIDATES = ("combined", "diagonal", "full", "v-optimal")
"""Criteria of the default that large pools are matched by through candidates."""

_DOUBLE = 5_792
"""Rows of which similarities are held in double precision."""

_BASE, _SCAN = 90.0, 192.0
"""Megabytes of a process that has done nothing yet, and of a block of rows on its way to a sum."""


def seconds(method: str, N: int, r: int, m: int, n: int, criterion: str = "auto") -> float:
    """Forecasts the wall time of `skmm.select`; within a factor of three on ordinary pools.

    The default's on large pools is nearer: they are cut into cells of known sizes.

    Args:
        method: The method; of one that is unknown here, the cost of a pass over the pool a sample.
        N: Pool size.
        r: Feature dimension.
        m: Sketch size.
        n: Budget.
        criterion: Of the default; that which ``auto`` comes to is known after a look at the pool,
            and the dearest stands for it.
    """
    sketch = N * r * m * (m < r) + N * m * m
    if method == "skmm" and is_large(N):
        matching = _large_operations(criterion, N, m, n)
    else:
        matching = _operations(method, N, r, m, n)
    return _OVERHEAD + (sketch + matching) / _speed()


def megabytes(N: int, m: int, n: int, criterion: str = "auto") -> float:
    """Forecasts the peak memory of the default on a large pool that stays on disk.

    In cells: what the largest holds of similarities, on each thread at once. By candidates: their
    rows in double precision, three times, and what they are to the subset where that is held; for
    ``diagonal``, which holds none, it is too much. Besides, a few numbers for each row of the pool.

    Args:
        N: Pool size.
        m: Sketch size, where rows are not sketched; a sketch of them takes N m numbers more.
        n: Budget.
        criterion: As in `seconds`.
    """
    if criterion in _BY_CANDIDATES:
        rows = candidate_count(N, n)
        kernel = n * rows if n * rows <= max(_DOUBLE**2, rows * m) else 0
        held = 24.0 * rows * m + 8.0 * kernel + 10.0 * N
    else:
        largest = largest_cell(rows_seen(N, n))
        each = 8.8 if largest <= _DOUBLE else 4.4  # larger ones in single precision
        held = _threads() * each * largest**2 + 200.0 * N
    return _BASE + max(held / 1e6, _SCAN)


def _large_operations(criterion: str, N: int, m: int, n: int) -> float:
    """Multiplications that the default takes for a large pool, on one thread."""
    if criterion in _BY_CANDIDATES:
        rows = candidate_count(N, n)
        return 1.6 * (4e6 * n + n / 100 * rows * m * m + N * m * (m + 500.0))
    seen = rows_seen(N, n)
    return seen * cell_size(seen) * (1.5 * m + 900.0) / _threads() + 2.0 * N * m * (m + 500.0)


def _operations(method: str, N: int, r: int, m: int, n: int) -> float:
    """Multiplications of a method beyond the sketch and its spectrum, with measured constants.

    Where all pairs of rows are compared, what is done with a similarity costs more than to make it.
    """
    if method == "skmm":
        return N**2 * (2.0 * m + 1000.0)
    if method in ("uniform", "class_balanced"):
        return 0.0
    if method == "skmm_paper":
        return 20.0 * N * m * m
    if method in ("leverage", "ridge_leverage", "covariance_matching"):
        return 4.0 * N * r * min(N, r)
    if method == "k_medoids":
        return N * N * (2.0 * r + 600.0)
    if method in _PAIRS:
        return N * N * (r + 300.0)
    if method in ("k_means", "typiclust"):
        return 15.0 * N * r * n
    if method == "active_ft":
        return 300.0 * N * r * n
    return 4.0 * N * r * n


@cache
def _threads() -> int:
    """Threads of linear algebra, as many of which cells are chosen in at once."""
    from threadpoolctl import threadpool_info

    blas = [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]
    return max(blas, default=1)


@cache
def _speed() -> float:
    """Multiplications a second in a product of matrices, on one thread, as selections run."""
    from threadpoolctl import threadpool_limits

    square = np.ones((384, 384))
    with threadpool_limits(limits=1, user_api="blas"):
        square @ square
        begin = time.perf_counter()
        square @ square
        elapsed = time.perf_counter() - begin
    return 384**3 / max(elapsed, 1e-6)

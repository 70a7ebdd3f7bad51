"""About how long a selection will take: operations by method, over this machine's speed."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

_OVERHEAD = 0.2
"""Seconds that any selection takes."""

_PAIRS = ("facility_location", "kernel_herding", "kernel_thinning", "max_herding", "prob_cover")
"""Methods that compare all pairs of rows a few times."""


def seconds(method: str, N: int, r: int, m: int, n: int) -> float:
    """Forecasts the wall time of `skmm.select`; within a factor of three on ordinary pools.

    Args:
        method: The method; of one that is unknown here, the cost of a pass over the pool a sample.
        N: Pool size.
        r: Feature dimension.
        m: Sketch size.
        n: Budget.
    """
    sketch = N * r * m * (m < r) + N * m * m
    return _OVERHEAD + (sketch + _operations(method, N, r, m, n)) / _speed()


def _operations(method: str, N: int, r: int, m: int, n: int) -> float:
    """Multiplications of a method beyond the sketch and its spectrum, with measured constants.

    Where all pairs of rows are compared, what is done with a similarity costs more than to make it.
    """
    if method == "skmm":
        return min(N, max(11_585, 2 * n)) ** 2 * (2.0 * m + 1000.0)
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

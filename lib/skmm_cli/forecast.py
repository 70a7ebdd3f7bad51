"""About how long a selection will take: operations by method, over this machine's speed."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

_OVERHEAD = 0.2
"""Seconds that any selection takes."""


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
    """Multiplications of a method beyond the sketch and its spectrum, with measured constants."""
    if method == "skmm":
        looked_at = min(N, max(11_585, 2 * n))
        return 12.0 * looked_at**2 * m + 8.0 * looked_at * n * n**0.5
    if method in ("uniform", "class_balanced"):
        return 0.0
    if method == "skmm_paper":
        return 200.0 * N * m * m
    if method in ("leverage", "ridge_leverage", "covariance_matching"):
        return 4.0 * N * r * min(N, r)
    if method in ("k_medoids", "max_herding", "facility_location", "kernel_herding"):
        return 4.0 * N * N * r
    if method in ("prob_cover", "kernel_thinning", "typiclust", "k_means"):
        return 8.0 * N * N * r if method != "k_means" else 15.0 * N * r * n
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

"""The range of numbers: rows in a unit in which their fourth powers are finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from skmm.numerics.inputs import is_tensor
from skmm.numerics.stored import StoredRows, scan

_LARGEST_EXPONENT = 30
"""Entries beyond 2 to this power, of either sign, are extreme."""


def to_range(pool: Any) -> Any:
    """Returns what `check_pool` returned with a largest entry near 1 if that is extreme.

    For methods to which the unit of the features does not matter: fourth powers must not overflow.
    """
    if is_tensor(pool):
        low, high = (float(end) for end in pool.aminmax())
    elif isinstance(pool, StoredRows):
        ends = [(block.min(), block.max()) for _, block in scan(pool)]
        low, high = min(float(low) for low, _ in ends), max(float(high) for _, high in ends)
    else:
        entries = pool.data if scipy.sparse.issparse(pool) else pool
        low, high = entries.min(initial=0.0), entries.max(initial=0.0)
    exponent = int(np.frexp(max(high, -low))[1])
    if abs(exponent) <= _LARGEST_EXPONENT or low == high == 0.0:
        return pool
    # A power of two: no digit is lost.
    if is_tensor(pool):  # in two steps, for the whole power may be out of range
        return pool * 2.0 ** (-exponent // 2) * 2.0 ** (-exponent - -exponent // 2)
    if scipy.sparse.issparse(pool):
        parts = np.ldexp(pool.data, -exponent), pool.indices, pool.indptr
        return scipy.sparse.csr_array(parts, pool.shape)
    if isinstance(pool, StoredRows):
        return pool.scaled(-exponent)
    return np.ldexp(pool, -exponent)

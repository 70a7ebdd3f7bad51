"""Choices among numbers that rounding may reorder: near-equals go by their place, not by luck.

The last digits of a sum differ from one BLAS kernel to the next and with the number of threads.
Where numbers that are equal in exact arithmetic compete, such as the scores of equal rows, these
digits would decide. Here all numbers within a tolerance of the best count as equal to it, and of
equals the first wins. The tolerance is far above rounding and far below differences that matter, so
that the choice depends on rounding only if a number comes to lie within rounding of the
tolerance's edge: with probability rounding / tolerance, not 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TIE = 1e-10
"""Numbers of order one that differ by less are equal."""


def rounding_share(terms: int) -> float:
    """Returns the size of a rounding error relative to the terms of a sum, with a wide margin.

    Errors of ``terms`` products add up like a random walk. Two ways to sum, such as those of two
    BLAS kernels, differ by less than this share of the largest sum that the terms could have.
    """
    return (64.0 + 8.0 * np.sqrt(terms)) * float(np.finfo(np.float64).eps)


def first_least(scores: NDArray[np.float64], tolerance: float = TIE) -> int:
    """Returns the first flat index whose score is the least, up to ``tolerance``."""
    return int(np.argmax(scores <= scores.min() + tolerance))


def first_largest(scores: NDArray[np.float64], tolerance: float = TIE) -> int:
    """Returns the first flat index whose score is the largest, up to ``tolerance``."""
    return int(np.argmax(scores >= scores.max() - tolerance))


def least(scores: NDArray[np.float64], size: int, tolerance: float = TIE) -> NDArray[np.intp]:
    """Returns the indices of the ``size`` least scores, ascending; of equals, the first.

    Scores within ``tolerance`` of the last that is taken are its equals.
    """
    if len(scores) <= size:
        return np.arange(len(scores))
    last = np.partition(scores, size - 1)[size - 1]
    clear = scores < last - tolerance
    equal = np.flatnonzero((scores <= last + tolerance) & ~clear)
    clear[equal[: size - np.count_nonzero(clear)]] = True
    return np.flatnonzero(clear)

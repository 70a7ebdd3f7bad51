"""Eigenvalues of second moments and Gram matrices, and which of them are rounding errors."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rank_cutoff(size: int, largest: float) -> float:
    """Returns the level up to which eigenvalues of a semidefinite matrix count as zero.

    Args:
        size: Number of its rows.
        largest: Its largest eigenvalue, or its trace where that is at hand.
    """
    return size * float(np.finfo(np.float64).eps) * max(float(largest), 0.0)


def gram_eigen(gram: Floats) -> tuple[Floats, Floats]:
    """Returns the nonzero eigenvalues of a Gram matrix, descending, and their eigenvectors.

    Args:
        gram: Symmetric and semidefinite up to rounding, shape ``[size, size]``.

    Returns:
        Eigenvalues above `rank_cutoff`, shape ``[k]``, and eigenvectors, shape ``[size, k]``.
    """
    values, vectors = scipy.linalg.eigh(gram, driver="evd", check_finite=False)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = np.count_nonzero(values > rank_cutoff(len(gram), values[0]))
    return values[:rank], vectors[:, :rank]

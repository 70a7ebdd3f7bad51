r"""Partitions of a pool by k-means: what methods stand on that look at clusters, not at samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.selection.selectors.clusters import _STEPS, _cells, _means, _spread
from skmm.selection.selectors.kernel import LinearKernel


def cells_of(kernel: LinearKernel, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Returns the cell of each sample in a partition by k-means, as ``k_means`` makes it.

    Lloyd's steps from k-means++ until no sample moves, at most as many as ``k_means`` takes.

    Args:
        kernel: The pool.
        count: Number of cells, at most ``N``; equal rows may leave some of them empty.
        rng: Draws the first centroids.

    Returns:
        Numbers in ``0..count-1``, shape ``[N]``.
    """
    centroids = kernel.rows[_spread(kernel, count, rng)].astype(np.float64)
    cells = _cells(kernel, centroids)
    for _ in range(_STEPS):
        centroids = _means(kernel, cells, centroids)
        before, cells = cells, _cells(kernel, centroids)
        if np.array_equal(cells, before):
            break
    return cells


def spread_centers(kernel: LinearKernel, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Returns ``count`` distinct samples, each drawn by its squared distance to those before."""
    return _spread(kernel, count, rng)

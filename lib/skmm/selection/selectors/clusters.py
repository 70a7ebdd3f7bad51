r"""Clusters: the samples in the middle of each cell of a k-means partition."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.convergence import warn_of_limit
from skmm.numerics.ties import first_largest
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.metrics import measured

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Flags = NDArray[np.bool_]

_STEPS = 100
"""Steps at most; real features in cells of some ten samples take about ten."""

_BLOCK = 64
"""Proposals a round, and centroids that samples are ranked for at a time."""


@selector(
    "k_means",
    label="K-means",
    cost="N r n x steps",
    reference="Lloyd (1982); Arthur and Vassilvitskii (2007), SODA; nearest samples to centroids",
    keeps=True,
)
def take_nearest_to_centroids(
    pool: Pool, n: int, *, rng: np.random.Generator, metric: str = "unit"
) -> Choice:
    r"""Takes the samples nearest to the centroids of ``n`` clusters (k-means).

    .. math:: i_k = \arg\min_{i \notin S} \|g_i - \mu_k\|

    by `lloyd`. A sample nearest to two centroids stands for the first, the second takes the next
    nearest. Beside k samples kept there are ``n + k`` clusters, of which the ``n`` largest count
    that hold none of them.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the samples that the steps begin at.
        metric: What rows are compared in, see `measured`.
    """
    kernel = LinearKernel(measured(pool.features, metric))
    count = len(pool.kept) + n
    centroids, cells = lloyd(kernel, count, rng=rng)
    free = np.setdiff1d(np.arange(count), cells[pool.kept])
    sizes = np.bincount(cells, minlength=count)
    centroids = centroids[np.sort(free[np.argsort(-sizes[free], kind="stable")[:n]])]
    outside = pool.outside()
    indices = np.empty(n, dtype=np.intp)
    for i in range(0, n, _BLOCK):
        # Up to ‖μ‖², which is the same for all samples.
        closeness = 2.0 * kernel.times(centroids[i : i + _BLOCK].T) - kernel.energies[:, None]
        for k, near in enumerate(closeness.T, start=i):
            indices[k] = first_largest(np.where(outside, near, -np.inf), 2.0 * kernel.rounding)
            outside[indices[k]] = False
    return Choice(indices)


def lloyd(kernel: LinearKernel, n: int, *, rng: np.random.Generator) -> tuple[Floats, Indices]:
    r"""Partitions a pool into ``n`` cells, each of the samples nearest to its mean (k-means).

    Lloyd's steps from samples drawn by the squared distance to those drawn before (k-means++),
    until no sample changes its cell; a warning says so if 100 steps are not enough. A step compares
    samples only with centroids that moved, unless their own did: the same partition at a fraction
    of ``N r n``, for soon few move.

    Returns:
        Centroids, ``[n, r]``, each the mean of its cell if that is not empty; and the cell of each
        sample, ``[N]``, of equally near ones the first or the one that it was in.
    """
    centroids = kernel.rows[spread(kernel, n, rng)].astype(np.float64)
    cells = _cells(kernel, centroids)
    for _ in range(_STEPS):
        before, means = cells, _means(kernel, cells, centroids)
        moved = (means != centroids).any(axis=1)
        centroids = means
        cells = _recell(kernel, centroids, cells, moved)
        if np.array_equal(cells, before):
            return centroids, cells
    changed = np.count_nonzero(cells != before)
    left = f"{changed} of {kernel.N} samples changing their cell"
    warn_of_limit("k-means", f"its limit of {_STEPS} steps", left, "the subset may still be used")
    return centroids, cells


def spread(kernel: LinearKernel, n: int, rng: np.random.Generator) -> Indices:
    """Draws ``n`` distinct samples, each by its squared distance to those before (k-means++).

    By blocks of proposals, thinned so that every sample follows the law of drawing one by one.
    Samples that equal one that was drawn come last, uniformly.
    """
    drawn = [int(rng.integers(kernel.N))]
    nearest = kernel.distances(drawn[0])
    while len(drawn) < n and (mass := np.cumsum(nearest))[-1] > 0.0:
        draws = rng.random((2, min(_BLOCK, n)))
        proposals = np.searchsorted(mass, draws[0] * mass[-1], side="right")
        # A draw next to 1 may round up to all of the mass.
        proposals = np.minimum(proposals, np.flatnonzero(nearest)[-1])
        apart = kernel.all_distances(proposals)
        left, accepted = nearest[proposals], []
        thresholds = draws[1] * left
        for k in range(len(proposals)):
            if left[k] > thresholds[k] and len(drawn) < n:
                accepted.append(k)
                drawn.append(int(proposals[k]))
                np.minimum(left, apart[proposals, k], out=left)
        np.minimum(nearest, apart[:, accepted].min(axis=1), out=nearest)
    rest = np.delete(np.arange(kernel.N), drawn)
    return np.concatenate([drawn, rng.choice(rest, n - len(drawn), replace=False)]).astype(np.intp)


def _cells(kernel: LinearKernel, centroids: Floats) -> Indices:
    """Returns the nearest centroid of each sample, of equally near ones the first: ``[N]``."""
    return _nearest(kernel, centroids, np.arange(kernel.N))[0]


def _nearest(kernel: LinearKernel, centroids: Floats, samples: Indices) -> tuple[Indices, Floats]:
    r"""Returns the nearest centroid of ``samples``, and its squared distance less :math:`\|g\|^2`.

    Of equally near ones the first.
    """
    lengths = np.einsum("ij,ij->i", centroids, centroids)
    cells, least = np.empty(len(samples), dtype=np.intp), np.empty(len(samples))
    for block in blocks(len(samples), max(centroids.shape)):
        distances = kernel.rows[samples[block]].astype(np.float64, copy=False) @ centroids.T
        distances *= -2.0
        distances += lengths
        least[block] = distances.min(axis=1)
        near = distances <= least[block][:, None] + 2.0 * kernel.rounding
        cells[block] = np.argmax(near, axis=1)
    return cells, least


def _recell(kernel: LinearKernel, centroids: Floats, cells: Indices, moved: Flags) -> Indices:
    """Returns the nearest centroid of each sample after those of ``moved`` moved: ``[N]``."""
    cells, movers = cells.copy(), np.flatnonzero(moved)
    own = moved[cells]
    followers, others = np.flatnonzero(own), np.flatnonzero(~own)
    cells[followers] = _nearest(kernel, centroids, followers)[0]
    if len(movers) > 0 and len(others) > 0:
        nearest, least = _nearest(kernel, centroids[movers], others)
        held = np.einsum("ij,ij->i", centroids, centroids)[cells[others]]
        for block in blocks(len(others), centroids.shape[1]):
            rows = kernel.rows[others[block]]
            held[block] -= 2.0 * np.einsum("ij,ij->i", rows, centroids[cells[others[block]]])
        nearer = least < held - 2.0 * kernel.rounding
        cells[others[nearer]] = movers[nearest[nearer]]
    return cells


def _means(kernel: LinearKernel, cells: Indices, centroids: Floats) -> Floats:
    """Returns the mean of each cell; an empty one keeps its centroid."""
    sizes = np.bincount(cells, minlength=len(centroids))
    entries = 1.0 / sizes[cells], (cells, np.arange(kernel.N))
    weights = scipy.sparse.csr_array(entries, shape=(len(centroids), kernel.N))
    means = centroids.copy()
    filled = sizes > 0
    for columns in blocks(centroids.shape[1], kernel.N):
        part = kernel.rows[:, columns].astype(np.float64)
        means[filled, columns] = (weights @ part)[filled]
    return means

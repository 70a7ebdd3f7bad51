r"""Clusters: the samples in the middle of each cell of a k-means partition."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.ties import first_largest
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_STEPS = 20
"""Steps at most; those beyond move a few samples between cells."""

_BLOCK = 64
"""Proposals a round, and centroids that samples are ranked for at a time."""


@selector(
    "k_means",
    label="K-means",
    cost="N r n x steps",
    reference="Lloyd (1982); Arthur and Vassilvitskii (2007), SODA; nearest samples to centroids",
)
def take_nearest_to_centroids(pool: Pool, n: int, *, rng: np.random.Generator) -> Choice:
    r"""Takes the samples nearest to the centroids of ``n`` clusters (k-means).

    .. math:: i_k = \arg\min_{i \notin S} \|g_i - \mu_k\|

    On the features :math:`G` themselves: Lloyd's steps, at most 20, from samples drawn by the
    squared distance to those drawn before (k-means++), each centroid the mean :math:`\mu_k` of its
    cell. A sample nearest to two centroids stands for the first, the second takes the next nearest.
    """
    kernel = LinearKernel(pool.features)
    centroids = kernel.rows[_spread(kernel, n, rng)].astype(np.float64)
    cells = _cells(kernel, centroids)
    for _ in range(_STEPS):
        centroids = _means(kernel, cells, centroids)
        before, cells = cells, _cells(kernel, centroids)
        if np.array_equal(cells, before):
            break
    outside = np.ones(pool.N, dtype=bool)
    indices = np.empty(n, dtype=np.intp)
    for i in range(0, n, _BLOCK):
        # Up to ‖μ‖², which is the same for all samples.
        closeness = 2.0 * kernel.times(centroids[i : i + _BLOCK].T) - kernel.energies[:, None]
        for k, near in enumerate(closeness.T, start=i):
            indices[k] = first_largest(np.where(outside, near, -np.inf), 2.0 * kernel.rounding)
            outside[indices[k]] = False
    return Choice(indices)


def _spread(kernel: LinearKernel, n: int, rng: np.random.Generator) -> Indices:
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
    lengths = np.einsum("ij,ij->i", centroids, centroids)
    cells = np.empty(kernel.N, dtype=np.intp)
    for block in blocks(kernel.N, max(centroids.shape)):
        distances = kernel.rows[block].astype(np.float64, copy=False) @ centroids.T
        distances *= -2.0
        distances += lengths
        least = distances.min(axis=1, keepdims=True)
        cells[block] = np.argmax(distances <= least + 2.0 * kernel.rounding, axis=1)
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

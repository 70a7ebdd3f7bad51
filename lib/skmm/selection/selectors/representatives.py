r"""Representatives: a subset such that every sample of the pool has one of its kind in it."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from skmm.numerics.inputs import check_positive
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel, first_largest

_CANDIDATES = 256
"""Columns of distances held at a time."""


@selector(
    "facility_location",
    cost="N² r log(1/epsilon)",
    reference="Mirzasoleiman et al. (2020), arXiv 1906.01827 (CRAIG)",
)
def locate_facilities(
    pool: Pool, n: int, *, rng: np.random.Generator, epsilon: float = 0.1
) -> Choice:
    r"""Brings every sample close to one of the subset (facility location, as CRAIG).

    .. math:: \min_S \sum_i \min_{j \in S} \|g_i - g_j\|

    On the features :math:`G` themselves, labels unused: the reference does the same within each
    class, on gradients of the last layer, and weighs the samples by the size of their cells. By
    stochastic greedy: each pick is the best of :math:`\tfrac Nn \log\tfrac1\epsilon` random
    candidates, within :math:`1 - 1/e - \epsilon` of the best subset in expectation (of the gain
    over a subset at twice the largest norm); at most 256 columns of distances are held at a time.

    References:
        Mirzasoleiman et al. (2015), https://arxiv.org/abs/1409.7938, for stochastic greedy.
    """
    epsilon = check_positive(epsilon, "epsilon", hint="0.1 is usual, smaller is slower and better")
    if epsilon >= 1.0:
        raise ValueError(f"epsilon must be in (0, 1), got {epsilon!r}; 0.1 is usual")
    kernel = LinearKernel(pool.features)
    # No distance is larger: the first pick is then the medoid of its candidates.
    nearest = np.full(pool.N, 2.0 * np.sqrt(kernel.energies.max()))
    outside = np.arange(pool.N)
    count = int(np.ceil(pool.N / n * np.log(1.0 / epsilon)))
    indices = np.empty(n, dtype=np.intp)
    for k in range(n):
        candidates = np.sort(rng.choice(outside, min(count, len(outside)), replace=False))
        gains = np.empty(len(candidates))
        for i in range(0, len(candidates), _CANDIDATES):
            distances = _distances(kernel, candidates[i : i + _CANDIDATES])
            np.subtract(nearest[:, None], distances, out=distances)
            gains[i : i + _CANDIDATES] = np.maximum(distances, 0.0, out=distances).sum(axis=0)
        indices[k] = candidates[first_largest(gains, 1e-9 * gains.max())]
        outside = outside[outside != indices[k]]
        np.minimum(nearest, np.sqrt(kernel.distances(indices[k])), out=nearest)
    return Choice(indices)


def _distances(kernel: LinearKernel, indices: NDArray[np.intp]) -> NDArray[np.float64]:
    squares = kernel.columns(indices)
    squares *= -2.0
    squares += kernel.energies[:, None]
    squares += kernel.energies[indices]
    squares[squares <= kernel.rounding] = 0.0
    return np.sqrt(squares, out=squares)


@selector("k_means", cost="N r n", reference="Sculley (2010), WWW; nearest samples to centroids")
def take_nearest_to_centroids(pool: Pool, n: int, *, rng: np.random.Generator) -> Choice:
    r"""Takes the samples nearest to the centroids of ``n`` clusters (k-means).

    .. math:: i_k = \arg\min_{i \notin S} \|g_i - \mu_k\|

    On the features :math:`G` themselves, by scikit-learn's ``MiniBatchKMeans`` (an optional
    dependency), each centroid moved to the mean :math:`\mu_k` of its cell. A sample nearest to two
    centroids stands for the first, the second takes the next nearest.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        raise ImportError(
            'method="k_means" needs scikit-learn: pip install "skmm[study]"'
        ) from error
    clusters = MiniBatchKMeans(
        n, batch_size=max(1024, 4 * n), n_init=1, random_state=int(rng.integers(2**31))
    )
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters is no mistake of the caller's: n = N is allowed.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters.fit(pool.features)
    # Mini batches leave centroids only near the means of their cells; empty cells keep theirs.
    sizes = np.bincount(clusters.labels_, minlength=n)
    entries = 1.0 / sizes[clusters.labels_], (clusters.labels_, np.arange(pool.N))
    means = scipy.sparse.csr_array(entries, shape=(n, pool.N)) @ pool.features
    centroids = np.where(sizes[:, None] > 0, means, clusters.cluster_centers_)
    kernel = LinearKernel(pool.features)
    outside = np.ones(pool.N, dtype=bool)
    indices = np.empty(n, dtype=np.intp)
    for i in range(0, n, _CANDIDATES):
        # Up to ‖μ‖², which is the same for all samples.
        block = kernel.energies[:, None] - 2.0 * kernel.times(centroids[i : i + _CANDIDATES].T)
        for k, distances in enumerate(block.T, start=i):
            closeness = np.where(outside, -distances, -np.inf)
            indices[k] = first_largest(closeness, kernel.rounding)
            outside[indices[k]] = False
    return Choice(indices)

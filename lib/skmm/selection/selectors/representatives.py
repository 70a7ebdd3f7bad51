r"""Representatives: a subset such that every sample of the pool has one of its kind in it."""

from __future__ import annotations

import numpy as np

from skmm.numerics.inputs import check_positive
from skmm.numerics.ties import first_largest
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.ranking import rounding_share

_CANDIDATES = 256
"""Columns of distances held at a time."""


@selector(
    "facility_location",
    label="Facility location",
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
    reach = 2.0 * np.sqrt(kernel.energies.max())
    nearest = np.full(pool.N, reach)
    # Where all gains are zero, as once every distinct row is taken, they are sums of these errors.
    rounding = rounding_share(pool.features.shape[1]) * reach * pool.N
    outside = np.arange(pool.N)
    count = int(np.ceil(pool.N / n * np.log(1.0 / epsilon)))
    indices = np.empty(n, dtype=np.intp)
    for k in range(n):
        candidates = np.sort(rng.choice(outside, min(count, len(outside)), replace=False))
        gains = np.empty(len(candidates))
        for i in range(0, len(candidates), _CANDIDATES):
            distances = np.sqrt(kernel.all_distances(candidates[i : i + _CANDIDATES]))
            np.subtract(nearest[:, None], distances, out=distances)
            gains[i : i + _CANDIDATES] = np.maximum(distances, 0.0, out=distances).sum(axis=0)
        indices[k] = candidates[first_largest(gains, 1e-9 * gains.max() + rounding)]
        outside = outside[outside != indices[k]]
        np.minimum(nearest, np.sqrt(kernel.distances(indices[k])), out=nearest)
    return Choice(indices)

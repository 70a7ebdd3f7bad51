r"""Determinant: subsets of the largest volume in the space of a Gaussian kernel."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.inputs import check_positive
from skmm.numerics.ties import TIE, first_largest
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.metrics import measured

_BATCH = 64
"""Candidates whose variance is computed at once."""

_LEAST_RIDGE = 1e-6
"""Below it the variances left are of the size of what rounding makes of them."""


@selector(
    "log_det",
    label="Log-determinant",
    cost="N n r + N n²",
    reference="Chen, Zhang and Zhou (2018), NeurIPS, arXiv 1709.05135 (k-DPP MAP)",
    nested=True,
    keeps=True,
)
def span_greedily(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    sigma: float = 1.0,
    ridge: float = 0.01,
) -> Choice:
    r"""Takes what is least told by the samples taken (greedy log-determinant, D-optimal, k-DPP).

    .. math:: i_{k+1} = \arg\max_i \log\det(K_{S + i} + \lambda I), \qquad
              K_{ij} = e^{-\|g_i - g_j\|^2/\sigma^2}

    that is the sample of the largest variance, given those taken, of a Gaussian process with noise
    :math:`\lambda`. All have the same at first: the first is uniform. Variances come from rows of
    the Cholesky factor of K, made when they are needed: they only fall as the subset grows, so
    those computed before bound the present ones (lazy greedy, exact). Takes ``N n`` numbers of
    memory.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the first sample, if none is kept.
        metric: What rows are compared in, see `measured`.
        sigma: Width of the kernel in that metric, see `measured`.
        ridge: :math:`\lambda`, at least 1e-6, in units of a sample's own similarity, which is 1.
    """
    ridge = check_positive(ridge, "ridge", hint="0.01 is usual")
    if ridge < _LEAST_RIDGE:
        raise ValueError(f"ridge must be at least {_LEAST_RIDGE:g}, got {ridge!r}; 0.01 is usual")
    kernel = GaussianKernel(measured(pool.features, metric), sigma, hold=False)
    kept, count = len(pool.kept), len(pool.kept) + n
    factor = np.zeros((kernel.N, count))  # its first `known` columns are right
    known = np.zeros(kernel.N, dtype=np.intp)
    variances = np.full(kernel.N, 1.0 + ridge)  # of the known columns: bounds on the present ones
    triangle = np.zeros((count, count))
    indices = np.empty(count, dtype=np.intp)
    indices[:kept] = pool.kept
    if not kept:
        indices[0] = rng.integers(kernel.N)

    def renew(stale: NDArray[np.intp], k: int) -> None:
        """Computes the variances of a few samples, given the first ``k`` taken."""
        since = int(known[stale].min())
        new = slice(since, k)
        left = kernel.block(stale, indices[new])
        left -= factor[stale, :since] @ triangle[new, :since].T
        factor[stale, new] = scipy.linalg.solve_triangular(
            triangle[new, new], left.T, lower=True, check_finite=False
        ).T
        variances[stale] = 1.0 + ridge - np.sum(factor[stale, :k] ** 2, axis=1)
        known[stale] = k

    for k in range(count):
        if 0 < k < kept:
            renew(indices[k : k + 1], k)
        while k >= max(kept, 1):
            least = np.where(known == k, variances, -np.inf).max() - TIE
            stale = np.flatnonzero((known < k) & (variances >= least))
            if len(stale) == 0:
                indices[k] = first_largest(np.where(known == k, variances, -np.inf))
                break
            if len(stale) > _BATCH:
                stale = stale[np.argpartition(-variances[stale], _BATCH)[:_BATCH]]
            renew(stale, k)
        taken = indices[k]
        triangle[k, :k], triangle[k, k] = factor[taken, :k], np.sqrt(variances[taken])
        variances[taken], known[taken] = -np.inf, count
    return Choice(indices[kept:])

r"""Medoids: subsets that every sample of the pool is similar to one of, greedily or by exchange."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Coverage
from skmm.numerics.blocks import blocks
from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.similarity import Similarity
from skmm.numerics.ties import TIE, first_largest
from skmm.rounding.exchange import exchange
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.metrics import measured

_BATCH = 16
"""Candidates whose gain is computed at once."""


def cover_greedily(
    kernel: Similarity, n: int, *, kept: NDArray[np.intp] | None = None
) -> NDArray[np.intp]:
    r"""Takes n times the sample that adds most to :math:`\sum_j \max_{i \in S} k(i, j)`.

    Gains only fall as the subset grows: those computed before bound the present ones, and only
    samples whose bound exceeds the best gain known are computed anew (lazy greedy, exact). Two
    samples that nothing but each other is near to gain the same: of equal gains the sample wins
    that is more similar to the pool, and of those that are equal in this, too, the first.

    Args:
        kernel: Similarities.
        n: How many to take.
        kept: Samples that are taken already; none unless told.

    Returns:
        Indices in the order taken, shape ``[n]``.
    """
    density, best = kernel.sums(), np.zeros(kernel.N)
    bounds = density.copy()
    tolerance = TIE * kernel.N
    outside, exact = np.ones((2, kernel.N), dtype=bool)
    if kept is not None and len(kept):
        for cut in blocks(len(kept), kernel.N):
            np.maximum(best, kernel.rows(kept[cut]).max(axis=0), out=best)
        outside[kept], exact[:] = False, False
    indices = np.empty(n, dtype=np.intp)
    for k in range(n):
        while True:
            least = np.where(exact, bounds, -np.inf).max() - tolerance
            stale = np.flatnonzero(outside & ~exact & (bounds >= least))
            if len(stale) == 0:
                break
            if len(stale) > _BATCH:
                stale = stale[np.argpartition(-bounds[stale], _BATCH)[:_BATCH]]
            over = kernel.rows(stale) - best
            bounds[stale] = np.maximum(over, 0.0, out=over).sum(axis=1)
            exact[stale] = True
        equals = np.flatnonzero(exact & (bounds >= least))
        indices[k] = equals[first_largest(density[equals], tolerance)]
        np.maximum(best, kernel.rows(indices[k : k + 1])[0], out=best)
        outside[indices[k]], exact[:] = False, False
    return indices


@selector(
    "max_herding",
    label="MaxHerding",
    deterministic=True,
    keeps=True,
    nested=True,
    cost="N² r",
    reference="Bae, Noh and Sutherland (2024), ECCV, arXiv 2407.12212",
)
def herd_maxima(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    sigma: float = 1.0,
) -> Choice:
    r"""Raises each sample's similarity to the subset, greedily from the densest (MaxHerding).

    .. math:: i_{k+1} = \arg\max_i \sum_j \bigl(k(g_i, g_j) - \max_{l \in S} k(g_l, g_j)\bigr)_+,
              \qquad k(x, y) = e^{-\|x - y\|^2/\sigma^2}

    Facility location with a Gaussian kernel, within :math:`1 - 1/e` of the best subset, by lazy
    greedy without an approximation. The N×N kernel is held for up to 11,585 rows, in at most
    512 MB. For more it is made by blocks for the first pick, and the rows of candidates when they
    are asked for, several times N of them in all.

    Args:
        pool: The pool.
        n: Budget.
        rng: Not used.
        metric: What rows are compared in, see `measured`.
        sigma: Width of the kernel in that metric, see `measured`.
    """
    kernel = GaussianKernel(measured(pool.features, metric), sigma)
    return Choice(cover_greedily(kernel, n, kept=pool.kept))


@selector(
    "k_medoids",
    label="Kernel k-medoids",
    deterministic=True,
    keeps=True,
    cost="N² r x passes",
    reference="Kaufman and Rousseeuw (1990), PAM; Schubert and Rousseeuw (2021), arXiv 2008.05171",
)
def exchange_medoids(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    sigma: float = 1.0,
) -> Choice:
    r"""Brings every sample close to one of the subset by exchange (kernel k-medoids, PAM).

    .. math:: \min_{|S| = n} 1 - \frac1N \sum_j \max_{i \in S} k(g_i, g_j),
              \qquad k(x, y) = e^{-\|x - y\|^2/\sigma^2}

    Exchange descent on `skmm.Coverage` from the subset of ``max_herding`` until no swap of two
    samples helps: a random start ends level, after several times the swaps. The objective is in
    units of what a uniform draw attains. First comes the sample without which the pool would be
    covered least.

    Args:
        pool: The pool.
        n: Budget.
        rng: Not used.
        metric: What rows are compared in, see `measured`.
        sigma: Width of the kernel in that metric, see `measured`.
    """
    kernel = GaussianKernel(measured(pool.features, metric), sigma)
    coverage = Coverage.of(kernel, len(pool.kept) + n)
    start = np.concatenate([pool.kept, cover_greedily(kernel, n, kept=pool.kept)])
    end = exchange(coverage, start, fixed=pool.kept)
    new = np.setdiff1d(end.indices, pool.kept)
    losses = coverage.single_changes()[0][new]
    # Rounded, so that of equal losses the first in the pool comes first.
    order = np.argsort(-np.round(losses, 9), kind="stable")
    return Choice(new[order], end.value)

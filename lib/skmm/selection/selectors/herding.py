r"""Herding: a subset whose running mean follows the mean of the pool, and its well-known slip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.ties import first_largest
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.metrics import measured

Scores = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def _herd(pool: Pool, n: int, metric: str, score: Scores) -> Choice:
    r"""Takes the best-scored sample ``n`` times.

    ``score`` sees :math:`\langle g_i, w\rangle` and :math:`\|g_i\|^2`, where
    :math:`w = k\mu - \sum_{j \in S} g_j` is what the ``k``-th sample should be.
    """
    rows, kept = measured(pool.features, metric), len(pool.kept)
    kernel = LinearKernel(rows, columns=kept + n)
    to_mean = kernel.times(rows.mean(axis=0))
    to_taken = np.zeros(kernel.N)
    outside = pool.outside()
    indices = np.empty(kept + n, dtype=np.intp)
    indices[:kept] = pool.kept
    for k in range(len(indices)):
        if k >= kept:
            scores = score((k + 1) * to_mean - to_taken, kernel.energies)
            # Both sums have k + 1 terms, and so many rounding errors.
            tolerance = (k + 1) * kernel.rounding
            indices[k] = first_largest(np.where(outside, scores, -np.inf), tolerance)
            outside[indices[k]] = False
        to_taken += kernel.column(indices[k])
    return Choice(indices[kept:])


@selector(
    "herding",
    label="Herding (Welling)",
    deterministic=True,
    cost="N r n",
    reference="Welling (2009), ICML",
    nested=True,
    keeps=True,
)
def herd(pool: Pool, n: int, *, rng: np.random.Generator, metric: str = "unit") -> Choice:
    r"""Follows the pool's mean: kernel herding in feature space, without replacement.

    .. math:: i_k = \arg\max_{i \notin S} \langle w_k, g_i\rangle, \qquad
              w_{k+1} = w_k + \mu - g_{i_k}, \quad w_1 = \mu = \tfrac1N \sum_i g_i

    Welling's dynamics may take a sample twice; here each is taken at most once, and of equal scores
    the first in the pool wins.

    Args:
        pool: The pool.
        n: Budget.
        rng: Not used.
        metric: What rows :math:`g_i` are taken as, see `measured`.
    """
    return _herd(pool, n, metric, lambda alignment, energies: alignment)


@selector(
    "herding_farthest",
    label="Herding (farthest)",
    deterministic=True,
    cost="N r n",
    reference="DeepCore, Guo et al. (2022), arXiv 2204.08499, as coded",
    nested=True,
    keeps=True,
)
def herd_farthest(pool: Pool, n: int, *, rng: np.random.Generator, metric: str = "raw") -> Choice:
    r"""Takes the sample farthest from the one that herding wants: the public baseline's slip.

    .. math:: i_k = \arg\max_{i \notin S} \Bigl\| k\mu - \sum_{j \in S} g_j - g_i \Bigr\|

    The reference code has this maximum where a greedy match of the mean has the minimum. The
    paper's Herding row is reproduced by it, on raw rows, and by nothing else; it is no method to
    use.

    Args:
        pool: The pool.
        n: Budget.
        rng: Not used.
        metric: What rows :math:`g_i` are taken as, see `measured`.
    """
    return _herd(pool, n, metric, lambda alignment, energies: energies - 2.0 * alignment)

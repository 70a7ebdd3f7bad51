r"""Covering: farthest-first centres, so that no sample of the pool is far from the subset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.ties import first_largest, rounding_share
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.metrics import measured
from skmm.selection.selectors.signals import require_probabilities


def farthest_first(
    distances: Callable[[int], NDArray[np.float64]],
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    rounding: float,
) -> NDArray[np.intp]:
    """Takes ``n`` times the sample farthest from all taken and kept (Gonzalez 1985).

    Args:
        distances: From a sample to all, shape ``[N]``; any increasing function of a distance.
        pool: The pool.
        n: Number of centres, in ``1..N``.
        rng: Draws the first centre, if none is kept.
        rounding: Size of a rounding error of a distance.

    Returns:
        Distinct indices, shape ``[n]``; of equally far ones the first in the pool.
    """
    nearest, kept = np.full(pool.N, np.inf), len(pool.kept)
    centres = np.empty(kept + n, dtype=np.intp)
    centres[:kept] = pool.kept
    if not kept:
        centres[0] = rng.integers(pool.N)
    for k in range(1, len(centres)):
        np.minimum(nearest, distances(centres[k - 1]), out=nearest)
        nearest[centres[k - 1]] = -np.inf  # never again, even if all others are its equals
        if k >= kept:
            centres[k] = first_largest(nearest, rounding)
    return centres[kept:]


@selector(
    "k_center",
    label="K-center",
    cost="N r n",
    reference="Gonzalez (1985), TCS 38; Sener and Savarese (2018)",
    nested=True,
    keeps=True,
)
def choose_centers(pool: Pool, n: int, *, rng: np.random.Generator, metric: str = "unit") -> Choice:
    r"""Covers the pool: each sample is the farthest from those taken (greedy k-center).

    .. math:: i_{k+1} = \arg\max_i \min_{j \le k} \|g_i - g_{i_j}\|

    The covering radius is at most twice the best one of ``n`` centres. A pick costs ``N r``.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the first centre, if none is kept.
        metric: What rows are compared in, see `measured`.
    """
    kernel = LinearKernel(measured(pool.features, metric), columns=len(pool.kept) + n)
    return Choice(farthest_first(kernel.distances, pool, n, rng=rng, rounding=kernel.rounding))


@selector(
    "contextual_diversity",
    label="Contextual diversity",
    needs=("probabilities",),
    cost="N C n",
    reference="Agarwal et al. (2020), arXiv 2008.05723",
    nested=True,
    keeps=True,
)
def choose_diverse_contexts(
    pool: Pool, n: int, *, rng: np.random.Generator, probabilities: ArrayLike | None = None
) -> Choice:
    r"""Covers the pool's predictions: each sample's are the farthest from those taken.

    .. math:: i_{k+1} = \arg\max_i \min_{j \le k} d(p_i, p_{i_j}), \qquad
              d(p, q) = \tfrac12 \sum_c (p_c - q_c)(\log p_c - \log q_c)

    Farthest-first under the symmetrised Kullback-Leibler divergence of ``probabilities`` ``[N, C]``
    of a trained model, from a uniform first sample; features are not looked at. This is what public
    code calls contextual diversity; the reference, on dense predictions, first mixes them by
    predicted class within an image, which for one prediction an image is the prediction itself.
    Probabilities below 1e-12 count as 1e-12.
    """
    p = require_probabilities(probabilities, pool.N)
    logs = np.log(np.maximum(p, 1e-12))
    own = np.einsum("nc,nc->n", p, logs)
    rounding = rounding_share(p.shape[1]) * np.abs(logs).max()

    def divergences(index: int) -> NDArray[np.float64]:
        divergence = own + own[index] - p @ logs[index] - logs @ p[index]
        return 0.5 * np.where(divergence > rounding, divergence, 0.0)

    return Choice(farthest_first(divergences, pool, n, rng=rng, rounding=rounding))

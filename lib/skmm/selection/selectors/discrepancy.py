r"""Discrepancy: subsets whose mean in the space of a Gaussian kernel follows that of the pool."""

from __future__ import annotations

import numpy as np

from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.ties import first_largest
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.metrics import measured


@selector(
    "kernel_herding",
    label="Kernel herding",
    deterministic=True,
    nested=True,
    keeps=True,
    cost="N² r",
    reference="Chen, Welling and Smola (2010), UAI, arXiv 1203.3472",
)
def herd_in_kernel(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    sigma: float = 1.0,
) -> Choice:
    r"""Follows the pool's density: herding with a Gaussian kernel, without replacement.

    .. math:: i_{t+1} = \arg\max_{i \notin S} \frac1N \sum_j k(g_i, g_j)
              - \frac{1}{t+1} \sum_{j \in S} k(g_i, g_j), \qquad k(x, y) = e^{-\|x - y\|^2/\sigma^2}

    with t samples in S: greedy descent on the squared maximum mean discrepancy between subset and
    pool. The first sample is the densest; of equal scores the first in the pool wins.

    Args:
        pool: The pool.
        n: Budget.
        rng: Not used.
        metric: What rows are compared in, see `measured`.
        sigma: Width of the kernel in that metric, see `measured`.
    """
    kernel = GaussianKernel(measured(pool.features, metric), sigma)
    density = kernel.sums() / kernel.N
    to_taken, outside = np.zeros(kernel.N), pool.outside()
    kept = len(pool.kept)
    indices = np.empty(kept + n, dtype=np.intp)
    indices[:kept] = pool.kept
    for t in range(len(indices)):
        if t >= kept:
            scores = np.where(outside, density - to_taken / (t + 1), -np.inf)
            indices[t] = first_largest(scores)
            outside[indices[t]] = False
        to_taken += kernel.rows(indices[t : t + 1])[0]
    return Choice(indices[kept:])

r"""Representatives: a subset such that every sample of the pool has one of its kind in it."""

from __future__ import annotations

import numpy as np

from skmm.numerics.nearness import Nearness
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.medoids import cover_greedily
from skmm.selection.selectors.metrics import measured


@selector(
    "facility_location",
    label="Facility location",
    deterministic=True,
    nested=True,
    keeps=True,
    cost="N² r",
    reference="Mirzasoleiman et al. (2020), arXiv 1906.01827 (CRAIG)",
)
def locate_facilities(
    pool: Pool, n: int, *, rng: np.random.Generator, metric: str = "unit"
) -> Choice:
    r"""Brings every sample close to one of the subset (facility location, as CRAIG).

    .. math:: \min_{|S| = n} \sum_i \min_{j \in S} \|g_i - g_j\|

    Greedily, from the medoid of the pool: within :math:`1 - 1/e` of the best subset in what the sum
    is below N times :math:`\rho`, twice the largest distance from the pool's mean. By lazy greedy
    without an approximation on the similarity :math:`1 - \|g_i - g_j\|/\rho`, in the memory and at
    the cost of ``max_herding``. The reference does the same within each class, labels in hand, on
    gradients of the last layer, and weighs the samples by the size of their cells.

    Args:
        pool: The pool.
        n: Budget.
        rng: Not used.
        metric: What rows are compared in, see `measured`.
    """
    kernel = Nearness(measured(pool.features, metric))
    return Choice(cover_greedily(kernel, n, kept=pool.kept))

r"""Typicality: samples in the densest part of each cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.inputs import check_integer
from skmm.numerics.ties import first_least
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.clusters import lloyd
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.metrics import measured

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_SMALL = 5
"""Clusters of at most so many samples are outliers, to be taken last."""


@selector(
    "typiclust",
    label="TypiClust",
    cost="N r min(n, cap) x steps",
    reference="Hacohen, Dekel and Weinshall (2022), ICML, arXiv 2202.02794",
    keeps=True,
)
def take_most_typical(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    cap: int = 500,
    neighbours: int = 20,
) -> Choice:
    r"""Takes the most typical sample of each cluster, the largest clusters first (TypiClust).

    .. math:: i = \arg\min_{i \in C} \frac1{|K_i|} \sum_{j \in K_i} \|g_i - g_j\|^2

    with :math:`K_i` the nearest of the samples left in the cluster, ``neighbours`` of them, at most
    half as many as there are. The clusters, ``min(n, cap)`` by k-means, take turns, those of more
    samples first; when n exceeds their number, the turns go round. Clusters of at most five samples
    come when the others are empty. Samples kept make for as many clusters more,
    and took a turn of theirs each. Beside k-means, a round costs the sum over clusters of their
    squared size, times r; no more than a block of distances is held.

    Distances are squared, as in the published code; in the paper's formula they are not. K-means is
    Lloyd's on the whole pool, where the published code, above 50 clusters, takes steps on random
    batches; and it has no rule for what comes when all large clusters are empty.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the first centroids of k-means.
        metric: As for ``max_herding``.
        cap: Clusters at most.
        neighbours: How many nearest samples tell how typical one is.
    """
    check_integer(cap, "cap", low=1, hint="500 is the reference's")
    check_integer(neighbours, "neighbours", low=1, hint="20 is the reference's")
    kernel = LinearKernel(measured(pool.features, metric))
    cells = lloyd(kernel, min(len(pool.kept) + n, cap), rng=rng)[1]
    outside = pool.outside()
    clusters = [np.flatnonzero(cells == cell) for cell in range(cells.max() + 1)]
    clusters.sort(key=len, reverse=True)
    indices: list[int] = []
    for turn in (
        [cluster for cluster in clusters if len(cluster) > _SMALL],
        [cluster for cluster in clusters if 0 < len(cluster) <= _SMALL],
    ):
        left = [cluster[outside[cluster]] for cluster in turn]
        turns = [len(cluster) - len(rest) for cluster, rest in zip(turn, left, strict=True)]
        lap = 0
        while any(map(len, left)) and len(indices) < n:
            due = [k for k in range(len(left)) if len(left[k]) and turns[k] <= lap]
            for k in due[: n - len(indices)]:
                scattered = neighbour_distances(kernel.rows[left[k]], neighbours)
                typical = first_least(scattered)
                indices.append(int(left[k][typical]))
                left[k] = np.delete(left[k], typical)
            lap += 1
    return Choice(np.array(indices, dtype=np.intp))


def neighbour_distances(rows: NDArray[np.floating], neighbours: int) -> Floats:
    """Returns the mean squared distance of each row to its nearest others, shape ``[size]``.

    As many of them as ``neighbours``, at most half of the rows; 0 for a row that is alone.
    """
    size = len(rows)
    count = min(neighbours, size // 2)
    if count == 0:
        return np.zeros(size)
    rows = rows - rows.mean(axis=0)  # so that little cancels in what follows
    squares = np.einsum("ij,ij->i", rows, rows)
    means = np.empty(size)
    for block in blocks(size, size):
        apart = rows[block] @ rows.T
        apart *= -2.0
        apart += squares
        apart += squares[block, None]
        apart[np.arange(len(apart)), np.arange(size)[block]] = np.inf
        nearest = np.partition(apart, count - 1, axis=1)[:, :count]
        means[block] = np.maximum(nearest, 0.0).mean(axis=1)
    return means

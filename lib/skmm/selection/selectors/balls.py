r"""Balls: as much of the pool as possible within a radius of the subset."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.inputs import check_integer, check_positive
from skmm.numerics.ties import TIE
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.clusters import lloyd
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.metrics import measured

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_PURE = 0.95
"""Share of the balls that hold one pseudo-class alone."""


@selector(
    "prob_cover",
    label="ProbCover",
    cost="N² r",
    reference="Yehuda et al. (2022), NeurIPS, arXiv 2205.11320",
    nested=True,
    keeps=True,
)
def cover_by_balls(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    delta: float | None = None,
    clusters: int | None = None,
) -> Choice:
    r"""Covers as many samples as it can by balls of one radius, greedily (ProbCover).

    .. math:: i_{k+1} = \arg\max_i \#\{j : \|g_i - g_j\| < \delta \le \|g_l - g_j\|
              \text{ for all } l \in S\}

    The radius is the largest at which 95 % of the balls around samples hold samples of one cluster
    only, by k-means into pseudo-classes. Of equal gains the first in the pool wins. Once every
    sample is covered, covering goes on with half the radius, and so on down to samples that equal
    one of the subset: these come last, uniformly.

    The reference takes as many clusters as there are classes, known to the user, and looks for the
    radius on a grid; here it is the exact order statistic. It covers no further than once, and
    breaks ties at random. A radius costs two sweeps over all pairs, whose similarities are held or
    made anew as for ``max_herding``.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the first centroids of k-means, and equals of the subset.
        metric: As for ``max_herding``.
        delta: The radius, in units of the metric; unless told, by the rule.
        clusters: Number of pseudo-classes of the rule; unless told, :math:`\sqrt N`, rounded up:
            whatever the budget, so that subsets are nested.
    """
    count = math.ceil(math.sqrt(pool.N)) if clusters is None else clusters
    check_integer(count, "clusters", low=1, high=pool.N, hint=f"the pool has N={pool.N} samples")
    if delta is not None:
        delta = check_positive(delta, "delta", hint="leave it out for the reference's rule")
    rows = measured(pool.features, metric)
    # At this width exponents are at most one, so that similarities keep the digits of distances.
    width = 2.0 * math.sqrt(np.einsum("ij,ij->i", rows, rows).max()) or 1.0
    kernel = GaussianKernel(rows, width)
    if delta is not None:
        return Choice(_cover(kernel, pool, n, (delta / width) ** 2, rng))
    radius = largest_pure(kernel, lloyd(LinearKernel(rows), count, rng=rng)[1])
    indices = _cover(kernel, pool, n, radius, rng)
    return Choice(indices, settings=f"delta {width * radius**0.5:.3g}")


def largest_pure(kernel: GaussianKernel, cells: Indices) -> float:
    r"""Returns the largest :math:`\delta^2/\sigma^2` at which 95 % of all balls are in one cell.

    A ball is pure as long as :math:`\delta` is at most the distance to the nearest sample of
    another cell; with one cell alone, every ball is, and the radius is that of the whole pool.
    """
    nearest = np.zeros(kernel.N)
    everything = np.arange(kernel.N)
    for part, block, similar in kernel.tiles(everything):
        similar[cells[part, None] == cells[block]] = 0.0
        np.maximum(nearest[part], similar.max(axis=1), out=nearest[part])
    may_be_impure = int((1.0 - _PURE) * kernel.N + TIE)
    similarity = np.sort(nearest)[::-1][may_be_impure]
    return -math.log(similarity) if similarity > 0.0 else 2.0


def _cover(
    kernel: GaussianKernel, pool: Pool, n: int, radius: float, rng: np.random.Generator
) -> Indices:
    """Takes n samples, by balls of squared radius ``radius``, then a quarter of it, and so on."""
    everything = np.arange(kernel.N)
    best = np.zeros(kernel.N)  # similarity to the nearest of the subset
    for cut in blocks(len(pool.kept), kernel.N):
        np.maximum(best, kernel.rows(pool.kept[cut]).max(axis=0), out=best)
    indices: list[int] = []
    while len(indices) < n and (best <= 1.0 - TIE).any():
        # Inside is what is nearer than the radius by more than rounding, and what is equal.
        while not (best <= (least := min(math.exp(-radius) + TIE, 1.0 - TIE))).any():
            radius /= 4.0
        uncovered = best <= least
        gains = np.zeros(kernel.N, dtype=np.intp)
        for part, _, similar in kernel.tiles(everything, np.flatnonzero(uncovered)):
            gains[part] += np.count_nonzero(similar > least, axis=1)
        while len(indices) < n and uncovered.any():
            indices.append(int(gains.argmax()))
            similar = kernel.rows(np.array(indices[-1:]))[0]
            np.maximum(best, similar, out=best)
            new = np.flatnonzero(uncovered & (similar > least))
            uncovered[new] = False
            for _, block, similar in kernel.tiles(new):
                gains[block] -= np.count_nonzero(similar > least, axis=0)
    rest = rng.permutation(np.setdiff1d(pool.others, indices))[: n - len(indices)]
    return np.concatenate([np.array(indices, dtype=np.intp), rest])

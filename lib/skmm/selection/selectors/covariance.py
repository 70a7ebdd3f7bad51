r"""Covariance: subsets whose covariance follows that of the pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.eigen import gram_eigen, rank_cutoff
from skmm.numerics.inputs import check_integer
from skmm.numerics.ties import TIE, first_least
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.metrics import measured

Floats = NDArray[np.float64]

_APART = 1e-6
"""Relative distance of two variances below which their directions cannot be told apart."""


@selector(
    "covariance_matching",
    label="Covariance matching",
    deterministic=True,
    keeps=True,
    nested=True,
    cost="N r min(N, r) + N n rank²",
    reference="Rezaei et al. (2026), ICLR, arXiv 2510.08123; one class",
)
def match_covariance(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    rank: int = 32,
) -> Choice:
    r"""Follows the covariance of the pool, greedily in its principal coordinates.

    .. math:: i_{k+1} = \arg\min_{i \notin S} \bigl\|\operatorname{cov}(z_{S + i}) -
              \operatorname{cov}(z)\bigr\|_F, \qquad
              \operatorname{cov}(z_S) = \frac1{|S|} \sum_{j \in S} z_j z_j^\top
              - \bar z_S \bar z_S^\top

    with :math:`z` the rows' leading principal coordinates, ``rank`` of them and those of the same
    variance as the last. The mean of a subset is its own and is not matched. One sample has no
    covariance: the first is that next to the pool's mean, of equal scores the first in the pool.

    The reference selects generated images to follow a set of real ones, class by class: here the
    pool is both, and one class. The objective is the distance reached, relative to
    :math:`\|\operatorname{cov}(z)\|_F`.

    Args:
        pool: The pool.
        n: Budget.
        rng: Not used.
        metric: As for ``max_herding``.
        rank: Number of principal coordinates, at least 1; no more are used than there are.
    """
    check_integer(rank, "rank", low=1, hint="32 is the reference's")
    coordinates = principal_coordinates(measured(pool.features, metric), rank)
    if coordinates.shape[1] == 0:  # all rows are equal
        return Choice(pool.others[:n], 0.0)
    variances = np.mean(coordinates**2, axis=0)
    coordinates /= np.sqrt(np.linalg.norm(variances))
    target = np.diag(variances / np.linalg.norm(variances))
    lengths = np.einsum("ij,ij->i", coordinates, coordinates)
    outside, kept = pool.outside(), len(pool.kept)
    indices = np.empty(kept + n, dtype=np.intp)
    indices[:kept] = pool.kept
    if not kept:
        indices[0] = first_least(lengths)
        outside[indices[0]] = False
    begun = coordinates[indices[: max(kept, 1)]]
    mean = begun.mean(axis=0)
    covariance = (begun - mean).T @ (begun - mean) / len(begun)
    for t in range(len(begun), len(indices)):
        # Of t samples and one more: t/(t+1) times their covariance, and t/(t+1)² uu' of u = z − z̄.
        rest, share = t / (t + 1) * covariance - target, t / (t + 1) ** 2
        apart = coordinates - mean
        along = np.einsum("ij,ij->i", apart @ rest, apart)
        squares = np.einsum("ij,ij->i", apart, apart)
        scores = share * squares * (share * squares) + 2.0 * share * along
        # Scores are differences of a squared distance: near the end all of them are small.
        scores = np.where(outside, scores, np.inf)
        index = indices[t] = first_least(scores, TIE * share)
        covariance = rest + target + share * np.outer(apart[index], apart[index])
        mean += apart[index] / (t + 1)
        outside[index] = False
    return Choice(indices[kept:], float(np.linalg.norm(covariance - target)))


def principal_coordinates(rows: Floats, rank: int) -> Floats:
    """Returns rows less their mean in their leading principal directions, ``[N, m]``.

    Directions of the same variance as the last are kept with it: which of them would be cut off is
    up to rounding alone. Those without variance are left out.
    """
    energy = float(np.sum(rows**2))
    rows = rows - rows.mean(axis=0)
    N, r = rows.shape
    values, vectors = gram_eigen(rows.T @ rows if r <= N else rows @ rows.T)
    seen = int(np.count_nonzero(values > rank_cutoff(max(N, r), energy)))
    if seen > rank:
        seen = int(np.count_nonzero(values[:seen] >= (1.0 - _APART) * values[rank - 1]))
    vectors = vectors[:, :seen]
    return rows @ vectors if r <= N else vectors * np.sqrt(values[:seen])

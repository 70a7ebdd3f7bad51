r"""Sampling by leverage: how much of a direction of the pool rests on one sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.eigen import gram_eigen, rank_cutoff
from skmm.numerics.inputs import check_integer
from skmm.rounding.sampling import round_by_sampling
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.metrics import measured
from skmm.spectrum import intrinsic_dimension

Floats = NDArray[np.float64]

_LARGE = 4096
"""Side of the largest eigenproblem solved without the sketch: half a minute on one core."""

_SEEN = 1e-10
"""Share of the largest eigenvalue below which the directions of a Gram matrix have no digits."""

_APART = 1e-6
"""Relative distance of two eigenvalues below which their directions cannot be told apart."""


def _scores(pool: Pool, metric: str, weigh: Callable[[Floats], Floats]) -> Floats:
    r"""Returns :math:`\sum_j w_j U_{ij}^2` with weights of the squared singular values: ``[N]``.

    By an eigendecomposition of the smaller of :math:`G^\top G` and :math:`GG^\top`; of the sketch
    where both are large. Rows are looked at in blocks: of raw ones no copy is made.
    """
    sketched = min(pool.rows.shape) > _LARGE or pool.m == pool.rows.shape[1]
    rows = pool.sketched if sketched else pool.features
    if metric != "raw":  # a scale of all rows changes no score
        rows = measured(rows[:], metric)
    N, r = rows.shape
    if sketched and metric == "raw" and r < N:  # the certificate needs it, too
        energies, vectors = N * pool.spectrum.eigenvalues, pool.spectrum.eigenvectors
    else:
        kernel = LinearKernel(rows[:])
        energies, vectors = gram_eigen(kernel.moment() if r < N else kernel.gram())
    seen = int(np.count_nonzero(energies > _SEEN * energies[:1]))
    energies, vectors = energies[:seen], vectors[:, :seen]
    weights = weigh(energies)
    used = len(weights)
    scores = np.empty(N)
    if r < N:
        vectors = vectors[:, :used] * np.sqrt(weights / energies[:used])
        for block in blocks(N, r):
            parts = rows[block].astype(np.float64, copy=False) @ vectors
            scores[block] = np.einsum("ij,ij->i", parts, parts)
    else:
        for block in blocks(N, N):
            scores[block] = vectors[block, :used] ** 2 @ weights
    # A row that is zero, or outside these directions, has a score of squared rounding errors.
    scores[scores <= rank_cutoff(max(N, r), 1.0) ** 2] = 0.0
    return scores


def _check_rank(pool: Pool, rank: int | None) -> None:
    shape = list(pool.rows.shape)
    hint = f"the features have shape {shape}; leave it out for the intrinsic one"
    if rank is not None:
        check_integer(rank, "rank", low=1, high=min(shape), hint=hint)


def _rank(pool: Pool, energies: Floats, rank: int | None) -> int:
    if rank is None:
        return intrinsic_dimension(energies, pool.N) if len(energies) else 0
    return min(rank, len(energies))


def leverage_scores(pool: Pool, rank: int | None = None, metric: str = "raw") -> Floats:
    r"""Returns truncated leverage scores :math:`\sum_{j \le k} U_{ij}^2`, shape ``[N]``, sum k.

    Directions whose singular values equal the k-th are kept with it: which of them would be cut
    off is up to rounding alone.
    """
    _check_rank(pool, rank)

    def weigh(energies: Floats) -> Floats:
        k = _rank(pool, energies, rank)
        return np.ones(np.count_nonzero(energies >= (1.0 - _APART) * energies[k - 1]) if k else 0)

    return _scores(pool, metric, weigh)


def ridge_leverage_scores(pool: Pool, rank: int | None = None, metric: str = "raw") -> Floats:
    r"""Returns ridge leverage scores :math:`\ell_i(\lambda)`, shape ``[N]``, sum at most 2k."""
    _check_rank(pool, rank)

    def weigh(energies: Floats) -> Floats:
        k = _rank(pool, energies, rank)
        return energies / (energies + energies[k:].sum() / max(k, 1))

    return _scores(pool, metric, weigh)


def _draw(pool: Pool, scores: Floats, n: int, rng: np.random.Generator) -> Choice:
    drawn = round_by_sampling(scores, pool.N, rng=rng)
    return Choice(drawn[pool.outside()[drawn]][:n])


@selector(
    "leverage",
    label="T-leverage",
    cost="N r min(N, r)",
    reference="Mahoney and Drineas (2009), PNAS 106; truncated",
    nested=True,
    keeps=True,
)
def sample_by_leverage(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    rank: int | None = None,
    metric: str = "raw",
) -> Choice:
    r"""Samples by truncated leverage scores, without replacement.

    .. math:: \ell_i = \sum_{j \le k} U_{ij}^2, \qquad G = U\,\mathrm{diag}(\sigma)\,V^\top

    In the sketch if both sides of :math:`G` exceed 4096. Successive sampling; samples without
    leverage come last, uniformly.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the samples.
        rank: :math:`k`, the pool's intrinsic dimension unless told; directions of the same
            :math:`\sigma` as the k-th are kept with it.
        metric: What rows :math:`g_i` are taken as, see `measured`.
    """
    return _draw(pool, leverage_scores(pool, rank, metric), n, rng)


@selector(
    "ridge_leverage",
    label="R-leverage",
    cost="N r min(N, r)",
    reference="Cohen, Musco and Musco (2017), arXiv 1511.07263",
    nested=True,
    keeps=True,
)
def sample_by_ridge_leverage(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    rank: int | None = None,
    metric: str = "raw",
) -> Choice:
    r"""Samples by ridge leverage scores, without replacement.

    .. math:: \ell_i(\lambda) = g_i^\top (G^\top G + \lambda I)^{\dagger} g_i, \qquad
              \lambda = \tfrac1k \sum_{j > k} \sigma_j^2

    In the sketch if both sides of :math:`G` exceed 4096. With the reference's ridge the directions
    beyond :math:`k` together count at most as much as :math:`k` leading ones. Directions below a
    1e-5 share of the largest singular value do not count. Successive sampling; rows of zeros come
    last, uniformly.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the samples.
        rank: :math:`k`, the pool's intrinsic dimension unless told.
        metric: What rows :math:`g_i` are taken as, see `measured`.
    """
    return _draw(pool, ridge_leverage_scores(pool, rank, metric), n, rng)

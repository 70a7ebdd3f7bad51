r"""Sampling by leverage: how much of a direction of the pool rests on one sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer
from skmm.rounding.sampling import round_by_sampling
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.spectrum import Spectrum, intrinsic_dimension

_LARGE = 4096
"""Side of the largest eigenproblem solved without the sketch: half a minute on one core."""


def _singular_system(pool: Pool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Returns the squared singular values of :math:`G`, descending, and its left vectors.

    By an eigendecomposition of the smaller of :math:`G^\top G` and :math:`GG^\top`; of the sketch
    where both are large. Directions at the level of rounding are left out.
    """
    N, r = pool.features.shape
    if min(N, r) > _LARGE:
        rows, spectrum = pool.sketched, pool.spectrum
    elif r < N:
        rows = pool.features.astype(np.float64, copy=False)
        spectrum = pool.spectrum if rows is pool.sketched else Spectrum.of(rows)
    else:
        # The columns of Gᵀ are the samples: the spectrum's vectors are G's left ones.
        spectrum = Spectrum.of(pool.features.T.astype(np.float64))
        return r * spectrum.eigenvalues[: spectrum.rank], spectrum.eigenvectors[:, : spectrum.rank]
    k = spectrum.rank
    return N * spectrum.eigenvalues[:k], spectrum.whiten(rows, k) / np.sqrt(N)


def _check_rank(pool: Pool, rank: int | None) -> None:
    shape = list(pool.features.shape)
    hint = f"the features have shape {shape}; leave it out for the intrinsic one"
    if rank is not None:
        check_integer(rank, "rank", low=1, high=min(shape), hint=hint)


def _rank(pool: Pool, energies: NDArray[np.float64], rank: int | None) -> int:
    if rank is None:
        return intrinsic_dimension(energies, pool.N) if len(energies) else 0
    return min(rank, len(energies))


def leverage_scores(pool: Pool, rank: int | None = None) -> NDArray[np.float64]:
    r"""Returns truncated leverage scores :math:`\sum_{j \le k} U_{ij}^2`, shape ``[N]``, sum k."""
    _check_rank(pool, rank)
    energies, left = _singular_system(pool)
    return np.sum(left[:, : _rank(pool, energies, rank)] ** 2, axis=1)


def ridge_leverage_scores(pool: Pool, rank: int | None = None) -> NDArray[np.float64]:
    r"""Returns ridge leverage scores :math:`\ell_i(\lambda)`, shape ``[N]``, sum at most 2k."""
    _check_rank(pool, rank)
    energies, left = _singular_system(pool)
    k = _rank(pool, energies, rank)
    ridge = energies[k:].sum() / max(k, 1)
    return left**2 @ (energies / (energies + ridge))


@selector(
    "leverage", cost="N r min(N, r)", reference="Mahoney and Drineas (2009), PNAS 106; truncated"
)
def sample_by_leverage(
    pool: Pool, n: int, *, rng: np.random.Generator, rank: int | None = None
) -> Choice:
    r"""Samples by truncated leverage scores, without replacement.

    .. math:: \ell_i = \sum_{j \le k} U_{ij}^2, \qquad G = U\,\mathrm{diag}(\sigma)\,V^\top

    On the features :math:`G` themselves (in the sketch if both sides of :math:`G` exceed 4096).
    ``rank`` is :math:`k`, the pool's intrinsic dimension unless told. Successive sampling; samples
    without leverage come last, uniformly.
    """
    return Choice(round_by_sampling(leverage_scores(pool, rank), n, rng=rng))


@selector(
    "ridge_leverage",
    cost="N r min(N, r)",
    reference="Cohen, Musco and Musco (2017), arXiv 1511.07263",
)
def sample_by_ridge_leverage(
    pool: Pool, n: int, *, rng: np.random.Generator, rank: int | None = None
) -> Choice:
    r"""Samples by ridge leverage scores, without replacement.

    .. math:: \ell_i(\lambda) = g_i^\top (G^\top G + \lambda I)^{\dagger} g_i, \qquad
              \lambda = \tfrac1k \sum_{j > k} \sigma_j^2

    On the features :math:`G` themselves (in the sketch if both sides of :math:`G` exceed 4096).
    ``rank`` is :math:`k`, the pool's intrinsic dimension unless told; with the reference's ridge
    the directions beyond :math:`k` together count at most as much as :math:`k` leading ones.
    Successive sampling; rows of zeros come last, uniformly.
    """
    return Choice(round_by_sampling(ridge_leverage_scores(pool, rank), n, rng=rng))

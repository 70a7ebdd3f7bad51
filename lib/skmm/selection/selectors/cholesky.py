r"""Adaptive sampling: randomly pivoted Cholesky factorisation of the linear kernel."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from skmm.numerics.eigen import rank_cutoff
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.metrics import measured

_BLOCK = 64
"""Proposals a round: enough for matrix products, few enough that their own b³ does not count."""

_SPANNED = 1e-10
"""Share of a row's energy at which what is left of it counts as nothing: the digits below are those
of rounding, and another BLAS would draw other pivots from them."""


def pivoted_cholesky(kernel: LinearKernel, n: int, *, rng: np.random.Generator) -> NDArray[np.intp]:
    r"""Draws up to ``n`` pivots, each with probability proportional to the residual's diagonal.

    Pivots are proposed in blocks from the current diagonal and thinned so that every accepted one
    follows the law of the sequential algorithm exactly. Costs ``N (r + n)`` a pivot, all in matrix
    products, and ``N n`` numbers of memory.

    Returns:
        Distinct pivots in the order accepted; fewer than ``n`` only if they span all rows: of each
        less than a share of 1e-10 of its energy is left.

    References:
        Chen, Epperly, Tropp and Webber (2022), https://arxiv.org/abs/2207.06503; Epperly, Tropp and
        Webber (2024), https://arxiv.org/abs/2410.03969, for the blocks.
    """
    residual = kernel.energies.copy()
    floors = _SPANNED * residual
    factor = np.empty((kernel.N, n))
    pivots = np.empty(n, dtype=np.intp)
    k = 0
    while k < n:
        residual[residual <= floors] = 0.0
        mass = np.cumsum(residual)
        if mass[-1] == 0.0:
            break
        draws = rng.random((2, min(_BLOCK, n)))
        proposals = np.searchsorted(mass, draws[0] * mass[-1], side="right")
        # A draw next to 1 may round up to all of the mass.
        proposals = np.minimum(proposals, np.flatnonzero(residual)[-1])
        known = factor[proposals, :k]
        left = kernel.block(proposals) - known @ known.T
        floor = np.maximum(floors[proposals], draws[1] * residual[proposals])
        accepted, triangle = _thin(left, floor, n - k)
        new = proposals[accepted]
        columns = kernel.columns(new) - factor[:, :k] @ factor[new, :k].T
        ahead = k + len(new)
        factor[:, k:ahead] = scipy.linalg.solve_triangular(triangle, columns.T, lower=True).T
        residual -= np.sum(factor[:, k:ahead] ** 2, axis=1)
        residual[new] = 0.0
        pivots[k:ahead] = new
        k = ahead
    return pivots[:k]


def _thin(
    block: NDArray[np.float64], thresholds: NDArray[np.float64], limit: int
) -> tuple[list[int], NDArray[np.float64]]:
    """Accepts proposals in turn, each with the share of its residual that is left by then.

    The first is accepted whatever the rounding: it was drawn from the residual as it is. Returns
    the positions accepted, at most ``limit``, and their Cholesky factor.
    """
    accepted: list[int] = []
    columns = []
    for position, threshold in enumerate(thresholds):
        left = block[position, position]
        if left > threshold or not accepted:
            column = block[:, position] / np.sqrt(left)
            block -= np.outer(column, column)
            accepted.append(position)
            columns.append(column)
            if len(accepted) == limit:
                break
    return accepted, np.tril(np.column_stack(columns)[accepted])


def _beyond(rows: NDArray[np.float64], kept: NDArray[np.intp]) -> NDArray[np.float64]:
    """Returns what the span of the rows ``kept`` leaves of all rows; of their own, nothing."""
    _, sizes, directions = scipy.linalg.svd(rows[kept], full_matrices=False)
    seen = sizes**2 > rank_cutoff(max(rows[kept].shape), float(sizes[0]) ** 2)
    left = rows - (rows @ directions[seen].T) @ directions[seen]
    spanned = np.sum(left**2, axis=1) <= _SPANNED * np.sum(rows**2, axis=1)
    spanned[kept] = True
    left[spanned] = 0.0
    return left


@selector(
    "adaptive",
    label="Adaptive",
    cost="N r n + N n²",
    reference="Chen et al. (2022), arXiv 2207.06503",
    keeps=True,
)
def sample_adaptively(
    pool: Pool, n: int, *, rng: np.random.Generator, metric: str = "unit"
) -> Choice:
    r"""Samples by what the subset does not span yet (randomly pivoted Cholesky).

    .. math:: \Pr(i_{k+1} = i) \propto \|(I - P_k) g_i\|^2

    with :math:`P_k` the projector on the span of the ``k`` samples taken: randomly pivoted Cholesky
    on :math:`GG^\top`, by blocks of the same law. When the residual is zero, at the rank of
    :math:`G`, the rest of the budget is drawn uniformly. Of samples kept the span is taken first.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the pivots.
        metric: What rows :math:`g_i` are taken as, see `measured`.
    """
    rows = measured(pool.features, metric)
    if len(pool.kept):
        rows = _beyond(rows, pool.kept)
    pivots = pivoted_cholesky(LinearKernel(rows), n, rng=rng)
    rest = np.setdiff1d(pool.others, pivots)
    return Choice(np.concatenate([pivots, rng.choice(rest, n - len(pivots), replace=False)]))

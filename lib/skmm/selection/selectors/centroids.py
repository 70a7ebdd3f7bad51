r"""Free centroids: as many as samples are wanted, moved to where the pool is and apart."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.special
from numpy.typing import NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.inputs import check_integer, check_positive
from skmm.numerics.threads import large_product
from skmm.numerics.ties import TIE, first_largest
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.metrics import measured

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_RATE, _FIRST, _SECOND, _FLOOR = 1e-3, 0.9, 0.999, 1e-8
"""Adam's step, the memory of its two moments, and what keeps their quotient finite."""

_CLOSE = 2e-5
"""Similarities of unit rows that single precision cannot tell apart: a wide margin."""


@selector(
    "active_ft",
    label="ActiveFT",
    cost="N r n x steps",
    reference="Xie et al. (2023), CVPR, arXiv 2303.14382",
    keeps=True,
)
def free_centroids(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    steps: int = 300,
    temperature: float = 0.07,
) -> Choice:
    r"""Moves ``n`` free centroids to the pool and apart; takes the rows most similar (ActiveFT).

    .. math:: \min_{c_1 \ldots c_n} -\frac1N \sum_i \log
              \frac{e^{g_i^\top c_{k(i)}/\tau}}{e^{g_i^\top c_{k(i)}/\tau}
              + \sum_j e^{c_j^\top c_{k(i)}/\tau}}, \qquad
              k(i) = \arg\max_k g_i^\top c_k

    over unit vectors, the :math:`c_j` of the inner sum held fixed. From ``n`` random rows by Adam
    with step 0.001; then each centroid in turn takes the most similar sample that is left. The
    gradient is written out: a step costs one product of ``N r n``, of which single precision finds
    the candidates and double precision decides among those that it cannot tell apart. Minutes where
    other methods take seconds: 300 steps at N = 8,144, r = 1,280 and n = 1,000.

    Differs from the reference in the random numbers alone, and in precision; and in that samples
    kept, which it has none of, are centroids that do not move.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the rows that the centroids start at.
        metric: As for ``max_herding``.
        steps: Steps of Adam, at least 0.
        temperature: :math:`\tau`, in units of a similarity.
    """
    check_integer(steps, "steps", low=0, hint="300 is the reference's")
    temperature = check_positive(temperature, "temperature", hint="0.07 is the reference's")
    rows = measured(pool.features, metric)
    search = _Search(rows)
    kept, new = rows[pool.kept], rng.choice(pool.others, n, replace=False)
    free = rows[new]
    first, second = np.zeros((2, *free.shape))
    for step in range(1, steps + 1):
        centroids = np.concatenate([kept, free])
        gradient = loss_gradient(rows, centroids, search, temperature)[len(kept) :]
        first += (1.0 - _FIRST) * (gradient - first)
        second += (1.0 - _SECOND) * (gradient**2 - second)
        scale = np.sqrt(second / (1.0 - _SECOND**step)) + _FLOOR
        free -= _RATE / (1.0 - _FIRST**step) * first / scale
    return Choice(_take(rows, _normalised(free)[0], pool.outside()))


def loss_gradient(rows: Floats, free: Floats, search: _Search, temperature: float) -> Floats:
    """Returns the gradient of the loss in the free centroids, through their normalisation."""
    centroids, lengths = _normalised(free)
    cells, reached = search.nearest(centroids)
    repulsion = centroids @ centroids.T / temperature
    crowd = scipy.special.logsumexp(repulsion, axis=1)
    # One minus the share of a row's own term: what is left to be gained there.
    left = scipy.special.expit(crowd[cells] - reached / temperature)
    N, n = len(rows), len(free)
    pull = scipy.sparse.csr_array((left, (cells, np.arange(N))), shape=(n, N))
    repulsion -= crowd[:, None]
    gradient = pull.sum(axis=1)[:, None] * (np.exp(repulsion, out=repulsion) @ centroids)
    gradient -= pull @ rows
    gradient -= np.einsum("ij,ij->i", gradient, centroids)[:, None] * centroids
    return gradient / (N * temperature * lengths)


class _Search:
    """Finds the centroid that each row is most similar to, of equally similar ones the first."""

    def __init__(self, rows: Floats):
        self._rows, self._single = rows, rows.astype(np.float32)
        self._margins = (_CLOSE * np.linalg.norm(rows, axis=1)).astype(np.float32)[:, None]

    def nearest(self, centroids: Floats) -> tuple[Indices, Floats]:
        """Returns its number and its similarity, both ``[N]``."""
        N, r = self._rows.shape
        cells, single = np.empty(N, dtype=np.intp), centroids.astype(np.float32).T
        with large_product(N * r * len(centroids)):
            for block in blocks(N, max(r, len(centroids))):
                similar = self._single[block] @ single
                best = similar.max(axis=1, keepdims=True)
                candidates = similar >= best - self._margins[block]
                cells[block] = np.argmax(candidates, axis=1)
                unclear = np.flatnonzero(np.count_nonzero(candidates, axis=1) > 1)
                if len(unclear):
                    exact = self._rows[block][unclear] @ centroids.T
                    near = exact >= exact.max(axis=1, keepdims=True) - TIE
                    cells[block.start + unclear] = np.argmax(near, axis=1)
        return cells, np.einsum("ij,ij->i", self._rows, centroids[cells])


def _normalised(free: Floats) -> tuple[Floats, Floats]:
    """Returns unit vectors and the lengths divided by, ``[n, 1]``; a zero row stays zero."""
    lengths = np.maximum(np.linalg.norm(free, axis=1, keepdims=True), 1e-12)
    return free / lengths, lengths


def _take(rows: Floats, centroids: Floats, outside: NDArray[np.bool_]) -> Indices:
    """Returns the most similar row left outside for each centroid in turn, of equals the first."""
    indices = np.empty(len(centroids), dtype=np.intp)
    for block in blocks(len(centroids), len(rows)):
        for k, similar in enumerate(centroids[block] @ rows.T, start=block.start):
            indices[k] = first_largest(np.where(outside, similar, -np.inf))
            outside[indices[k]] = False
    return indices

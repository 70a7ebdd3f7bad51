r"""Sensitivity: samples drawn by how much a loss could hide in them, and weighted accordingly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.clusters import spread
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.metrics import measured

Floats = NDArray[np.float64]

_BLOCK = 64
"""Centres that all samples are compared with at a time."""

_CERTAIN = 1e-9
"""Probabilities this close to one are one: far above rounding, far below what is ever noticed."""


@selector(
    "sensitivity",
    label="Sensitivity",
    cost="N r clusters",
    reference="Axiotis et al. (2024), ICML, arXiv 2402.17327",
)
def sample_by_sensitivity(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    clusters: int | None = None,
) -> Choice:
    r"""Samples the more the farther from the centres of the pool, with weights (sensitivity).

    .. math:: p_i = \frac12\Bigl(\frac1N + \frac{d_i^2}{\sum_j d_j^2}\Bigr), \qquad
              d_i = \min_c \|g_i - c\|, \qquad \pi_i = \min(1, \tau p_i), \quad \sum_i \pi_i = n

    over centres :math:`c` drawn by k-means++. Sample i is taken with probability :math:`\pi_i`, in
    a random order by systematic sampling, and weighs :math:`1/\pi_i`, up to a common factor: means
    of a loss over the subset estimate those over the pool, and the bound on their variance is the
    better the smaller the distances are.

    The reference puts the loss of its centre, labelled first, where :math:`1/N` stands here, and
    draws with replacement at weights :math:`1/(n p_i)`. Here no sample is drawn twice:
    :math:`\pi_i = n p_i` unless that exceeds one, so the weights are the same but for samples that
    are taken for certain.

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws centres and samples.
        metric: As for ``max_herding``.
        clusters: Number of centres; unless told, half the budget: the reference's bound asks for
            as many samples as there are centres and :math:`1/\varepsilon^2` more.
    """
    count = max(1, n // 2) if clusters is None else clusters
    check_integer(count, "clusters", low=1, high=pool.N, hint=f"the pool has N={pool.N} samples")
    kernel = LinearKernel(measured(pool.features, metric))
    centers = spread(kernel, count, rng)
    squares = np.full(pool.N, np.inf)
    for i in range(0, count, _BLOCK):
        apart = kernel.all_distances(centers[i : i + _BLOCK])
        np.minimum(squares, apart.min(axis=1), out=squares)
    squares[centers] = 0.0
    total = squares.sum()
    shares = np.full(pool.N, 1.0 / pool.N)
    if total > 0.0:
        shares = 0.5 * (shares + squares / total)
    inclusion = inclusion_probabilities(shares, n)
    indices = draw_systematically(inclusion, n, rng)
    weights = 1.0 / inclusion[indices]
    return Choice(indices, weights=weights / weights.sum())


def inclusion_probabilities(shares: Floats, n: int) -> Floats:
    r"""Returns :math:`\min(1, \tau p_i)` with the :math:`\tau` at which they sum to ``n``: ``[N]``.

    Args:
        shares: :math:`p_i`, all positive, shape ``[N]``.
        n: Budget, in ``1..N``.
    """
    descending = np.sort(shares)[::-1]
    tails = np.cumsum(descending[::-1])[::-1]
    # With the k largest at one, the others share what is left; the least such k that caps enough.
    factors = (n - np.arange(n)) / tails[:n]
    enough = factors * descending[:n] <= 1.0 + _CERTAIN
    return np.minimum(1.0, factors[np.argmax(enough)] * shares)


def draw_systematically(inclusion: Floats, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    r"""Draws ``n`` distinct samples, sample i with probability :math:`\pi_i` (Madow, 1949).

    The probabilities are laid end to end in random order, and points one apart are dropped on them;
    samples of probability one come first.
    """
    order = rng.permutation(len(inclusion))
    start = (1.0 - _CERTAIN) * rng.random()
    is_certain = inclusion[order] >= 1.0 - _CERTAIN
    certain, rest = order[is_certain], order[~is_certain]
    left = n - len(certain)
    if left == 0:
        return certain
    ends = np.cumsum(inclusion[rest])
    ends *= left / ends[-1]
    return np.concatenate([certain, rest[np.searchsorted(ends, start + np.arange(left), "right")]])

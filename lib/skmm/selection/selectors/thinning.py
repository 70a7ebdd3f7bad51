r"""Thinning: half of the pool, and half of that, so that means of smooth functions stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.extras import extra
from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.ties import TIE, first_least
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.metrics import measured

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]

_GRID = 2.0**26
"""Similarities are rounded to multiples of its inverse: sums of them are then exact in any order,
so that which of two samples is swapped in does not hang on rounding."""


@selector(
    "kernel_thinning",
    label="Kernel thinning",
    cost="N² r",
    reference="Dwivedi and Mackey (2021, 2022), arXiv 2105.05842, 2110.01593; goodpoints",
)
def thin_by_kernel(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    metric: str = "unit",
    sigma: float = 1.0,
) -> Choice:
    r"""Halves the pool such that its mean in a kernel's space stays (kernel thinning).

    .. math:: \operatorname{MMD}^2(S) = \Bigl\|\frac1n \sum_{i \in S} k(g_i, \cdot)
              - \frac1N \sum_j k(g_j, \cdot)\Bigr\|_k^2, \qquad k(x, y) = e^{-\|x - y\|^2/\sigma^2}

    By `goodpoints`, the extra ``thinning``: of each two samples in random order one goes to each
    half, at random but so that the halves' difference stays small, :math:`h` times over; the best
    of the :math:`2^h` parts is then refined by swaps. It makes parts of
    :math:`\lfloor N/2^h \rfloor` samples alone: for any other n the next larger part, for n above
    N/2 the pool, is thinned further by taking out, one by one, the sample whose absence leaves the
    least discrepancy. The target kernel is its own split kernel (generalized kernel thinning).

    Args:
        pool: The pool.
        n: Budget.
        rng: Draws the order of the pool and the seed of the halving.
        metric: As for ``max_herding``.
        sigma: Width of the kernel.

    Raises:
        ImportError: `goodpoints` is not installed.
    """
    with extra("thinning", needed_by='method="kernel_thinning"'):
        from goodpoints import kt

    kernel = GaussianKernel(measured(pool.features, metric), sigma)
    order = rng.permutation(pool.N)
    seed = int(rng.integers(1 << 32))

    def similar(some: Indices, others: Indices) -> Floats:
        # Asked for one sample against many, or for each against itself.
        if len(some) > 1:
            return np.ones(len(some))
        return _rounded(kernel.block(some[:, 0], others[:, 0]))[0]

    means = _sums(kernel, np.arange(pool.N)) / pool.N
    part, rows, halvings = np.arange(pool.N), order[:, None], int(np.log2(pool.N / n))
    if halvings:
        # The steps of `kt.thin`, whose swaps fail under NumPy 2.4 (goodpoints 0.6.3) when they are
        # handed the means.
        halves = kt.split(rows, halvings, similar, seed=seed)
        best = kt.best_X(rows, halves, similar, meanK=means[order])
        part = kt.refine_X(rows, best, similar, unique=True)
    return Choice(leave_out(kernel, order[np.sort(part)], means, n))


def leave_out(kernel: GaussianKernel, part: Indices, means: Floats, n: int) -> Indices:
    """Takes samples out of a part of the pool until ``n`` are left, each for the least discrepancy.

    Args:
        kernel: Similarities.
        part: Samples, at least ``n``.
        means: Mean similarity of each sample to the pool, shape ``[N]``.
        n: How many are to be left.

    Returns:
        Those left, in the order of ``part``, shape ``[n]``.
    """
    sums, inside = _sums(kernel, part), np.ones(len(part), dtype=bool)
    for left in range(len(part) - 1, n - 1, -1):
        # Up to what is the same for all, times left/2.
        scores = np.where(inside, means[part] - sums / left, np.inf)
        out = first_least(scores, TIE)
        inside[out] = False
        sums -= _rounded(kernel.block(part[out : out + 1], part))[0]
    return part[inside]


def _sums(kernel: GaussianKernel, part: Indices) -> Floats:
    """Returns each sample's sum of similarities to the part, ``[len(part)]``."""
    sums = np.zeros(len(part))
    for one, _, similar in kernel.tiles(part, part):
        sums[one] += _rounded(similar).sum(axis=1)
    return sums


def _rounded(similar: Floats) -> Floats:
    return np.round(similar * _GRID) / _GRID

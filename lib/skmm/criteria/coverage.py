r"""Coverage: how near to the subset every sample of the pool is, by kernel facility location."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skmm.criteria.base import Floats, Indices, blocks
from skmm.criteria.medoids import Medoids, add_cross
from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.inputs import check_budget, check_doubles

_PROBES = 512
"""Samples at which the unit is computed; in a pool of so many it is exact."""

_COVERED = 1e-6
"""A pool of which a uniform draw leaves less uncovered is covered by any subset."""


class Coverage(Medoids):
    r"""How near to the subset every sample of the pool is: kernel facility location.

    .. math:: \frac{f(S)}{\mathbb E_{\text{uniform}} f(S)}, \qquad
              f(S) = 1 - \frac1N \sum_j \max_{i \in S} k(x_i, x_j), \qquad
              k(x, y) = e^{-\|x - y\|^2/\sigma^2}

    Exchange descent on it is k-medoids (PAM) with a kernel, its swaps told by the nearest and the
    second nearest of each sample (FasterPAM). The expectation over uniform draws of n rows is
    exact at 512 samples spread by their distance from the mean, all of a pool that has no more: the
    rank at which a sample first meets the draw has a known law. No draw is made.

    To start costs O(N² m), a swap O(N m c) with c, a few N/n, the samples whose nearest changes.
    Pools of up to 11,585 rows have the kernel itself held, in at most 512 MB: then a swap costs no
    product. Of larger ones, the subset's similarities to the pool are held if they are no more
    numbers than the rows have or 256 MB take, and so are, in either case, as many sums that tell
    all ``n (N - n)`` swaps at once. Beyond, both are made in blocks when asked for: swaps are as
    exact, a pass over all of them costs O(N² m). A shortlist holds the similarities of its
    candidates to the whole pool, and lasts until the pool's next swap.

    Args:
        rows: Rows, shape ``[N, m]``; of unit norm unless their lengths are to count.
        n: Budget.
        sigma: Width of the kernel, in the units of the rows.

    Raises:
        ValueError: ``rows`` are not finite numbers ``[N, m]``, ``n`` is outside ``1..N``, or
            ``sigma`` is no finite number above 0.

    References:
        Schubert and Rousseeuw (2021), https://arxiv.org/abs/2008.05171

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> coverage = skmm.Coverage(rows, 2)
        >>> coverage.start(np.array([0, 1]))  # two of six subsets leave a half uncovered
        >>> print(f"{coverage.value():.3f}")
        3.000
        >>> coverage.swap(np.array([1]), np.array([2]))
        >>> np.allclose(coverage.value(), 0.0)
        True
    """

    def __init__(self, rows: Floats, n: int, *, sigma: float = 1.0):
        rows = check_doubles(rows, "rows")
        self._take(GaussianKernel(rows, sigma), check_budget(n, len(rows)))

    @classmethod
    def of(cls, kernel: GaussianKernel, n: int) -> Coverage:
        """Returns the criterion of a kernel that is at hand."""
        criterion = object.__new__(cls)
        criterion._take(kernel, n)
        return criterion

    def _take(self, kernel: GaussianKernel, n: int) -> None:
        self._kernel = kernel
        self._holds = n * kernel.N <= kernel.limit
        missed = _missed_by_uniform(kernel, n)
        self._unit = 1.0 / missed if missed > _COVERED else 0.0
        self._line = np.arange(n)

    @property
    def unit(self) -> float:
        """Similarity that a uniform draw leaves uncovered, which is 1 of the value."""
        return 1.0 / self._unit if self._unit else 0.0

    @property
    def N(self) -> int:
        """See `Criterion.N`."""
        return self._kernel.N

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        N, n = self._kernel.N, len(indices)
        self.inside = np.zeros(N, dtype=bool)
        self.inside[indices] = True
        self._members = np.array(indices, dtype=np.intp)
        self._place = np.zeros(N, dtype=np.intp)
        self._place[indices] = self._line
        held = self._holds and not self._kernel.holds
        self._held = self._kernel.rows(self._members) if held else None
        self._gain = np.zeros(N)
        self._cross = np.zeros((n, N)) if self._holds else None
        self._nearest = self._find(None)
        self._count(None, [(1.0, self._nearest)])

    def chance(self, kept: Indices) -> float:
        """Returns the mean of the value over uniform draws of the rest of a subset.

        At 512 samples, as the unit, which it is by definition if none is kept.
        """
        if len(kept) == 0:
            return 1.0
        return _missed_by_uniform(self._kernel, len(self._line), kept) * self._unit

    def value_of(self, indices: Indices) -> float:
        """Returns the objective of any subset, without what swaps would need to know."""
        best = np.zeros(self._kernel.N)
        for cut in blocks(len(indices), self._kernel.N):
            np.maximum(best, self._kernel.rows(indices[cut]).max(axis=0), out=best)
        return (1.0 - float(best.mean())) * self._unit

    def _enter(self, places: Indices, entering: Indices) -> Floats:
        coming = self._kernel.rows(entering)
        self._members[places] = entering
        if self._held is not None:
            self._held[places] = coming
        return coming

    def _at(self, samples: Indices | slice) -> Floats:
        if self._held is None:
            # Similarities are symmetric, and those of a sample lie side by side.
            return self._kernel.block(samples, self._members, as_held=True).T
        return self._held[:, samples]

    def _tiles(self, samples: Indices | None) -> Iterator[tuple[slice, slice, Floats]]:
        return self._kernel.tiles(samples, as_held=True)

    def _crossed(self, places: Indices, entering: Indices) -> Floats:
        if self._cross is not None:
            return super()._crossed(places, entering)
        cross = np.zeros((len(places), len(entering)))
        line = np.full(len(self._line), -1)
        line[places] = np.arange(len(places))
        samples = np.flatnonzero(line[self._nearest.place] >= 0)
        for part, block, similar in self._kernel.tiles(samples, entering):
            near = self._nearest.take(samples[part])
            add_cross(cross, line, similar, near, block, 1.0)
        return cross

    def _similar(self, rows: Indices) -> Floats:
        if self._kernel.holds:
            return self._kernel.block(rows, slice(None), as_held=True)
        if self._held is None:
            return self._kernel.rows(rows)
        out = np.empty((len(rows), self._kernel.N))
        inside = self.inside[rows]
        out[inside] = self._held[self._place[rows[inside]]]
        out[~inside] = self._kernel.rows(rows[~inside])
        return out


def _missed_by_uniform(kernel: GaussianKernel, n: int, kept: Indices | None = None) -> float:
    r"""Returns :math:`\mathbb E f(S)` over uniform draws of n rows, at samples spread evenly.

    Of the n rows those ``kept``, if any, are there whatever is drawn, from the others.
    The nearest of a draw to a sample is the first in the order of similarity that is drawn: after l
    others with probability :math:`\binom{N-1-l}{n-1} / \binom Nn`.
    """
    N, others = kernel.N, slice(None)
    if kept is not None:
        others = np.delete(np.arange(N), kept)
        N, n = len(others), n - len(kept)
    ranks = np.arange(N - n + 1)
    left = np.cumprod((N - n - ranks) / (N - ranks))  # none of the first l + 1 is drawn
    first = np.append(1.0, left[:-1]) - left
    depth = min(len(ranks), int(np.count_nonzero(left > 1e-15)) + 1)
    probes, covered = kernel.spread(_PROBES), 0.0
    for cut in blocks(len(probes), N):
        similar = kernel.block(probes[cut], others)
        if kept is not None:
            least = kernel.block(probes[cut], kept).max(axis=1, keepdims=True)
            np.maximum(similar, least, out=similar)
        similar.partition(N - depth, axis=1)
        nearest = np.sort(similar[:, N - depth :], axis=1)[:, ::-1]
        covered += float((nearest @ first[:depth]).sum())
    return 1.0 - covered / len(probes)

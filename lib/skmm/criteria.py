r"""What a subset is judged by: criteria that exchange descent can lower one sample at a time.

A criterion keeps the state of one subset of ``n`` rows and answers, in O(N k), what the objective
would be if one of them were replaced by each row of the pool.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray


class Criterion(ABC):
    """An objective over subsets that can be lowered by replacing one sample at a time.

    Attributes:
        N: Pool size.
        selected: The current subset, shape ``[n]``, in the caller's order.
        value: The objective of the current subset.
    """

    N: int
    selected: NDArray[np.intp]
    value: float

    @abstractmethod
    def start(self, selected: NDArray[np.intp]) -> None:
        """Makes ``selected`` the current subset."""

    @abstractmethod
    def replacements(self, position: int) -> NDArray[np.float64]:
        """Returns the objective with ``selected[position]`` replaced by each sample: ``[N]``."""

    @abstractmethod
    def replace(self, position: int, sample: int) -> None:
        """Replaces ``selected[position]`` by ``sample``."""


class DiagonalShortfall(Criterion):
    r"""The paper's one-sided program on a subset: what the leading directions still lack.

    .. math:: \tfrac12 \sum_j \max\!\Bigl(0,\ \tfrac1{c_S} - \tfrac1n \sum_{i \in S} u_{ij}\Bigr)^2

    Being one-sided, it charges for directions left out and never for directions over-covered: a
    two-sided gap would rather leave a cluster empty whose fair share is below half a sample.

    Args:
        shares: :math:`U`, shape ``[N, k]``; see `skmm.matching.moment_shares`.
        slack: :math:`c_S`.
    """

    def __init__(self, shares: NDArray[np.float64], *, slack: float = 1.0):
        self.N = len(shares)
        # Direction-major, so that the directions with a shortfall are contiguous rows.
        self._shares = np.ascontiguousarray(shares.T)
        self._target = 1.0 / slack
        self._workspace = np.empty_like(self._shares)

    def start(self, selected: NDArray[np.intp]) -> None:
        """See `Criterion.start`."""
        self.selected = np.array(selected)
        self._total = self._shares[:, self.selected].sum(axis=1)
        self.value = 0.5 * float(np.sum(self._shortfall(self._total) ** 2))

    def _shortfall(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(self._target - total / len(self.selected), 0.0)

    def replacements(self, position: int) -> NDArray[np.float64]:
        """See `Criterion.replacements`."""
        left = self._total - self._shares[:, self.selected[position]]
        lack = self._shortfall(left)
        (short,) = np.nonzero(lack)  # the others stay covered whatever comes in
        gap = self._workspace[: len(short)]
        np.multiply(self._shares[short], -1.0 / len(self.selected), out=gap)
        gap += lack[short, None]
        np.maximum(gap, 0.0, out=gap)
        return 0.5 * np.einsum("jn,jn->n", gap, gap)

    def replace(self, position: int, sample: int) -> None:
        """See `Criterion.replace`."""
        self.selected[position] = sample
        # Summed anew, so that no rounding error builds up over many moves.
        self._total = self._shares[:, self.selected].sum(axis=1)
        self.value = 0.5 * float(np.sum(self._shortfall(self._total) ** 2))

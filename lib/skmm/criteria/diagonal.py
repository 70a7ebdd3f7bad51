"""The paper's one-sided program on a subset."""

from __future__ import annotations

from typing import Self

import numpy as np

from skmm.criteria.base import Criterion, Floats, Indices, blocks
from skmm.numerics.inputs import check_budget, check_doubles, check_positive


class DiagonalShortfall(Criterion):
    r"""The paper's one-sided program on a subset: what the leading directions still lack.

    .. math:: \frac{c_S^2}{k} \sum_j
              \max\!\Bigl(0,\ \tfrac1{c_S} - \tfrac1n \sum_{i \in S} u_{ij}\Bigr)^2

    Being one-sided, it charges for directions left out and never for directions over-covered: a
    two-sided gap would rather leave a cluster empty whose fair share is below half a sample.

    Args:
        shares: :math:`U`, shape ``[N, k]``; see `skmm.matching.program.moment_shares`.
        n: Budget.
        slack: :math:`c_S`.

    Raises:
        ValueError: ``shares`` are not finite numbers ``[N, k]``, ``n`` is outside ``1..N``, or
            ``slack`` is not positive.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> shares = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
        >>> shortfall = skmm.DiagonalShortfall(shares, 2)
        >>> shortfall.start(np.array([0, 1]))  # nothing of the second direction
        >>> shortfall.value()
        0.5
        >>> shortfall.swap(np.array([1]), np.array([2]))
        >>> shortfall.value()
        0.0
    """

    def __init__(self, shares: Floats, n: int, *, slack: float = 1.0):
        shares = check_doubles(shares, "shares")
        slack = check_positive(slack, "slack", hint="the paper uses 1/0.9 to 1/0.6")
        self._shares = shares * (slack / check_budget(n, len(shares)))

    @property
    def N(self) -> int:
        """See `Criterion.N`."""
        return len(self._shares)

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        self.inside = np.zeros(len(self._shares), dtype=bool)
        self.inside[indices] = True
        self._lack = 1.0 - self._shares[indices].sum(axis=0)

    def value(self) -> float:
        """See `Criterion.value`."""
        return float(np.mean(np.maximum(self._lack, 0.0) ** 2))

    def single_changes(self) -> tuple[Floats, Floats]:
        """See `Criterion.single_changes`."""
        return self._price(self._lack + self._shares), self._price(self._lack - self._shares)

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`."""
        lack = self._lack + self._shares[leaving]
        coming = self._shares[entering]
        changes = np.empty((len(leaving), len(entering)))
        for block in blocks(len(leaving), coming.size):
            pairs = lack[block, None] - coming
            changes[block] = self._price(pairs.reshape(-1, len(self._lack))).reshape(
                pairs.shape[:2]
            )
        return changes - self.value()

    def _price(self, lack: Floats) -> Floats:
        np.maximum(lack, 0.0, out=lack)
        return np.einsum("ij,ij->i", lack, lack) / len(self._lack)

    def swap(self, leaving: Indices, entering: Indices) -> None:
        """See `Criterion.swap`."""
        self.inside[leaving] = False
        self.inside[entering] = True
        self._lack += self._shares[leaving].sum(axis=0) - self._shares[entering].sum(axis=0)

    def restrict(self, rows: Indices) -> Self:
        """See `Criterion.restrict`."""
        part = object.__new__(type(self))
        part._shares, part.inside, part._lack = self._shares[rows], self.inside[rows], self._lack
        part._lack = self._lack.copy()
        return part

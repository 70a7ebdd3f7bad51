"""V-optimal design in the sketch."""

from __future__ import annotations

from typing import Self

import numpy as np
import scipy.linalg

from skmm.criteria.base import Criterion, Floats, Indices
from skmm.numerics.inputs import check_budget, check_doubles, check_positive


class VOptimality(Criterion):
    r"""The mean variance over the leading directions (V-optimal design in the sketch).

    .. math:: \tfrac1k \operatorname{tr}\bigl(M_S + \alpha I\bigr)^{-1},
              \qquad M_S = \tfrac1n \sum_{i \in S} w_i w_i^\top

    with :math:`w_i` the whitened rows, in which the pool's moment is the identity: a perfect match
    has value :math:`1/(1+\alpha)`, a direction left out costs :math:`1/(\alpha k)`. Swaps are
    rank-two updates.

    Args:
        whitened: Whitened rows, shape ``[N, k]``; see `skmm.Spectrum.whiten`.
        n: Budget.
        alpha: Ridge in units of the pool's variance in a direction.

    Raises:
        ValueError: ``whitened`` are not finite numbers ``[N, k]``, ``n`` is outside ``1..N``, or
            ``alpha`` is not positive.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> whitened = np.sqrt(2.0) * np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> variance = skmm.VOptimality(whitened, 2)
        >>> variance.start(np.array([0, 1]))  # a direction left out costs 1 / (alpha k)
        >>> round(variance.value())
        500
        >>> variance.swap(np.array([1]), np.array([2]))
        >>> round(variance.value(), 3)
        0.999
    """

    def __init__(self, whitened: Floats, n: int, *, alpha: float = 1e-3):
        whitened = check_doubles(whitened, "whitened")
        self._rows = whitened / np.sqrt(check_budget(n, len(whitened)))
        self._alpha = check_positive(alpha, "alpha", hint="1e-3 is little beside a direction's 1")
        self._on_shortlist = False

    @property
    def N(self) -> int:
        """See `Criterion.N`."""
        return len(self._rows)

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        self.inside = np.zeros(len(self._rows), dtype=bool)
        self.inside[indices] = True
        self._moment = self._rows[indices].T @ self._rows[indices]
        self._moment.flat[:: len(self._moment) + 1] += self._alpha
        self._refresh()

    def _refresh(self) -> None:
        factor = scipy.linalg.cho_factor(self._moment, lower=True, check_finite=False)
        self._inverse = scipy.linalg.cho_solve(factor, np.eye(len(self._moment)))
        self._solved = self._rows @ self._inverse
        # Leverage xᵀB x, and xᵀB²x: what both kinds of change are made of.
        self._leverage = np.einsum("ij,ij->i", self._solved, self._rows)
        self._weight = np.einsum("ij,ij->i", self._solved, self._solved)

    def value(self) -> float:
        """See `Criterion.value`."""
        return float(np.trace(self._inverse)) / len(self._inverse)

    def scale(self) -> float:
        """See `Criterion.scale`; a direction left out costs much more than one."""
        return max(1.0, self.value())

    def _left(self, rows: Indices | slice) -> Floats:
        # A row's leverage in its own subset is below 1 by the ridge; rounding must not undo that.
        return np.maximum(1.0 - self._leverage[rows], 1e-12)

    def single_changes(self) -> tuple[Floats, Floats]:
        """See `Criterion.single_changes`."""
        k = len(self._inverse)
        return self._weight / self._left(slice(None)) / k, -self._weight / (1 + self._leverage) / k

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`."""
        # After a leaves, B becomes B + B a aᵀB / (1 - aᵀBa); then b enters (Sherman-Morrison).
        left = self._left(leaving)[:, None]
        weight = self._weight[leaving][:, None] / left
        cross = self._solved[leaving] @ self._rows[entering].T
        both = self._solved[leaving] @ self._solved[entering].T
        both *= cross
        np.square(cross, out=cross)
        cross /= left
        gained = 2.0 * both / left
        gained += cross * weight
        gained += self._weight[entering]
        cross += 1.0 + self._leverage[entering]
        gained /= cross
        np.subtract(weight, gained, out=gained)
        return gained / len(self._inverse)

    def swap(self, leaving: Indices, entering: Indices) -> None:
        """See `Criterion.swap`."""
        self.inside[leaving] = False
        self.inside[entering] = True
        out, new = self._rows[leaving], self._rows[entering]
        self._moment += new.T @ new - out.T @ out
        if self._on_shortlist and len(leaving) == 1:
            self._update(entering[0], 1.0)
            self._update(leaving[0], -1.0)
        else:
            self._refresh()

    def _update(self, row: int, sign: float) -> None:
        # Sherman-Morrison. Rounding cannot build up: a shortlist lives for few swaps, and the
        # pool's own state is always computed anew.
        solved = self._solved[row].copy()
        cross = self._rows @ solved
        both = self._solved @ solved
        factor = sign / (1.0 + sign * cross[row])
        self._inverse -= np.multiply.outer(factor * solved, solved)
        self._solved -= np.multiply.outer(factor * cross, solved)
        self._leverage -= factor * cross**2
        self._weight += factor * cross * (factor * both[row] * cross - 2.0 * both)

    def restrict(self, rows: Indices) -> Self:
        """See `Criterion.restrict`."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._on_shortlist = True
        part._rows, part.inside = self._rows[rows], self.inside[rows]
        part._solved, part._inverse = self._solved[rows], self._inverse.copy()
        part._leverage, part._weight = self._leverage[rows], self._weight[rows]
        part._moment = self._moment.copy()
        return part

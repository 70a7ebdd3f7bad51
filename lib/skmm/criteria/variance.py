"""V-optimal design in the sketch."""

from __future__ import annotations

from typing import Self

import numpy as np
import scipy.linalg

from skmm.criteria.base import Criterion, Cross, Floats, Indices, blocks, gather
from skmm.numerics.inputs import check_budget, check_doubles, check_positive

_GEMM = scipy.linalg.get_blas_funcs("gemm", dtype=np.float64)

_SOUND = 1e4
"""Up to this size products with B² are updated in place. Where a direction is left out they are
larger: what is left of them once it is covered would be rounding errors, near those of a tie."""


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

    # Of a shortlist: xᵀB y and xᵀB²y for all pairs of its rows.
    _cross: Floats
    _both: Floats

    def __init__(self, whitened: Floats, n: int, *, alpha: float = 1e-3):
        whitened = check_doubles(whitened, "whitened")
        self._rows = whitened / np.sqrt(check_budget(n, len(whitened)))
        self._alpha = check_positive(alpha, "alpha", hint="1e-3 is little beside a direction's 1")
        self._k, self._on_shortlist = whitened.shape[1], False

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
        self._solved = np.empty_like(self._rows)
        self._leverage, self._weight = np.empty((2, len(self._rows)))
        self._refresh()

    def _refresh(self) -> None:
        factor = scipy.linalg.cho_factor(self._moment, lower=True, check_finite=False)
        self._inverse = scipy.linalg.cho_solve(factor, np.eye(self._k))
        # Leverage xᵀB x, and xᵀB²x: what both kinds of change are made of.
        for block in blocks(*self._rows.shape):
            rows, solved = self._rows[block], self._solved[block]
            np.matmul(rows, self._inverse, out=solved)
            np.einsum("ij,ij->i", solved, rows, out=self._leverage[block])
            np.einsum("ij,ij->i", solved, solved, out=self._weight[block])

    def value(self) -> float:
        """See `Criterion.value`."""
        return float(np.trace(self._inverse)) / self._k

    def scale(self) -> float:
        """See `Criterion.scale`; a direction left out costs much more than one."""
        return max(1.0, self.value())

    def _left(self, rows: Indices | slice) -> Floats:
        # A row's leverage in its own subset is below 1 by the ridge; rounding must not undo that.
        return np.maximum(1.0 - self._leverage[rows], 1e-12)

    def single_changes(self) -> tuple[Floats, Floats]:
        """See `Criterion.single_changes`."""
        k = self._k
        return self._weight / self._left(slice(None)) / k, -self._weight / (1 + self._leverage) / k

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`."""
        # After a leaves, B becomes B + B a aᵀB / (1 - aᵀBa); then b enters (Sherman-Morrison). With
        # l = 1 - aᵀBa and d = 1 + bᵀBb both steps together are
        # (d aᵀB²a - l bᵀB²b - 2 (aᵀBb) (aᵀB²b)) / (l d + (aᵀBb)²): one division a swap.
        k = self._k
        left, right = self._left(leaving), 1.0 + self._leverage[entering]
        weights = self._weight[leaving] / k, self._weight[entering] / k
        cross, changes = self._products(leaving, entering)
        changes *= cross
        changes *= -2.0 / k
        changes += np.column_stack([weights[0], left]) @ np.stack([right, -weights[1]])
        np.square(cross, out=cross)
        cross += np.multiply.outer(left, right)
        changes /= cross
        return changes

    def _products(self, some: Indices, others: Indices) -> tuple[Floats, Floats]:
        """Returns xᵀB y and xᵀB²y for all pairs, to be written to."""
        if self._on_shortlist:
            return gather(self._cross, some, others), gather(self._both, some, others)
        solved = self._solved[some]
        return solved @ self._rows[others].T, solved @ self._solved[others].T

    def swap(self, leaving: Indices, entering: Indices) -> None:
        """See `Criterion.swap`."""
        self.inside[leaving] = False
        self.inside[entering] = True
        if self._on_shortlist:
            self._update(entering, leaving)
            return
        out, new = self._rows[leaving], self._rows[entering]
        self._moment += new.T @ new - out.T @ out
        self._refresh()

    def _update(self, entering: Indices, leaving: Indices) -> None:
        # Woodbury: with D the rows that move and F = (diag(±1) + DᵀB D)⁻¹, B loses B D F DᵀB, and
        # B² what follows. Rounding cannot build up: products with D are made anew from B, a
        # shortlist lives for few swaps, and the pool's own state is always computed anew.
        moved = np.concatenate([entering, leaving])
        signs = np.repeat([1.0, -1.0], [len(entering), len(leaving)])
        solved = self._rows[moved] @ self._inverse
        cross, both = solved @ self._rows.T, solved @ self._inverse @ self._rows.T
        middle = np.linalg.inv(np.diag(signs) + cross[:, moved])
        middle = (middle + middle.T) / 2.0  # or B would drift from symmetry, swap by swap
        self._inverse -= solved.T @ middle @ solved
        if self._weight.max() > _SOUND:
            self._hold()
            return
        lost = middle @ cross
        half = middle @ both - (0.5 * middle @ both[:, moved]) @ lost
        _subtract(self._cross, lost, cross)
        _subtract(self._both, np.concatenate([cross, half]), np.concatenate([half, cross]))

    def underestimate(self) -> Criterion:
        """See `Criterion.underestimate`."""
        return _Apart(self)

    def restrict(self, rows: Indices) -> Self:
        """See `Criterion.restrict`."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._rows, part.inside = self._rows[rows], self.inside[rows]
        part._inverse = self._inverse.copy()
        part._on_shortlist = True
        part._hold()
        return part

    def _hold(self) -> None:
        # The products of a shortlist are held: a swap updates them for less than they cost.
        solved = self._rows @ self._inverse
        self._cross, self._both = solved @ self._rows.T, solved @ solved.T
        self._leverage, self._weight = self._cross.diagonal(), self._both.diagonal()


class _Apart(VOptimality):
    r"""Lower bounds of what swaps change, by what each of the two rows adds apart: no products.

    With :math:`q = a^\top B b / \sqrt{l d}` and :math:`p = a^\top B^2 b / \sqrt{l d}` as above,
    :math:`u = a^\top B^2 a / l`, :math:`v = b^\top B^2 b / d`, :math:`\rho_a = a^\top B a / l` and
    :math:`\rho_b = b^\top B b / d`, k times the change is

    .. math:: \frac{u - v - 2 p q}{1 + q^2}
              \ge u \bigl(1 - \rho_a - (1 + \rho_a)\, \rho_a \max_b \rho_b\bigr)
              - v\, (1 + \rho_b)

    as by Cauchy-Schwarz :math:`q^2 \le \rho_a \rho_b` and
    :math:`2 |p q| \le 2 \sqrt{u \rho_a v \rho_b} \le u \rho_a + v \rho_b`.
    """

    def __init__(self, whole: VOptimality):
        self.__dict__.update(whole.__dict__)
        leave, enter = super().single_changes()
        of_leaving = self._leverage / self._left(slice(None))
        of_entering = self._leverage / (1.0 + self._leverage)
        most = of_entering.max()
        self._leave = leave * (1.0 - of_leaving - (1.0 + of_leaving) * of_leaving * most)
        self._enter = enter * (1.0 + of_entering)

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`, of which these are lower bounds."""
        return np.add.outer(self._leave[leaving], self._enter[entering])

    def single_changes(self) -> tuple[Floats, Floats]:
        """See `Criterion.single_changes`; of these, the sum is the bound."""
        return self._leave, self._enter

    def crosses(self) -> list[Cross]:
        """See `Criterion.crosses`."""
        return []


def _subtract(table: Floats, left: Floats, right: Floats) -> None:
    """Takes a product that is symmetric, ``left.T @ right``, off a table, in place."""
    _GEMM(-1.0, left.T, right.T, 1.0, c=table.T, trans_b=True, overwrite_c=True)

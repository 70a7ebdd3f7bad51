r"""What a subset is judged by: objectives that exchange descent lowers one swap at a time.

Each criterion is scaled so that its values are of order one, whatever the units of the rows, and
answers three questions about its current subset :math:`S`: what single samples would change (in
O(N m), enough to make a shortlist), what swaps would change (exactly), and what it looks like on a
shortlist alone (so that many swaps can follow one another without touching the pool).

============================  ==========================================================
criterion                     asks of the subset
============================  ==========================================================
`DiagonalShortfall`           no direction covered less than its share (the paper)
`VOptimality`                 least mean variance over directions
`SecondMoment`                the whole second moment, not only its diagonal
`Combination`                 a weighted sum of these
============================  ==========================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_BLOCK_ENTRIES = 1 << 18
"""Entries of a temporary block: 2 MB of float64, so that memory stays that of the rows."""


def blocks(count: int, width: int) -> list[slice]:
    """Cuts ``count`` rows of ``width`` entries into slices of at most a block's entries."""
    step = max(1, _BLOCK_ENTRIES // max(width, 1))
    return [slice(i, i + step) for i in range(0, count, step)]


def _quadratic_forms(rows: Floats, matrix: Floats) -> Floats:
    r"""Returns :math:`x_i^\top A x_i` for all rows, in blocks: ``[N]``."""
    parts = [np.einsum("ij,ij->i", rows[b] @ matrix, rows[b]) for b in blocks(*rows.shape)]
    return np.concatenate(parts)


class Criterion(ABC):
    """An objective over subsets of ``N`` rows of which some are selected.

    Attributes:
        inside: Which rows are selected, shape ``[N]``, boolean.
    """

    inside: NDArray[np.bool_]

    @abstractmethod
    def start(self, indices: Indices) -> None:
        """Makes ``indices`` the current subset."""

    @abstractmethod
    def value(self) -> float:
        """Returns the objective of the current subset."""

    @abstractmethod
    def single_changes(self) -> tuple[Floats, Floats]:
        """Returns what leaving and what entering of each row would add, apart: ``[N]`` each.

        Only the order among those inside (leaving) and those outside (entering) has a meaning.
        """

    @abstractmethod
    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """Returns the exact change of the objective by each swap: ``[leaving, entering]``."""

    @abstractmethod
    def swap(self, leaving: Indices, entering: Indices) -> None:
        """Replaces the rows ``leaving`` by as many ``entering`` ones."""

    @abstractmethod
    def restrict(self, rows: Indices) -> Self:
        """Returns this criterion with only ``rows`` movable, numbered ``0, 1, ...``."""


class DiagonalShortfall(Criterion):
    r"""The paper's one-sided program on a subset: what the leading directions still lack.

    .. math:: \frac{c_S^2}{k} \sum_j
              \max\!\Bigl(0,\ \tfrac1{c_S} - \tfrac1n \sum_{i \in S} u_{ij}\Bigr)^2

    Being one-sided, it charges for directions left out and never for directions over-covered: a
    two-sided gap would rather leave a cluster empty whose fair share is below half a sample.

    Args:
        shares: :math:`U`, shape ``[N, k]``; see `skmm.matching.moment_shares`.
        n: Budget.
        slack: :math:`c_S`.
    """

    def __init__(self, shares: Floats, n: int, *, slack: float = 1.0):
        self._shares = shares * (slack / n)

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
    """

    def __init__(self, whitened: Floats, n: int, *, alpha: float = 1e-3):
        self._rows = whitened / np.sqrt(n)
        self._alpha = alpha
        self._on_shortlist = False

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        self.inside = np.zeros(len(self._rows), dtype=bool)
        self.inside[indices] = True
        self._moment = self._rows[indices].T @ self._rows[indices]
        self._moment.flat[:: len(self._moment) + 1] += self._alpha
        self._refresh()

    def _refresh(self) -> None:
        self._inverse = scipy.linalg.inv(self._moment, assume_a="pos", check_finite=False)
        self._solved = self._rows @ self._inverse
        # Leverage xᵀB x, and xᵀB²x: what both kinds of change are made of.
        self._leverage = np.einsum("ij,ij->i", self._solved, self._rows)
        self._weight = np.einsum("ij,ij->i", self._solved, self._solved)

    def value(self) -> float:
        """See `Criterion.value`."""
        return float(np.trace(self._inverse)) / len(self._inverse)

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


class SecondMoment(Criterion):
    r"""The distance of the whole second moment from the pool's, not only of its diagonal.

    .. math:: \frac{\|\tilde\Sigma_S - \tilde\Sigma\|_F^2}
                   {\mathbb E_{\text{uniform}}\|\tilde\Sigma_S - \tilde\Sigma\|_F^2}

    This is a squared maximum mean discrepancy with the kernel :math:`(x^\top y)^2`, so a column of
    the kernel is one matrix-vector product squared and no N×N array is needed. With ``mean`` the
    kernel is :math:`(1 + x^\top y)^2` less its constant, which matches the mean as well.

    Args:
        rows: Sketched rows, shape ``[N, m]``.
        n: Budget.
        mean: Whether to match the first moment together with the second.
    """

    def __init__(self, rows: Floats, n: int, *, mean: bool = False):
        self._rows, self._n, self._linear = rows, n, 2.0 if mean else 0.0
        self._moment = rows.T @ rows / len(rows)
        self._mean = rows.mean(axis=0)
        self._kernel: Floats | None = None
        norms = np.einsum("ij,ij->i", rows, rows)
        self._own = norms * (norms + self._linear)
        self._pull = _quadratic_forms(rows, self._moment) + self._linear * (rows @ self._mean)
        spread = self._own.mean() - self._pull.mean()
        # A pool of equal rows is matched by any subset: nothing to scale.
        self._scale = 1.0 / (n * spread) if spread > 0 else 0.0

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        self.inside = np.zeros(len(self._rows), dtype=bool)
        self.inside[indices] = True
        chosen = self._rows[indices]
        self._push = _quadratic_forms(self._rows, chosen.T @ chosen / self._n)
        if self._linear:
            self._push += self._linear * (self._rows @ chosen.mean(axis=0))

    def value(self) -> float:
        """See `Criterion.value`."""
        chosen = self._rows[self.inside]
        gap = np.sum((chosen.T @ chosen / self._n - self._moment) ** 2)
        if self._linear:
            gap += self._linear * np.sum((chosen.mean(axis=0) - self._mean) ** 2)
        return float(gap) * self._n**2 * self._scale

    def _kernel_block(self, some: Indices, others: Indices | slice) -> Floats:
        if self._kernel is not None:
            return self._kernel[some][:, others]
        block = self._rows[some] @ self._rows[others].T
        block *= block + self._linear
        return block

    def single_changes(self) -> tuple[Floats, Floats]:
        """See `Criterion.single_changes`."""
        drift = 2.0 * self._n * (self._push - self._pull)
        return (self._own - drift) * self._scale, (self._own + drift) * self._scale

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`."""
        leave, enter = self.single_changes()
        changes = self._kernel_block(leaving, entering)
        changes = changes * (-2.0 * self._scale)
        changes += leave[leaving][:, None]
        changes += enter[entering]
        return changes

    def swap(self, leaving: Indices, entering: Indices) -> None:
        """See `Criterion.swap`."""
        self.inside[leaving] = False
        self.inside[entering] = True
        moved = np.concatenate([entering, leaving])
        signs = np.repeat([1.0 / self._n, -1.0 / self._n], [len(entering), len(leaving)])
        for block in blocks(len(self._rows), len(moved)):
            everyone = np.arange(len(self._rows))[block]
            self._push[block] += signs @ self._kernel_block(moved, everyone)

    def restrict(self, rows: Indices) -> Self:
        """See `Criterion.restrict`."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._rows, part.inside = self._rows[rows], self.inside[rows]
        part._own, part._pull, part._push = self._own[rows], self._pull[rows], self._push[rows]
        part._kernel = self._kernel_block(rows, rows)
        return part


class Combination(Criterion):
    """A weighted sum of criteria over the same pool.

    Args:
        terms: Pairs of weight and criterion.
    """

    def __init__(self, terms: Sequence[tuple[float, Criterion]]):
        self._terms = list(terms)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which rows are selected; all terms agree."""
        return self._terms[0][1].inside

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        for _, term in self._terms:
            term.start(indices)

    def value(self) -> float:
        """See `Criterion.value`."""
        return sum(weight * term.value() for weight, term in self._terms)

    def single_changes(self) -> tuple[Floats, Floats]:
        """See `Criterion.single_changes`."""
        pairs = [(weight, *term.single_changes()) for weight, term in self._terms]
        return sum(w * leave for w, leave, _ in pairs), sum(w * enter for w, _, enter in pairs)

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`."""
        return sum(weight * term.swap_changes(leaving, entering) for weight, term in self._terms)

    def swap(self, leaving: Indices, entering: Indices) -> None:
        """See `Criterion.swap`."""
        for _, term in self._terms:
            term.swap(leaving, entering)

    def restrict(self, rows: Indices) -> Self:
        """See `Criterion.restrict`."""
        return type(self)([(weight, term.restrict(rows)) for weight, term in self._terms])

"""Matching the whole second moment, not only its diagonal."""

from __future__ import annotations

from typing import Self

import numpy as np

from skmm.criteria.base import Criterion, Floats, Indices, blocks, quadratic_forms


class SecondMoment(Criterion):
    r"""The distance of the whole second moment from the pool's, not only of its diagonal.

    .. math:: \frac{\|\tilde\Sigma_S - \tilde\Sigma\|_F^2}
                   {\mathbb E_{\text{uniform}}\|\tilde\Sigma_S - \tilde\Sigma\|_F^2}

    This is a squared maximum mean discrepancy with the kernel :math:`(x^\top y)^2`, so a column of
    the kernel is one matrix-vector product squared and no N×N array is needed. With ``mean`` the
    kernel is :math:`(\tau + x^\top y)^2` less its constant, which matches the mean as well;
    :math:`\tau = \operatorname{tr}\tilde\Sigma` (1 for rows of unit norm) makes it free of units.

    Args:
        rows: Sketched rows, shape ``[N, m]``.
        n: Budget.
        mean: Whether to match the first moment together with the second.
    """

    def __init__(self, rows: Floats, n: int, *, mean: bool = False):
        self._rows, self._n = rows, n
        self._moment = rows.T @ rows / len(rows)
        self._mean = rows.mean(axis=0)
        self._kernel: Floats | None = None
        norms = np.einsum("ij,ij->i", rows, rows)
        self._linear = 2.0 * float(norms.mean()) if mean else 0.0
        self._own = norms * (norms + self._linear)
        self._pull = quadratic_forms(rows, self._moment) + self._linear * (rows @ self._mean)
        spread = self._own.mean() - self._pull.mean()
        # A pool of equal rows is matched by any subset: nothing to scale.
        self._scale = 1.0 / (n * spread) if spread > 0 else 0.0

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        self.inside = np.zeros(len(self._rows), dtype=bool)
        self.inside[indices] = True
        chosen = self._rows[indices]
        self._push = quadratic_forms(self._rows, chosen.T @ chosen / self._n)
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
            self._push[block] += signs @ self._kernel_block(moved, block)

    def restrict(self, rows: Indices) -> Self:
        """See `Criterion.restrict`."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._rows, part.inside = self._rows[rows], self.inside[rows]
        part._own, part._pull, part._push = self._own[rows], self._pull[rows], self._push[rows]
        part._kernel = self._kernel_block(rows, rows)
        return part

"""Moments as kernels: what all criteria that match a moment of the rows have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np

from skmm.criteria.base import Criterion, Floats, Indices, blocks


class KernelDiscrepancy(Criterion):
    r"""A squared maximum mean discrepancy between the subset and the pool.

    .. math:: \frac{\|\mu_S - \mu\|^2}{\mathbb E_{\text{uniform}}\|\mu_S - \mu\|^2}, \qquad
              \langle \phi(x), \phi(y) \rangle = \kappa(x^\top y)

    with :math:`\mu_S, \mu` the means of :math:`\phi` over subset and pool. A column of the kernel
    is one matrix-vector product put through :math:`\kappa`, so no N×N array is needed. A subclass
    says what :math:`\kappa` is, and finds the three vectors below in its cheapest way.

    Attributes:
        _own: :math:`\kappa(x_i^\top x_i)`, shape ``[N]``.
        _pull: mean of :math:`\kappa(x_i^\top x_j)` over the pool, shape ``[N]``.
        _push: the same over the subset, sum divided by n, shape ``[N]``.
    """

    _own: Floats
    _pull: Floats
    _push: Floats

    def __init__(self, rows: Floats, n: int):
        self._rows, self._n = rows, n
        self._kernel: Floats | None = None

    def _rescale(self) -> None:
        """Takes the expectation over uniform draws as the unit."""
        spread = self._own.mean() - self._pull.mean()
        # A pool of equal rows is matched by any subset: nothing to scale.
        self._scale = 1.0 / (self._n * spread) if spread > 0 else 0.0

    @abstractmethod
    def _apply(self, products: Floats) -> Floats:
        r"""Overwrites inner products by :math:`\kappa` of them."""

    def _kernel_block(self, some: Indices | slice, others: Indices | slice) -> Floats:
        if self._kernel is not None:
            return self._kernel[some][:, others]
        return self._apply(self._rows[some] @ self._rows[others].T)

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`."""
        self.inside = np.zeros(len(self._rows), dtype=bool)
        self.inside[indices] = True

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

r"""Moments as kernels: what all criteria that match a moment of the rows have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np

from skmm.criteria.base import Criterion, Cross, Floats, Indices, blocks, gather
from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.inputs import check_budget, check_doubles
from skmm.numerics.threads import large_product

_HELD = 1 << 25
"""Entries of the kernel at the subset that are held even if the rows have fewer: 256 MB."""

_SOME = 128
"""Rows of it that are exchanged at once: 10 MB for 10,000 samples."""

_FEW = 4
"""No more rows than these are made one by one: a product of matrices copies all others first."""

_PANEL = 4
"""More are filled up to a multiple of it: BLAS takes so many at once, and a rest costs as much."""

_TILE = 512
"""Side of the tiles in which it is made: what is done to a product finds it in the cache."""


class KernelDiscrepancy(Criterion):
    r"""A squared maximum mean discrepancy between the subset and the pool.

    .. math:: \frac{\|\mu_S - \mu\|^2}{\mathbb E_{\text{uniform}}\|\mu_S - \mu\|^2}, \qquad
              \langle \phi(x), \phi(y) \rangle = \kappa(x^\top y)

    with :math:`\mu_S, \mu` the means of :math:`\phi` over subset and pool. The N×N kernel is never
    formed. Its n rows at the subset are held where they are no larger than the rows or 256 MB:
    then a swap costs one new row, and trying all ``n (N - n)`` swaps costs no product at all. A new
    row is a product with the pool or, where similarities tell it, a logarithm for each sample. Rows
    of samples that left, up to n/2, are held in what room is left, for some come back, unless they
    are told so cheaply. A subclass says what :math:`\kappa` is, and finds the vectors below in its
    cheapest way.

    Attributes:
        _similar: similarities of the rows that are held and tell their inner products, or ``None``.
        _own: :math:`\kappa(x_i^\top x_i)`, shape ``[N]``.
        _pull: mean of :math:`\kappa(x_i^\top x_j)` over the pool, shape ``[N]``.
        _push: the same over the subset, sum divided by n, shape ``[N]``.
        _held: the kernel's rows at the subset, shape ``[n, N]``, or ``None``.
        _place: which row of ``_held`` is that of a sample, shape ``[N]``.
        _left: rows of the kernel at samples that left the subset.
        _room: how many of these are held.
    """

    _similar: GaussianKernel | None = None
    _own: Floats
    _pull: Floats
    _push: Floats
    _held: Floats | None = None
    _place: Indices
    _left: dict[int, Floats]
    _room: int

    def __init__(self, rows: Floats, n: int):
        self._rows = check_doubles(rows, "rows")
        self._n, self._on_shortlist = check_budget(n, len(self._rows)), False

    @property
    def N(self) -> int:
        """See `Criterion.N`."""
        return len(self._rows)

    @property
    def unit(self) -> float:
        """Squared distance of a uniform draw on average, which is 1 of the value."""
        return 1.0 / (self._n**2 * self._scale) if self._scale > 0.0 else 0.0

    def _rescale(self) -> None:
        """Takes the expectation over uniform draws as the unit."""
        spread = self._own.mean() - self._pull.mean()
        # A pool of equal rows is matched by any subset: nothing to scale.
        self._scale = 1.0 / (self._n * spread) if spread > 0 else 0.0

    def chance(self, kept: Indices) -> float:
        r"""Returns the mean of the value over uniform draws of the rest of a subset.

        Of n rows ``kept`` are there already and u are drawn from the M others. With
        :math:`a = \frac1n \sum_{i \in K} \phi(x_i)`, what they bring to :math:`\mu_S`,

        .. math:: \mathbb E\|\mu_S - \mu\|^2 = \Bigl\|\Bigl(1 - \frac uM\Bigr) a -
                  \Bigl(1 - \frac{uN}{nM}\Bigr)\mu\Bigr\|^2 + \frac{u}{n^2} \frac{M - u}{M - 1} v

        with v the variance of :math:`\phi` among the others. 1 by definition if none is kept, but
        for a share of n/N.
        """
        if len(kept) == 0:
            return 1.0
        N, n = len(self._own), self._n
        others = np.delete(np.arange(N), kept)
        M, u = len(others), n - len(kept)
        of_kept = sum(float(self._kernel(kept[b], kept).sum()) for b in blocks(len(kept), N)) / n**2
        across, of_pool = float(self._pull[kept].sum()) / n, float(self._pull.mean())
        near, far = 1.0 - u / M, 1.0 - u * N / (n * M)
        shift = near**2 * of_kept - 2.0 * near * far * across + far**2 * of_pool
        square = (N**2 * of_pool - 2.0 * N * n * across + n**2 * of_kept) / M**2
        spread = float(self._own[others].mean()) - square
        draws = u * (M - u) / max(M - 1, 1) * spread / n**2
        return (shift + draws) * n**2 * self._scale

    @abstractmethod
    def _apply(self, products: Floats) -> Floats:
        r"""Overwrites inner products by :math:`\kappa` of them."""

    def _kernel(self, some: Indices | slice, others: Indices | slice) -> Floats:
        if self._similar is not None:
            return self._apply(self._similar.products(some, others))
        rows = self._rows[some]
        # Of rows with themselves BLAS makes half of the products, if it is given one array.
        return self._apply(rows @ (rows if others is some else self._rows[others]).T)

    def _kernel_rows(self, some: Indices) -> Floats:
        """Returns whole rows of the kernel, ``[len(some), N]``, without a temporary as large."""
        N, m = self._rows.shape
        out = np.empty((len(some), N))
        if self._similar is not None:
            for part in blocks(len(some), N):
                out[part] = self._kernel(some[part], slice(None))
            return out
        if len(some) <= _FEW:
            for block in blocks(N, 4 * m):
                for line, row in zip(out, self._rows[some], strict=True):
                    np.dot(self._rows[block], row, out=line[block])
            return self._apply(out)
        with large_product(len(some) * self._rows.size):
            for part in blocks(len(some), _TILE):
                count = len(some[part])
                rows = np.zeros((count + -count % _PANEL, m))
                rows[:count] = self._rows[some[part]]
                for block in blocks(N, len(rows)):
                    out[part, block] = self._apply((rows @ self._rows[block].T)[:count])
        return out

    def start(self, indices: Indices) -> None:
        """See `Criterion.start`; rows that are held from a subset before are not made again."""
        N, m = self._rows.shape
        if self._held is not None and len(indices) == len(self._held):
            leaving = np.setdiff1d(np.flatnonzero(self.inside), indices)
            self._renew(self._held, leaving, indices[~self.inside[indices]])
        else:
            room = max(_HELD, N * m) // N - len(indices)
            self._held = self._kernel_rows(indices) if room >= 0 else None
            spare = len(indices) // 2 if self._similar is None else 0
            self._left, self._room = {}, min(room, spare)
            self._place = np.zeros(N, dtype=np.intp)
            self._place[indices] = np.arange(len(indices))
        self.inside = np.zeros(N, dtype=bool)
        self.inside[indices] = True
        if self._held is not None:
            self._push = self._held.sum(axis=0) / self._n
        else:
            self._push = self._mean_over(indices)

    def _renew(self, held: Floats, leaving: Indices, entering: Indices) -> Floats:
        """Puts the kernel's rows at ``entering`` in the places of those at ``leaving``.

        Rows that left before are not made again. Returns what the sum of all gains by it, ``[N]``.
        """
        gained, left = np.zeros(len(self._rows)), self._left
        for part in blocks(len(entering), len(self._rows), least=_SOME):
            come, go = entering[part], leaving[part]
            places, known = self._place[go], np.array([one in left for one in come.tolist()])
            self._place[come] = places
            gained -= held[places].sum(axis=0)
            for one, place in zip(go.tolist(), places, strict=True):
                if len(left) < self._room:
                    left[one] = held[place].copy()
            held[places[~known]] = self._kernel_rows(come[~known])
            for one, place in zip(come[known].tolist(), places[known], strict=True):
                held[place] = left.pop(one)
            gained += held[places].sum(axis=0)
        return gained

    def _mean_over(self, indices: Indices) -> Floats:
        """Returns the kernel's mean over ``indices`` at all rows, shape ``[N]``."""
        parts = [
            self._kernel(b, indices).sum(axis=1) for b in blocks(len(self._rows), len(indices))
        ]
        return np.concatenate(parts) / self._n

    def _gap(self, rows: Indices | slice) -> Floats:
        return self._push[rows] - self._pull[rows]

    def _leave(self, rows: Indices | slice) -> Floats:
        return (self._own[rows] - 2.0 * self._n * self._gap(rows)) * self._scale

    def _enter(self, rows: Indices | slice) -> Floats:
        return (self._own[rows] + 2.0 * self._n * self._gap(rows)) * self._scale

    def single_changes(self) -> tuple[Floats, Floats]:
        """See `Criterion.single_changes`."""
        return self._leave(slice(None)), self._enter(slice(None))

    def swap_changes(self, leaving: Indices, entering: Indices) -> Floats:
        """See `Criterion.swap_changes`."""
        if self._held is None:
            changes = self._kernel(leaving, entering)
        else:
            changes = gather(self._held, self._place[leaving], entering)
        changes *= -2.0 * self._scale
        changes += self._leave(leaving)[:, None]
        changes += self._enter(entering)
        return changes

    def crosses(self) -> list[Cross] | None:
        """See `Criterion.crosses`."""
        if self._held is None:
            return None
        return [Cross(-2.0 * self._scale, self._held, self._place)] if self._scale else []

    def swap(self, leaving: Indices, entering: Indices) -> None:
        """See `Criterion.swap`."""
        self.inside[leaving] = False
        self.inside[entering] = True
        if self._on_shortlist and self._held is not None:
            gained = self._held[entering].sum(axis=0) - self._held[leaving].sum(axis=0)
            self._push += gained / self._n
            return
        if self._held is not None:
            self._push += self._renew(self._held, leaving, entering) / self._n
            return
        moved = np.concatenate([entering, leaving])
        signs = np.repeat([1.0 / self._n, -1.0 / self._n], [len(entering), len(leaving)])
        self._shift(moved, signs)

    def _shift(self, moved: Indices, signs: Floats) -> None:
        """Adds to the mean over the subset what rows that moved are to all others."""
        for block in blocks(len(self._rows), len(moved)):
            self._push[block] += signs @ self._kernel(moved, block)

    def restrict(self, rows: Indices) -> Self:
        """See `Criterion.restrict`."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._rows, part.inside = self._rows[rows], self.inside[rows]
        part._own, part._pull, part._push = self._own[rows], self._pull[rows], self._push[rows]
        # All rows of a shortlist are held, for any of them may come to be in the subset.
        part._held, part._place = self._kernel(rows, rows), np.arange(len(rows))
        part._similar = None
        part._on_shortlist = True
        return part

r"""Similarities of a pool's rows that fall with distance, held as a whole where they have room."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.threads import large_product

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_DOUBLE, _SINGLE = 1 << 25, 1 << 27
"""Similarities of a whole pool that are held in double, and in single precision: N up to 5,792 in
256 MB, up to 11,585 in 512 MB."""

_TILE = 512
"""Side of the tiles in which they are made: 2 MB each, enough for the product to be fast."""

_HELD_TILE = 256
"""Side of the tiles in which those that are held are read: what follows stays in the cache."""

_HELD_STRIP = 64, 1 << 14
"""Sides of those in which they are sifted, for few: 4 MB in single precision."""

_NEAR = 32
"""To copy whole rows is faster than to pick entries far apart, if one of so many is wanted."""


class Similarity(ABC):
    r"""Similarities :math:`k(x_i, x_j)` in [0, 1] of a pool's rows, told by their distance alone.

    Distances come from inner products of rows less their mean, so that a shift of all rows changes
    none but by rounding. All similarities are held for up to 5,792 rows. For up to 11,585 they are
    held in single precision: computed in double and rounded, so that two processors differ in few
    of them by 1e-7, which is far below what counts in a mean over so many. Beyond, and with
    ``hold=False``, nothing but a copy of the rows is held. A subclass says how similar rows of a
    distance are.

    Attributes:
        _scaled: rows z less their mean, in the unit that the subclass wants, ``[N, m]``.
        _halves: :math:`\tfrac12\|z_i\|^2`, ``[N]``.
    """

    _scaled: Floats
    _halves: Floats
    _hold: bool

    def __init__(self, rows: NDArray[np.floating], *, hold: bool):
        self._scaled = rows - rows.mean(axis=0, dtype=np.float64)
        self._hold = hold and len(rows) ** 2 <= _SINGLE

    def _scale(self, factor: float) -> None:
        """Multiplies all distances by ``factor``; to be called once."""
        self._scaled *= factor
        self._halves = 0.5 * np.einsum("ij,ij->i", self._scaled, self._scaled)

    @property
    def N(self) -> int:
        """Pool size."""
        return len(self._scaled)

    @property
    def holds(self) -> bool:
        """Whether all of them is held, so that parts of it cost no product."""
        return self._hold

    @property
    def limit(self) -> int:
        """Numbers that may be held besides: as many as the rows have entries, or 256 MB."""
        return max(_DOUBLE, self._scaled.size)

    @cached_property
    def _matrix(self) -> NDArray[np.floating]:
        matrix = self._room()
        for one, other, halves in self._upper_tiles():
            self._keep(matrix, one, other, halves)
        return matrix

    def _room(self) -> NDArray[np.floating]:
        return np.empty((self.N, self.N), self._precision)

    @property
    def _precision(self) -> type[np.floating]:
        return np.float64 if self.N**2 <= _DOUBLE else np.float32

    def _keep(self, matrix: NDArray[np.floating], one: slice, other: slice, halves: Floats) -> None:
        similar = self._apply(halves)
        matrix[one, other] = similar
        matrix[other, one] = similar.T

    def _upper_tiles(self, some: Indices | None = None) -> Iterator[tuple[slice, slice, Floats]]:
        count = self.N if some is None else len(some)
        with large_product(count**2 * self._scaled.shape[1] // 2):
            for i in range(0, count, _TILE):
                for j in range(i, count, _TILE):
                    one, other = slice(i, i + _TILE), slice(j, j + _TILE)
                    rows = (one, other) if some is None else (some[one], some[other])
                    yield one, other, self._half_distances(*rows)

    def _half_distances(self, some: Indices | slice, others: Indices | slice) -> Floats:
        halves = self._scaled[some] @ self._scaled[others].T
        halves -= self._halves[some][:, None]
        halves -= self._halves[others]
        return np.minimum(halves, 0.0, out=halves)

    @abstractmethod
    def _apply(self, halves: Floats) -> Floats:
        r"""Overwrites :math:`-\tfrac12\|z_i - z_j\|^2`, at most 0, by the similarities."""

    def block(
        self, some: Indices | slice, others: Indices | slice, *, as_held: bool = False
    ) -> NDArray[Any]:
        """Returns the similarities of ``some`` to ``others``, to be written to.

        With ``as_held`` in single precision if so they are held, and to be read only.
        """
        if not self._hold:
            return self._apply(self._half_distances(some, others))
        if isinstance(some, slice) or isinstance(others, slice):
            held = self._matrix[some, others]
        elif _NEAR * len(others) >= self.N:
            held = self._matrix[some].take(others, axis=1)
        else:
            held = self._matrix.take(some[:, None] * self.N + others)
        return held if as_held else held.astype(np.float64)

    def tiles(
        self, some: Indices | None, others: Indices | None = None, *, as_held: bool = False
    ) -> Iterator[tuple[slice, slice, Floats]]:
        """Yields the similarities of ``some`` to ``others``, or of or to the pool, tile by tile.

        Args:
            some: Rows, or ``None`` for all.
            others: Rows, or ``None`` for all.
            as_held: See `block`.

        Yields:
            A slice of ``some``, a slice of ``others``, and their similarities.
        """
        length, count = (self.N if rows is None else len(rows) for rows in (some, others))
        height = width = _HELD_TILE if self._hold else _TILE
        if as_held and self._hold:
            height, width = _HELD_STRIP
        with large_product(length * count * self._scaled.shape[1]):
            for i in range(0, length, height):
                part = slice(i, min(i + height, length))
                for j in range(0, count, width):
                    block = slice(j, min(j + width, count))
                    of = part if some is None else some[part]
                    to = block if others is None else others[block]
                    yield part, block, self.block(of, to, as_held=as_held)

    def among(self, some: Indices, out: NDArray[np.floating]) -> None:
        """Makes the similarities of ``some`` to each other: half of them, for the rest is equal.

        Args:
            some: Rows.
            out: Where they go, ``[len(some), len(some)]``.
        """
        for one, other, halves in self._upper_tiles(some):
            self._keep(out, one, other, halves)

    def rows(self, indices: Indices) -> Floats:
        """Returns the similarities of ``indices`` to the pool: ``[len(indices), N]``."""
        if self._hold:
            return self.block(indices, slice(None))
        out = np.empty((len(indices), self.N))
        for part, block, similar in self.tiles(indices):
            out[part, block] = similar
        return out

    def sums(self) -> Floats:
        """Returns the sum of each row of similarities, ``[N]``, at half the price of all rows."""
        if self._hold:
            return self._matrix.sum(axis=1, dtype=np.float64)
        return self.sums_of(lambda one, other, halves: self._apply(halves))

    def sums_of(self, function: Callable[[slice, slice, Floats], Floats]) -> Floats:
        r"""Returns sums over the pool of another symmetric function of each pair of rows, ``[N]``.

        Similarities that are to be held are made on the way: of the two the product is made once.

        Args:
            function: Gets two slices of rows and their :math:`-\tfrac12\|z_i - z_j\|^2`, which are
                not to be used after; returns as many values.
        """
        total, matrix = np.zeros(self.N), None
        if self._hold and "_matrix" not in self.__dict__:
            matrix = self._room()
        for one, other, halves in self._upper_tiles():
            values = function(one, other, halves if matrix is None else halves.copy())
            total[one] += values.sum(axis=1)
            if other.start > one.start:
                total[other] += values.sum(axis=0)
            if matrix is not None:
                self._keep(matrix, one, other, halves)
        if matrix is not None:
            self._matrix = matrix
        return total

    def spread(self, count: int) -> Indices:
        """Returns ``count`` samples from the middle of the pool to its margin, evenly; or all.

        By their rank in the distance from the mean: it matters not where in the pool they stand.
        """
        if count >= self.N:
            return np.arange(self.N)
        # Rounded, so that equal distances are told apart by their place and not by rounding.
        order = np.argsort(np.round(self._halves / self._halves.max(), 9), kind="stable")
        return order[((np.arange(count) + 0.5) * self.N / count).astype(np.intp)]

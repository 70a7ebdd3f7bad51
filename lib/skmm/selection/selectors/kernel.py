r"""The linear kernel :math:`K = GG^\top` of a pool, by columns, in double precision."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.blocks import blocks
from skmm.numerics.ties import rounding_share


class LinearKernel:
    r"""Inner products of a pool's rows, :math:`K_{ij} = g_i^\top g_j`, computed when asked for.

    Products are summed in ``float64`` whatever the rows are, so single-precision rows give the
    subsets of the same values in double precision. A column costs ``N r`` and ``N`` numbers of
    memory. :math:`K` itself is formed only if ``N <= r``, where it is no larger than :math:`G`, and
    so many columns are announced that one matrix product is cheaper than all of them one by one.

    Args:
        rows: :math:`G`, shape ``[N, r]``, ``float32`` or ``float64``.
        columns: Number of single columns that will be asked for.
    """

    def __init__(self, rows: NDArray[np.floating], *, columns: int = 0):
        self.rows = rows
        self.N, r = rows.shape
        # A product of matrices does about 16 times the work of one by a vector in the same time.
        self._formed = r >= self.N and 16 * columns >= self.N

    @cached_property
    def energies(self) -> NDArray[np.float64]:
        r""":math:`K_{ii} = \|g_i\|^2`, shape ``[N]``."""
        return np.einsum("ij,ij->i", self.rows, self.rows, dtype=np.float64)

    def moment(self) -> NDArray[np.float64]:
        r"""Returns :math:`G^\top G`, shape ``[r, r]``, with no more memory than a few of it."""
        return _moment(self.rows)

    def gram(self) -> NDArray[np.float64]:
        r"""Returns :math:`K`, shape ``[N, N]``, with no more memory than a few of it."""
        return _moment(self.rows.T)

    @cached_property
    def _matrix(self) -> NDArray[np.float64]:
        return self.gram()

    def times(self, vectors: ArrayLike) -> NDArray[np.float64]:
        r"""Returns :math:`G V` for ``vectors`` :math:`V` of shape ``[r]`` or ``[r, k]``."""
        vectors = np.asarray(vectors, dtype=np.float64)
        if self.rows.dtype == np.float64:
            return self.rows @ vectors
        products = np.empty((self.N, *vectors.shape[1:]))
        for block in blocks(*self.rows.shape):
            products[block] = self.rows[block].astype(np.float64) @ vectors
        return products

    def column(self, index: int) -> NDArray[np.float64]:
        """Returns column ``index``, shape ``[N]``; not to be written to."""
        return self._matrix[index] if self._formed else self.times(self.rows[index])

    def columns(self, indices: NDArray[np.intp]) -> NDArray[np.float64]:
        """Returns the columns ``indices``, shape ``[N, len(indices)]``."""
        return self._matrix[:, indices] if self._formed else self.times(self.rows[indices].T)

    def block(self, indices: NDArray[np.intp]) -> NDArray[np.float64]:
        """Returns the rows and columns ``indices`` of the kernel."""
        rows = self.rows[indices].astype(np.float64)
        return rows @ rows.T

    def distances(self, index: int) -> NDArray[np.float64]:
        r"""Returns squared distances :math:`\|g_i - g_{index}\|^2`, shape ``[N]``.

        Those within `rounding` of zero are zero, so that equal rows are.
        """
        distances = self.energies + self.energies[index] - 2.0 * self.column(index)
        return np.where(distances > self.rounding, distances, 0.0)

    def all_distances(self, indices: NDArray[np.intp]) -> NDArray[np.float64]:
        """Returns squared distances to the samples ``indices``, shape ``[N, len(indices)]``."""
        squares = self.columns(indices)
        squares *= -2.0
        squares += self.energies[:, None]
        squares += self.energies[indices]
        squares[squares <= self.rounding] = 0.0
        return squares

    @property
    def rounding(self) -> float:
        """Size below which a sum of a few inner products is taken to be rounding error."""
        return rounding_share(self.rows.shape[1]) * float(self.energies.max())


def _moment(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    if rows.dtype == np.float64:
        return rows.T @ rows
    r = rows.shape[1]
    total = np.zeros((r, r))
    for block in blocks(*rows.shape, least=r):  # no smaller than the sum that it is added to
        part = rows[block].astype(np.float64)
        total += part.T @ part
    return total

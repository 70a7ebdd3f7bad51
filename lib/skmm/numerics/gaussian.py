r"""The Gaussian kernel of a pool's rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_positive
from skmm.numerics.similarity import Floats, Indices, Similarity

_TOLD = 5e-8
"""Products told from similarities are off by no more, in units of the largest norm's square. In
single precision, unit rows at a width of 1 are off by 3e-8."""


class GaussianKernel(Similarity):
    r"""Similarities :math:`k(x, y) = \exp(-\|x - y\|^2/\sigma^2)` of a pool's rows.

    Args:
        rows: Shape ``[N, m]``, ``float32`` or ``float64``; summed in double precision.
        sigma: Width :math:`\sigma`, in the units of the rows.
        hold: Whether to make the whole kernel when first asked for a part of it, if it has room:
            at half the price of all its entries.

    Raises:
        ValueError: ``sigma`` is no finite number above 0.
    """

    def __init__(self, rows: NDArray[np.floating], sigma: float, *, hold: bool = True):
        sigma = check_positive(sigma, "sigma", hint="1 suits rows of unit norm")
        super().__init__(rows, hold=hold)
        self._sigma, self._norms = sigma, np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        self._scale(np.sqrt(2.0) / sigma)

    def _apply(self, halves: Floats) -> Floats:
        return np.exp(halves, out=halves)

    @property
    def tells_products(self) -> bool:
        r"""Whether `products` are as good as those of all coordinates.

        That is where all similarities are held, none of them underflows, and their relative
        rounding by at most :math:`\epsilon/2`, which moves products by :math:`\sigma^2\epsilon/4`,
        does not count.
        """
        limits = np.finfo(self._precision)
        # No two rows are farther from each other than twice the farthest from the mean.
        least, error = -4.0 * self._halves.max(), 0.25 * float(limits.eps) * self._sigma**2
        normal = least > np.log(float(limits.tiny))
        return bool(self._hold and normal and error <= _TOLD * self._norms.max())

    def products(self, some: Indices | slice, others: Indices | slice) -> Floats:
        r"""Returns inner products of rows, told from what is held at a logarithm each.

        .. math:: x^\top y = \tfrac12\bigl(\|x\|^2 + \|y\|^2 + \sigma^2 \log k(x, y)\bigr)
        """
        logarithms = np.log(self.block(some, others, as_held=True), dtype=np.float64)
        return self._to_products(logarithms, some, others)

    def _to_products(
        self, logarithms: Floats, some: Indices | slice, others: Indices | slice
    ) -> Floats:
        """Overwrites logarithms of similarities by inner products of the rows."""
        logarithms *= 0.5 * self._sigma**2
        logarithms += 0.5 * self._norms[some][:, None]
        logarithms += 0.5 * self._norms[others]
        return logarithms

    def product_sums(self, function: Callable[[Floats], Floats]) -> Floats:
        r"""Returns :math:`\sum_j f(x_i^\top x_j)` over the pool, ``[N]``, from the distances.

        At no product of its own where the kernel is to be held and was not made yet.

        Args:
            function: Overwrites inner products by :math:`f` of them.
        """

        def of_tile(one: slice, other: slice, halves: Floats) -> Floats:
            return function(self._to_products(halves, one, other))

        return self.sums_of(of_tile)

r"""The Gaussian kernel of a pool's rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_positive
from skmm.numerics.similarity import Floats, Similarity


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

    def product_sums(self, function: Callable[[Floats], Floats]) -> Floats:
        r"""Returns :math:`\sum_j f(x_i^\top x_j)` over the pool, ``[N]``, from the distances.

        At no product of its own where the kernel is to be held and was not made yet.

        Args:
            function: Overwrites inner products by :math:`f` of them.
        """

        def of_tile(one: slice, other: slice, halves: Floats) -> Floats:
            halves *= 0.5 * self._sigma**2
            halves += 0.5 * self._norms[one][:, None]
            halves += 0.5 * self._norms[other]
            return function(halves)

        return self.sums_of(of_tile)

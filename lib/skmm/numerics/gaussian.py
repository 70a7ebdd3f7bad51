r"""The Gaussian kernel of a pool's rows."""

from __future__ import annotations

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
        self._scale(np.sqrt(2.0) / sigma)

    def _apply(self, halves: Floats) -> Floats:
        return np.exp(halves, out=halves)

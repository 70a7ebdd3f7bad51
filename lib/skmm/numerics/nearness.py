r"""Nearness: how much less than the largest conceivable the distance of two rows of a pool is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.similarity import Floats, Similarity
from skmm.numerics.ties import rounding_share


class Nearness(Similarity):
    r"""Similarities :math:`k(x, y) = 1 - \|x - y\|/\rho` of a pool's rows.

    :math:`\rho` is twice the largest distance of a row from the mean, so that none is below 0; in
    a pool of equal rows all are 1. Distances of the size of rounding errors are 0, so that equal
    rows are as near as can be.

    Args:
        rows: Shape ``[N, m]``, ``float32`` or ``float64``; summed in double precision.
    """

    def __init__(self, rows: NDArray[np.floating]):
        super().__init__(rows, hold=True)
        self._rounding = rounding_share(rows.shape[1])
        farthest = np.linalg.norm(self._scaled, axis=1).max()
        equal = farthest <= self._rounding * np.linalg.norm(rows, axis=1).max()
        # With z = (x − μ)/(√2 · farthest), half a squared distance is (|x − y| / 2 farthest)².
        self._scale(0.0 if equal else np.sqrt(0.5) / farthest)

    def _apply(self, halves: Floats) -> Floats:
        np.negative(halves, out=halves)
        halves[halves <= self._rounding] = 0.0
        np.sqrt(halves, out=halves)
        return np.subtract(1.0, halves, out=halves)

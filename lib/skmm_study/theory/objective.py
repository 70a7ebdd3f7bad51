"""The paper's objective as it is written, by which its recipe and the exact solver compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.spectrum import Spectrum


def unscaled_objective(
    rows: NDArray[np.floating], spectrum: Spectrum, s: NDArray[np.float64], *, slack: float = 1.0
) -> float:
    r"""Returns the paper's objective at ``s`` with the best :math:`\gamma`, not divided by λ².

    .. math:: \sum_j \max\bigl(0,\ \lambda_j/c_S - v_j^\top \tilde G^\top \mathrm{diag}(s)
              \tilde G v_j\bigr)^2
    """
    covered = s @ np.square(rows @ spectrum.eigenvectors)
    return float(np.sum(np.maximum(spectrum.eigenvalues / slack - covered, 0.0) ** 2))

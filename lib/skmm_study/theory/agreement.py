r"""How far a subset's first and second moments are from the pool's, and how diverse it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_indices
from skmm.selection.certificate import certify, matched_spectrum
from skmm.selection.view import PoolView
from skmm.spectrum import Spectrum


@dataclass(frozen=True)
class Agreement:
    r"""Moments of a subset against those of its pool; all without units.

    :math:`M_S` is the subset's second moment on the k leading directions of the pool, whitened: the
    pool's is the identity.

    Attributes:
        dimension: :math:`k`.
        mean_gap: :math:`\|\tilde\mu_S - \tilde\mu\| / \sqrt{\operatorname{tr}\tilde\Sigma}`.
        moment_gap: :math:`\|\tilde\Sigma_S - \tilde\Sigma\|_F / \|\tilde\Sigma\|_F`.
        deviation: :math:`\delta = \|M_S - I\|_2`.
        slack: least :math:`c_S` with :math:`c_S M_S \succeq I`; see `skmm.Certificate`.
        variance: :math:`\operatorname{tr}(M_S^{-1})/k`; see `skmm.Certificate`.
        volume: :math:`\det(M_S)^{1/k}`: 1 for the pool, 0 if a direction is left out.
        spread: mean squared distance of two distinct samples, over the same of the pool.
    """

    dimension: int
    mean_gap: float
    moment_gap: float
    deviation: float
    slack: float
    variance: float
    volume: float
    spread: float

    @property
    def certified_slack(self) -> float:
        r""":math:`1/(1-\delta)`, never below `slack`; infinite for :math:`\delta \ge 1`."""
        if self.deviation >= 1.0:
            return np.inf
        return max(self.slack, 1.0 / (1.0 - self.deviation))  # rounding may not undo the bound


def covered_dimension(spectrum: Spectrum, n: int) -> int:
    r"""Returns how many of the :math:`\bar r` leading directions ``n`` samples can cover.

    .. math:: k = \min(\bar r,\ n/3), \quad \text{at least } 1

    Three samples a direction, as in the default of `skmm.select`.
    """
    return spectrum.leading(max(1, min(spectrum.intrinsic_dimension, n // 3)))


def compare_moments(
    view: PoolView, indices: NDArray[np.intp], *, k: int | None = None
) -> Agreement:
    r"""Compares the moments of a subset with those of its pool; costs ``N m + n m²``.

    Args:
        view: The pool as a selection saw it; its rows are not all zero.
        indices: The subset, shape ``[n]``.
        k: Leading directions; unless told :math:`\bar r`.

    Returns:
        What the two sets of moments share and where they differ.

    Raises:
        ValueError: ``indices`` are not distinct rows of the pool, or all rows are zero.
    """
    rows, spectrum = view.rows, view.spectrum
    indices = check_indices(indices, len(rows))
    if spectrum.trace == 0.0:
        raise ValueError("rows must not all be zero; there is no moment to compare with")
    chosen = rows[indices].astype(np.float64, copy=False)
    of_subset, mean, mean_of_subset = chosen.T @ chosen / len(chosen), rows.mean(0), chosen.mean(0)
    rotated = spectrum.eigenvectors.T @ of_subset @ spectrum.eigenvectors
    k = spectrum.leading(k)
    certificate, values = certify(view, indices, k=k), matched_spectrum(view, indices, k)
    gap = np.linalg.norm(rotated - np.diag(spectrum.eigenvalues))
    within = _mean_square_distance(np.trace(of_subset), mean_of_subset, len(chosen))
    pool = _mean_square_distance(spectrum.trace, mean, len(rows))
    return Agreement(
        dimension=k,
        mean_gap=float(np.linalg.norm(mean_of_subset - mean) / np.sqrt(spectrum.trace)),
        moment_gap=float(gap / np.linalg.norm(spectrum.eigenvalues)),
        deviation=float(np.abs(values - 1.0).max()),
        slack=certificate.slack,
        variance=certificate.variance,
        volume=float(np.exp(np.mean(np.log(values)))) if values[0] > 0 else 0.0,
        spread=float(within / pool) if pool > 0 else 1.0,
    )


def _mean_square_distance(trace: float, mean: NDArray[np.floating], count: int) -> float:
    """Mean over pairs of distinct rows: twice the trace of their unbiased covariance."""
    return 2.0 * (trace - float(mean @ mean)) * count / max(count - 1, 1)

r"""How far a subset's first and second moments are from the pool's, and how diverse it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from skmm.numerics.eigen import rank_cutoff
from skmm.numerics.inputs import check_indices
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
        slack: least :math:`c_S` with :math:`c_S M_S \succeq I`, that is
            :math:`1/\lambda_{\min}(M_S)`; infinite if a direction is left out.
        variance: :math:`\operatorname{tr}(M_S^{-1})/k`, the criterion of V-optimality.
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


def compare_moments(
    rows: NDArray[np.floating],
    spectrum: Spectrum,
    indices: NDArray[np.intp],
    *,
    k: int | None = None,
) -> Agreement:
    r"""Compares the moments of ``rows[indices]`` with those of all ``rows``; costs ``N m + n m²``.

    Args:
        rows: Sketched rows, shape ``[N, m]``, not all zero.
        spectrum: Their spectrum.
        indices: The subset, shape ``[n]``.
        k: Leading directions; unless told :math:`\bar r`.

    Returns:
        What the two sets of moments share and where they differ.

    Raises:
        ValueError: ``indices`` are not distinct rows of the pool, or all rows are zero.
    """
    indices = check_indices(indices, len(rows))
    if spectrum.trace == 0.0:
        raise ValueError("rows must not all be zero; there is no moment to compare with")
    chosen = rows[indices].astype(np.float64, copy=False)
    of_subset, mean, mean_of_subset = chosen.T @ chosen / len(chosen), rows.mean(0), chosen.mean(0)
    rotated = spectrum.eigenvectors.T @ of_subset @ spectrum.eigenvectors
    k = spectrum.leading(k)
    roots = np.sqrt(spectrum.eigenvalues[:k])
    values = scipy.linalg.eigvalsh(rotated[:k, :k] / np.outer(roots, roots))
    spanned = values[0] > rank_cutoff(k, values[-1])
    gap = np.linalg.norm(rotated - np.diag(spectrum.eigenvalues))
    within = _mean_square_distance(np.trace(of_subset), mean_of_subset, len(chosen))
    pool = _mean_square_distance(spectrum.trace, mean, len(rows))
    return Agreement(
        dimension=k,
        mean_gap=float(np.linalg.norm(mean_of_subset - mean) / np.sqrt(spectrum.trace)),
        moment_gap=float(gap / np.linalg.norm(spectrum.eigenvalues)),
        deviation=float(np.abs(values - 1.0).max()),
        slack=float(1.0 / values[0]) if spanned else np.inf,
        variance=float(np.mean(1.0 / values)) if spanned else np.inf,
        volume=float(np.exp(np.mean(np.log(values)))) if spanned else 0.0,
        spread=float(within / pool) if pool > 0 else 1.0,
    )


def _mean_square_distance(trace: float, mean: NDArray[np.floating], count: int) -> float:
    """Mean over pairs of distinct rows: twice the trace of their unbiased covariance."""
    return 2.0 * (trace - float(mean @ mean)) * count / max(count - 1, 1)

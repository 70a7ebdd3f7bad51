r"""How well a subset stands for its pool, by the pool's own yardstick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_indices, check_integer, check_positive
from skmm.selection.view import PoolView
from skmm.spectrum import Spectrum


@dataclass(frozen=True, eq=False)
class Certificate:
    r"""How well a subset of ``n`` samples stands for its pool, measured in the sketch.

    The yardstick is the pool's: :math:`P` projects on the :math:`k = \bar r` leading eigenvectors
    of :math:`\tilde\Sigma`, whatever the subset spans, and :math:`Q` on the :math:`k` leading ones
    of :math:`\tilde\Sigma_S`, fewer if its rank is lower. A direction that the subset lacks makes
    slack and variance infinite, and all of its energy is bias.

    Attributes:
        n: Size of the subset.
        dimension: :math:`k`, the pool's intrinsic dimension :math:`\bar r` unless told.
        slack: :math:`c_S`, the least with :math:`P(c_S \tilde\Sigma_S - \tilde\Sigma)P \succeq 0`;
            1 is a perfect match.
        variance: :math:`\operatorname{tr}(\tilde\Sigma (P\tilde\Sigma_S P)^{-1}) / k`, the mean
            price of a direction; with all directions spanned, excess risk is about
            ``variance * k * σ² / n``.
        bias_share: :math:`\operatorname{tr}(\tilde\Sigma (I-Q)) / \operatorname{tr}\tilde\Sigma`.
        least_bias_share: The same for the best projector of rank :math:`k`.
        trace: :math:`\operatorname{tr}\tilde\Sigma`, in the units of the rows.
        variances: :math:`\operatorname{tr}(\tilde\Sigma (Q_q\tilde\Sigma_S Q_q)^\dagger)` for the
            projectors :math:`Q_q` on the ``q = 0, 1, ...`` leading eigenvectors of
            :math:`\tilde\Sigma_S`, up to its rank.
        left_out: :math:`\operatorname{tr}(\tilde\Sigma (I - Q_q))` for the same.
    """

    n: int
    dimension: int
    slack: float
    variance: float
    bias_share: float
    least_bias_share: float
    trace: float
    variances: NDArray[np.float64]
    left_out: NDArray[np.float64]

    def risk_bound(self, *, noise_variance: float, theta_norm: float) -> float:
        r"""Returns the bound of Theorem 2.2 on the excess risk, at its best projector.

        .. math:: \min_q\ \frac{2\sigma^2}{n}
            \operatorname{tr}\bigl(\tilde\Sigma (Q_q\tilde\Sigma_S Q_q)^\dagger\bigr)
            + 2 \operatorname{tr}\bigl(\tilde\Sigma (I - Q_q)\bigr) \|\theta_*\|^2

        It is proven where the rows are not sketched (``m = r``); in a sketch it is the bound for
        ridge regression on the sketched rows.

        Args:
            noise_variance: :math:`\sigma^2` of the labels.
            theta_norm: :math:`\|\theta_*\|`.

        Raises:
            ValueError: one of them is not positive.

        References:
            Sketchy Moment Matching (Dong et al., 2024), Theorem 2.2
        """
        noise = check_positive(noise_variance, "noise_variance", hint="it scales the variance")
        norm = check_positive(theta_norm, "theta_norm", hint="it scales the bias")
        bounds = 2 * noise / self.n * self.variances + 2 * norm**2 * self.left_out
        return float(bounds.min())

    def __str__(self) -> str:
        k, n = self.dimension, self.n
        meaning = "1 is a perfect match"
        if np.isinf(self.slack):
            lacking = f"n = {n} samples cannot span" if n < k else "the subset does not span"
            meaning = f"{lacking} all k = {k} directions"
        elif self.slack < 1 - 1e-9:
            meaning = "below 1: more than the pool's in every direction"
        return (
            f"  slack c_S = {self.slack:.3g} ({meaning})\n"
            f"  variance {self.variance:.3g} x k/n per unit of noise\n"
            f"  bias share {self.bias_share:.2e} (least possible: {self.least_bias_share:.2e})"
        )


def certify(view: PoolView, indices: ArrayLike, *, k: int | None = None) -> Certificate:
    r"""Measures how well a subset stands for its pool; costs ``n m² + m³``.

    Args:
        view: The pool as a selection saw it, ``selection.view``, or a view of your own; see
            `PoolView.of`.
        indices: The subset, shape ``[n]``.
        k: Leading directions of the pool that count; unless told, its intrinsic dimension.

    Returns:
        The certificate; slack 1 and no bias for a pool of zero rows.

    Raises:
        ValueError: ``indices`` are not distinct rows of the pool, or ``k`` exceeds its rank.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> features = np.random.default_rng(0).standard_normal((500, 4))
        >>> features[:250, 3] = 0.0
        >>> view = skmm.PoolView.of(features, rng=0)
        >>> skmm.certify(view, np.arange(200)).slack  # nothing of the last direction
        inf
        >>> skmm.certify(view, np.arange(200, 400)).slack < 2
        True
    """
    rows, spectrum = view.rows, view.spectrum
    indices = check_indices(indices, len(rows))
    n = len(indices)
    if spectrum.trace == 0.0:
        none = np.zeros(1)
        return Certificate(n, 0, 1.0, 1.0, 0.0, 0.0, 0.0, none, none)
    if k is not None:
        check_integer(k, "k", low=1, high=spectrum.rank, hint="directions beyond are empty")
    k = spectrum.leading(k)
    of_subset = Spectrum.of(rows[indices])
    # How much of the pool lies along each eigenvector of the subset's moment.
    rank = of_subset.rank
    overlap = (spectrum.eigenvectors.T @ of_subset.eigenvectors[:, :rank]) ** 2
    exposure = spectrum.eigenvalues @ overlap
    variances = np.append(0.0, np.cumsum(exposure / of_subset.eigenvalues[:rank]))
    left_out = np.maximum(spectrum.trace - np.append(0.0, np.cumsum(exposure)), 0.0)
    matched = matched_spectrum(view, indices, k)
    return Certificate(
        n=n,
        dimension=k,
        slack=float(1.0 / matched[0]) if matched[0] > 0 else np.inf,
        variance=float(np.mean(1.0 / matched)) if matched[0] > 0 else np.inf,
        bias_share=float(left_out[min(k, rank)] / spectrum.trace),
        least_bias_share=float(spectrum.eigenvalues[k:].sum() / spectrum.trace),
        trace=spectrum.trace,
        variances=variances,
        left_out=left_out,
    )


def matched_spectrum(view: PoolView, indices: NDArray[np.intp], k: int) -> NDArray[np.float64]:
    r"""Returns the eigenvalues of the subset's moment where the pool's is the identity.

    .. math:: M_S = \Lambda_k^{-1/2} V_k^\top \tilde\Sigma_S V_k \Lambda_k^{-1/2}

    Args:
        view: The pool.
        indices: The subset, shape ``[n]``.
        k: Leading directions, at most the rank.

    Returns:
        Eigenvalues, ascending, shape ``[k]``; exactly 0 where they are so up to rounding.
    """
    whitened = view.spectrum.whiten(view.rows[indices], k)
    values = scipy.linalg.svdvals(whitened / np.sqrt(len(indices))) ** 2
    values = np.append(values, np.zeros(k - len(values)))[::-1]
    cut = max(len(indices), k) * np.finfo(np.float64).eps * values[-1]
    return np.where(values > cut, values, 0.0)

r"""How well a subset stands for its pool, by the pool's own yardstick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.eigen import rank_cutoff
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
        eigenvalues: Those of :math:`\tilde\Sigma_S` above rounding, descending, ``[q]``.
        exposure: :math:`u_j^\top \tilde\Sigma u_j` along its eigenvectors, ``[q]``: what of the
            pool lies where the subset does.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> features = np.random.default_rng(0).standard_normal((300, 8))
        >>> selections = [skmm.select(features, n, rng=0) for n in (20, 40)]
        >>> few, more = (selection.certificate for selection in selections)
        >>> isinstance(few, skmm.Certificate), few.dimension
        (True, 8)
        >>> noisy = {"noise_variance": 1.0, "theta_norm": 1.0}
        >>> few.risk_bound(**noisy) > more.risk_bound(**noisy)
        True
    """

    n: int
    dimension: int
    slack: float
    variance: float
    bias_share: float
    least_bias_share: float
    trace: float
    eigenvalues: NDArray[np.float64]
    exposure: NDArray[np.float64]

    def risk_bound(self, *, noise_variance: float, theta_norm: float) -> float:
        r"""Returns a bound on the expected excess risk of ridge regression on the subset.

        .. math:: \mathbb E\,\mathrm{ER}(\theta_S) \le \frac{\sigma^2}{n}
            \operatorname{tr}\bigl(\tilde\Sigma (\tilde\Sigma_S + \alpha I)^{-1}\bigr),
            \qquad \alpha = \frac{\sigma^2}{n \|\theta_*\|^2}

        at the penalty :math:`\alpha`, whatever the direction of :math:`\theta_*`: the variance of
        what the subset sees, and all of :math:`\|\theta_*\|^2` for what it does not. If
        :math:`\theta_*` is drawn with covariance :math:`\tau^2 I`, the mean excess risk itself
        with :math:`\tau` for :math:`\|\theta_*\|`, and :math:`\alpha` the best penalty. It never
        falls when samples are taken away. Proven where rows are not sketched (``m = r``); in a
        sketch it is about ridge regression on the sketched rows.

        Args:
            noise_variance: :math:`\sigma^2` of the labels.
            theta_norm: :math:`\|\theta_*\|`, or :math:`\tau`.

        Raises:
            ValueError: one of them is not positive.

        References:
            Theorem 2.2 of Sketchy Moment Matching (Dong et al., 2024) bounds the same risk at the
            best projector; this is below it.
        """
        noise = check_positive(noise_variance, "noise_variance", hint="it scales the variance")
        norm = check_positive(theta_norm, "theta_norm", hint="it scales the bias")
        alpha = noise / (self.n * norm**2)
        unseen = max(self.trace - float(self.exposure.sum()), 0.0)
        seen = float(np.sum(self.exposure / (self.eigenvalues + alpha)))
        return noise / self.n * seen + norm**2 * unseen

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
        none = np.zeros(0)
        return Certificate(n, 0, 1.0, 1.0, 0.0, 0.0, 0.0, none, none)
    if k is not None:
        check_integer(k, "k", low=1, high=spectrum.rank, hint="directions beyond are empty")
    k = spectrum.leading(k)
    of_subset = Spectrum.of(rows[indices])
    rank = of_subset.rank
    overlap = (spectrum.eigenvectors.T @ of_subset.eigenvectors[:, :rank]) ** 2
    exposure = spectrum.eigenvalues @ overlap
    matched = matched_spectrum(view, indices, k)
    missed = 1.0 - float(exposure[:k].sum()) / spectrum.trace
    return Certificate(
        n=n,
        dimension=k,
        slack=float(1.0 / matched[0]) if matched[0] > 0 else np.inf,
        variance=float(np.mean(1.0 / matched)) if matched[0] > 0 else np.inf,
        bias_share=missed if missed > rank_cutoff(rows.shape[1], 1.0) else 0.0,
        least_bias_share=float(spectrum.eigenvalues[k:].sum() / spectrum.trace),
        trace=spectrum.trace,
        eigenvalues=of_subset.eigenvalues[:rank],
        exposure=exposure,
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
    return np.where(values > rank_cutoff(max(len(indices), k), values[-1]), values, 0.0)

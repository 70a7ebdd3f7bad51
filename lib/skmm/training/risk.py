r"""Risk of ridge regression on a selection: on the pool, in expectation, and as theory bounds it.

The design is fixed: labels are :math:`y = G\theta_* + z` with i.i.d. noise of variance
:math:`\sigma^2`, and the excess risk :math:`\|\theta_S - \theta_*\|^2_\Sigma` has a closed form in
expectation over z, so nothing here draws noise. Penalties follow :mod:`skmm.training.ridge`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.eigen import gram_eigen
from skmm.numerics.inputs import check_doubles, check_indices, check_positive
from skmm.training.ridge import (
    Array,
    RidgePath,
    check_alphas,
    check_targets,
    mean_square,
    solve_path,
)


@dataclass(frozen=True)
class RidgeRisk:
    r"""The risk of ridge regression on subsets of one pool, which share its Gram matrix.

    Attributes:
        features: :math:`G`, shape ``[N, r]``.
        gram: :math:`GG^\top`, shape ``[N, N]``, where :math:`N \le r`; else ``None``.
        trace: :math:`\mathrm{tr}(\Sigma)` with :math:`\Sigma = G^\top G/N`.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> G = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> pool = skmm.RidgeRisk.of(G)
        >>> for indices in ([0, 2], [0, 1]):  # two directions; one of them twice
        ...     print(pool.empirical_risk(indices, G @ [1.0, 1.0], alphas=[0.0]).round(3))
        [0.]
        [0.5]
    """

    features: Array
    gram: Array | None
    trace: float

    @classmethod
    def of(cls, features: ArrayLike) -> RidgeRisk:
        """Prepares a pool ``[N, r]``: ``O(N^2 r)`` once if ``N <= r``, nothing otherwise."""
        G = check_doubles(features)
        gram = G @ G.T if G.shape[0] <= G.shape[1] else None
        return cls(G, gram, float(np.einsum("ij,ij->", G, G)) / len(G))

    def _gram_at(self, indices: NDArray[np.intp]) -> tuple[Array, Array]:
        """Returns the columns ``[N, n]`` of the Gram matrix at the selection, and its block."""
        columns = (
            self.gram[:, indices]
            if self.gram is not None
            else self.features @ self.features[indices].T
        )
        return columns, columns[indices]

    def empirical_risk(self, indices: ArrayLike, targets: ArrayLike, *, alphas: ArrayLike) -> Array:
        r"""Returns the risk over the pool of ridge regression on a selection, shape ``[A]``.

        .. math:: L(\theta_S) = \tfrac1N \|G\theta_S - y\|^2

        A few penalties cost a Cholesky factorisation each, a long path one eigendecomposition;
        feature vectors are not touched where the Gram matrix is at hand.

        Args:
            indices: distinct positions of the selection, shape ``[n]``.
            targets: labels of the whole pool, ``[N]`` or ``[N, T]`` (squared errors are summed
                over the T targets); the fit sees those of the selection.
            alphas: penalties, shape ``[A]``.
        """
        N, r = self.features.shape
        S, y, alphas = check_indices(indices, N), check_targets(targets, N), check_alphas(alphas)
        if len(S) > r:
            predictions = RidgePath.fit(self.features[S], y[S], alphas=alphas).predict(
                self.features
            )
            return mean_square(predictions.reshape(len(alphas), N, -1).swapaxes(0, 1), y)
        columns, block = self._gram_at(S)
        dual = solve_path(block, y[S], len(S) * alphas)
        return mean_square(np.tensordot(columns, dual, 1), y)

    def on(self, indices: ArrayLike) -> SubsetRisk:
        """Returns the risk on one subset, shape ``[n]``, for all penalties and noise levels.

        Costs one eigendecomposition of size ``min(n, r)`` and one product with the pool.
        """
        S = check_indices(indices, len(self.features))
        if len(S) <= self.features.shape[1]:
            columns, block = self._gram_at(S)
            values, U = gram_eigen(block)
            rows = columns @ (U / np.sqrt(values))
        else:
            values, V = gram_eigen(self.features[S].T @ self.features[S])
            rows = self.features @ V
        return SubsetRisk(S, values / len(S), rows, self.trace)


@dataclass(frozen=True)
class SubsetRisk:
    r"""The risk on one subset: the pool in the eigenbasis :math:`V` of its second moment.

    All that ridge regression on the selection can do to the pool is a function of these arrays,
    whatever r: no ``r × r`` matrix is ever formed.

    Attributes:
        indices: the selection :math:`S`, shape ``[n]``.
        eigenvalues: nonzero eigenvalues :math:`\lambda_j` of :math:`\Sigma_S`, descending, ``[k]``.
        rows: :math:`GV`, shape ``[N, k]``.
        trace: :math:`\mathrm{tr}(\Sigma)`.
    """

    indices: NDArray[np.intp]
    eigenvalues: Array
    rows: Array
    trace: float

    @cached_property
    def exposure(self) -> Array:
        r"""The pool's moment along each direction, :math:`q_j = v_j^\top\Sigma v_j`, ``[k]``."""
        return np.einsum("ij,ij->j", self.rows, self.rows) / len(self.rows)

    @property
    def whitened_exposure(self) -> Array:
        r"""The pool's moment in units of the selection's, :math:`q_j/\lambda_j`, shape ``[k]``."""
        return self.exposure / self.eigenvalues

    def penalties(self, count: int = 41) -> Array:
        r"""Returns 0 and a geometric grid from :math:`10^{-8}` to 10 times :math:`\lambda_1`."""
        return np.r_[0.0, np.geomspace(1e-8, 10, count - 1) * self.eigenvalues.max(initial=0)]

    def excess_risk(
        self, signal: ArrayLike, *, noise_variance: float, alphas: ArrayLike | None = None
    ) -> RiskSplit:
        r"""Returns the expected excess risk for :math:`y = G\theta_* + z` in closed form.

        .. math:: \mathbb{E}_z\|\theta_S - \theta_*\|^2_\Sigma
            = \underbrace{\frac{\sigma^2}{n}\sum_j \frac{\lambda_j q_j}{(\lambda_j+\alpha)^2}
              }_{\text{variance}}
            + \underbrace{\frac1N\Big\|G\theta_* - GV\,\mathrm{diag}
              \Big(\frac{1}{n(\lambda_j+\alpha)}\Big)(G_SV)^\top G_S\theta_*\Big\|^2}_{\text{bias}}

        Args:
            signal: noise-free labels :math:`G\theta_*` of the pool, shape ``[N]``.
            noise_variance: :math:`\sigma^2` of the i.i.d. label noise.
            alphas: penalties, shape ``[A]``; :meth:`penalties` by default.
        """
        N, n = len(self.rows), len(self.indices)
        signal = check_targets(signal, N)
        noise_variance = check_positive(noise_variance, "noise_variance", hint="it scales variance")
        alphas = self.penalties() if alphas is None else check_alphas(alphas)
        damped = 1 / (self.eigenvalues[:, None] + alphas)
        variance = noise_variance / n * ((self.eigenvalues * self.exposure) @ damped**2)
        moment = self.rows[self.indices].T @ signal[self.indices].reshape(n, -1)
        fitted = np.tensordot(self.rows, damped[:, :, None] * moment[:, None, :] / n, 1)
        bias = mean_square(fitted, signal)
        return RiskSplit(alphas, variance, bias)

    def theorem_2_2(self, *, noise_variance: float, theta_norm: float) -> RiskSplit:
        r"""Returns the paper's bound on the best penalty's excess risk, for every rank at once.

        With P the projector onto the k leading eigenvectors of :math:`\Sigma_S`, some
        :math:`\alpha` has

        .. math:: \mathbb{E}\,\mathrm{ER}(\theta_S) \le
            \underbrace{\frac{2\sigma^2}{n}\mathrm{tr}\big(\Sigma(P\Sigma_SP)^\dagger\big)
              }_{\text{variance}}
            + \underbrace{2\,\mathrm{tr}\big(\Sigma(I-P)\big)\|\theta_*\|^2}_{\text{bias}} .

        Args:
            noise_variance: :math:`\sigma^2`.
            theta_norm: :math:`\|\theta_*\|`.

        Returns:
            The two terms for ``path`` = ranks 1, 2, ... up to the rank of :math:`\Sigma_S`.

        References:
            Sketchy Moment Matching (Dong et al., 2024), Theorem 2.2
        """
        noise_variance = check_positive(noise_variance, "noise_variance", hint="it scales variance")
        theta_norm = check_positive(theta_norm, "theta_norm", hint="it scales the bias")
        variance = 2 * noise_variance / len(self.indices) * np.cumsum(self.whitened_exposure)
        # Rounding may carry the captured energy past the trace.
        left_out = np.maximum(self.trace - np.cumsum(self.exposure), 0)
        return RiskSplit(np.arange(1, len(variance) + 1), variance, 2 * left_out * theta_norm**2)

    def risk_without_penalty(self, *, noise_variance: float) -> float:
        r"""Returns the expected excess risk without a penalty.

        .. math:: \frac{\sigma^2}{n}\,\mathrm{tr}(\Sigma\Sigma_S^{-1})

        The price of variance alone; infinite where the selection does not span the pool (to 1e-8
        of the pool's energy).
        """
        noise_variance = check_positive(noise_variance, "noise_variance", hint="it scales variance")
        if self.trace - self.exposure.sum() > 1e-8 * self.trace:
            return np.inf
        return float(noise_variance / len(self.indices) * self.whitened_exposure.sum())


@dataclass(frozen=True)
class RiskSplit:
    r"""Expected excess risk along a path, split into its two causes.

    Attributes:
        path: what varies: penalties :math:`\alpha` of the exact risk, ranks k of a bound, ``[A]``.
        variance: the part due to label noise, shape ``[A]``.
        bias: the part due to shrinkage and to directions that the selection lacks, shape ``[A]``.
    """

    path: NDArray[np.number]
    variance: Array
    bias: Array

    @property
    def total(self) -> Array:
        """Variance plus bias, shape ``[A]``."""
        return self.variance + self.bias

    @property
    def best(self) -> RiskSplit:
        """The one point of the path with the least total, arrays of shape ``[1]``."""
        at = [int(np.argmin(self.total))]
        return RiskSplit(self.path[at], self.variance[at], self.bias[at])

r"""The corollary of Theorem 2.2 with its constants: excess risk by the slack :math:`c_S`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmm.numerics.inputs import check_integer, check_positive
from skmm.training.risk import SubsetRisk


@dataclass(frozen=True)
class Corollary:
    r"""The slack of a subset on its own leading directions, and what it bounds the risk by.

    Attributes:
        slack: the least :math:`c_S` with :math:`P(c_S\Sigma_S - \Sigma)P \succeq 0`.
        variance: :math:`2 c_S \sigma^2 k / n`.
        bias: :math:`2\,\mathrm{tr}(\Sigma(I - P))\,\|\theta_*\|^2`.
    """

    slack: float
    variance: float
    bias: float

    @property
    def bound(self) -> float:
        """Variance plus bias."""
        return self.variance + self.bias


def corollary_bound(
    seen: SubsetRisk, k: int, *, noise_variance: float, theta_norm: float
) -> Corollary:
    r"""Bounds the excess risk by the slack alone, as the paper's corollary does.

    .. math:: \min_\alpha \mathbb E\,\mathrm{ER}(\theta_S)
              \le \frac{2\sigma^2}{n}\,\mathrm{tr}\bigl(\Sigma(P\Sigma_SP)^\dagger\bigr)
              + 2\,\mathrm{tr}(\Sigma(I-P))\|\theta_*\|^2
              \le \frac{2 c_S\sigma^2 k}n + 2\,\mathrm{tr}(\Sigma(I-P))\|\theta_*\|^2

    P projects onto the k leading eigenvectors of :math:`\Sigma_S`; the first step is Theorem 2.2,
    the second :math:`P\Sigma P \preceq c_S P\Sigma_SP`. So the constant that the paper's
    :math:`\lesssim` hides is 2. The slack counts the worst direction k times, the theorem each
    direction once: they agree where all are equally well covered.

    Args:
        seen: the pool as the subset sees it; `skmm.RidgeRisk.on`.
        k: rank of P, in ``1..rank of the subset's moment``.
        noise_variance: :math:`\sigma^2`.
        theta_norm: :math:`\|\theta_*\|`.

    Raises:
        ValueError: an argument is out of range.

    References:
        Sketchy Moment Matching (Dong et al., 2024), the corollary of Theorem 2.2
    """
    rank = len(seen.eigenvalues)
    check_integer(k, "k", low=1, high=rank, hint="the subset spans so many directions")
    noise_variance = check_positive(noise_variance, "noise_variance", hint="it scales variance")
    theta_norm = check_positive(theta_norm, "theta_norm", hint="it scales the bias")
    rows = seen.rows[:, :k] / np.sqrt(seen.eigenvalues[:k])
    slack = float(np.linalg.eigvalsh(rows.T @ rows / len(rows))[-1])
    left_out = max(seen.trace - float(seen.exposure[:k].sum()), 0.0)
    variance = 2 * slack * noise_variance * k / len(seen.indices)
    return Corollary(slack, variance, 2 * left_out * theta_norm**2)

r"""How much of Theorem 2.2's bound the excess risk uses, over random problems of every kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer
from skmm.numerics.streams import as_generator
from skmm.training.risk import RidgeRisk, SubsetRisk

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tightness:
    r"""Excess risk at the best penalty over the bound of Theorem 2.2, one entry a random problem.

    Attributes:
        leading: with P onto those leading eigenvectors of :math:`\Sigma_S` that make the bound
            least, shape ``[cases]``; a value above 1 would refute the theorem.
        arbitrary: with P onto a random subspace of :math:`\mathrm{Range}(\Sigma_S)`, ``[cases]``.
        rank: rank of :math:`\Sigma_S`, shape ``[cases]``.
        n: number of selected samples, shape ``[cases]``.
    """

    leading: Array
    arbitrary: Array
    rank: NDArray[np.int64]
    n: NDArray[np.int64]


def subspace_bound(
    seen: SubsetRisk, basis: Array, *, noise_variance: float, theta_norm: float
) -> float:
    r"""Returns Theorem 2.2's bound with P onto any subspace of :math:`\mathrm{Range}(\Sigma_S)`.

    .. math:: \frac{2\sigma^2}{n}\mathrm{tr}\big(\Sigma(P\Sigma_SP)^\dagger\big)
              + 2\,\mathrm{tr}\big(\Sigma(I-P)\big)\|\theta_*\|^2,
              \qquad P = VQ(VQ)^\top

    Args:
        seen: the pool in the eigenbasis :math:`V` of :math:`\Sigma_S`, of rank k.
        basis: :math:`Q`, orthonormal columns, shape ``[k, p]``.
        noise_variance: :math:`\sigma^2`.
        theta_norm: :math:`\|\theta_*\|`.

    References:
        Sketchy Moment Matching (Dong et al., 2024), Theorem 2.2
    """
    rows = seen.rows @ basis
    moment = rows.T @ rows / len(rows)
    of_subset = basis.T @ (seen.eigenvalues[:, None] * basis)
    price = np.trace(np.linalg.solve(of_subset, moment))
    left_out = max(seen.trace - np.trace(moment), 0.0)
    return float(2 * noise_variance / len(seen.indices) * price + 2 * left_out * theta_norm**2)


def sample_tightness(cases: int, *, rng: int | np.random.Generator, largest: int = 24) -> Tightness:
    r"""Draws random problems and compares the excess risk with its bound in each.

    N and r are uniform up to ``largest`` and n up to N, so all of n < r, n = r and n > r occur;
    spectra decay as :math:`j^{-2a}` with a in 0..2, row norms spread over a factor of 30, the noise
    over eight powers of ten, and :math:`\theta_*` follows the spectrum or ignores it. The excess
    risk is that of the best penalty on a grid, which can only overstate its part. Takes about half
    a millisecond a case.

    Args:
        cases: number of problems.
        rng: seed or generator.
        largest: largest N and r.

    Raises:
        ValueError: ``cases`` is below 1 or ``largest`` below 2.
    """
    check_integer(cases, "cases", low=1, hint="each is a random problem")
    check_integer(largest, "largest", low=2, hint="it bounds the number of samples and features")
    rng = as_generator(rng, "tightness")
    leading, arbitrary = np.empty((2, cases))
    rank, count = np.empty((2, cases), dtype=np.int64)
    for case in range(cases):
        N, r = rng.integers(2, largest + 1, 2)
        n = int(rng.integers(1, N + 1))
        decay, aligned = rng.uniform(0, 2), rng.integers(2)
        scales = np.arange(1, r + 1.0) ** -decay
        G = rng.standard_normal((N, r)) * scales * 10 ** rng.uniform(-0.75, 0.75, (N, 1))
        theta = rng.standard_normal(r) * scales**aligned
        noise_variance = 10 ** rng.uniform(-6, 2)
        scale = {"noise_variance": noise_variance, "theta_norm": float(np.linalg.norm(theta))}
        seen = RidgeRisk.of(G).on(rng.choice(N, n, replace=False))
        risk = seen.excess_risk(G @ theta, noise_variance=noise_variance).best.total.item()
        k = len(seen.eigenvalues)
        basis = np.linalg.qr(rng.standard_normal((k, int(rng.integers(1, k + 1)))))[0]
        leading[case] = risk / seen.theorem_2_2(**scale).best.total.item()
        arbitrary[case] = risk / subspace_bound(seen, basis, **scale)
        rank[case], count[case] = k, n
    return Tightness(leading, arbitrary, rank, count)

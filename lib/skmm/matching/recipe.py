r"""The published way to solve the moment-matching program, kept for comparison only.

The paper's program is over the weights *and* :math:`\gamma`; its public code runs Adam on both and
pulls the weights back by clipping and renormalising, which is no projection. Use
`skmm.matching.program.match_moments` for anything but the comparison.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from skmm.matching.program import RelaxedSelection, moment_shares
from skmm.matching.simplex import duality_gap
from skmm.numerics.inputs import check_budget, check_integer, check_positive
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


def adam_clip_renormalise(
    rows: NDArray[np.floating],
    spectrum: Spectrum,
    n: int,
    *,
    slack: float = 1.0,
    steps: int = 10_000,
    learning_rate: float = 1e-5,
) -> RelaxedSelection:
    r"""Runs Adam on :math:`(s, \gamma)` with clip-and-renormalise, as the paper's public code does.

    .. math:: \min_{s,\,\gamma \ge 1/c_S} \sum_j \bigl(v_j^\top \tilde G^\top \mathrm{diag}(s)
              \tilde G v_j - \gamma_j \lambda_j\bigr)^2

    Every step forms the m×m moment, ``N m² + m³``; the start is uniform, so nothing is random.
    Renormalising after the clip may leave weights above ``1/n``.

    Args:
        rows: Sketched rows :math:`\tilde G`, shape ``[N, m]``.
        spectrum: Their spectrum.
        n: Budget, in ``1..N``.
        slack: :math:`c_S`.
        steps: Adam's steps, all of them taken.
        learning_rate: Adam's; weights are of order ``1/N``, so it should be well below that.

    Returns:
        The last iterate in the units of `skmm.matching.program`, with its objective and gap.

    Raises:
        ValueError: ``n``, ``slack``, ``steps`` or ``learning_rate`` out of range.
    """
    N = len(rows)
    check_budget(n, N)
    floor = 1.0 / check_positive(slack, "slack", hint="the paper uses 1/0.9 to 1/0.6")
    check_integer(steps, "steps", low=0, hint="the published number is 10,000")
    check_positive(learning_rate, "learning_rate", hint="1e-5 serves a pool of 2,000")
    G = torch.tensor(rows, dtype=torch.float64)
    V, lam = torch.tensor(spectrum.eigenvectors), torch.tensor(spectrum.eigenvalues)
    s = torch.full((N,), 1.0 / N, dtype=torch.float64, requires_grad=True)
    gamma = torch.full_like(lam, floor, requires_grad=True)
    adam = torch.optim.Adam([s, gamma], lr=learning_rate)
    for _ in range(steps):
        adam.zero_grad()
        moment = G.T @ (s[:, None] * G)
        gap = torch.diagonal(V.T @ moment @ V) - gamma * lam
        gap.square().sum().backward()
        adam.step()
        with torch.no_grad():
            s.clamp_(0.0, 1.0 / n)
            s /= s.sum()
            gamma.clamp_(min=floor)
    weights = s.detach().numpy()
    shares = moment_shares(rows, spectrum)
    deficit = np.maximum(floor - weights @ shares, 0.0)
    return RelaxedSelection(
        weights,
        objective=0.5 * float(deficit @ deficit),
        gap=duality_gap(-(shares @ deficit), weights, n),
        steps=steps,
        gamma=gamma.detach().numpy(),
    )

r"""The published way to solve the moment-matching program: part of ``method="skmm_paper"``.

The paper's program is over the weights *and* :math:`\gamma`; its public code runs Adam on both and
pulls the weights back by clipping and renormalising, which is no projection. Use
`skmm.match_moments` for anything but the comparison.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skmm.matching.program import RelaxedSelection, check_slack, moment_shares, relaxed_selection
from skmm.matching.simplex import random_vertex
from skmm.numerics.extras import extra
from skmm.numerics.inputs import check_budget, check_integer, check_positive, check_rows
from skmm.numerics.streams import as_generator
from skmm.spectrum import Spectrum


def adam_clip_renormalise(
    rows: NDArray[np.floating],
    spectrum: Spectrum,
    n: int,
    *,
    rng: int | np.random.Generator,
    slack: float = 1 / 0.9,
    steps: int = 10_000,
    learning_rate: float = 1e-5,
) -> RelaxedSelection:
    r"""Runs Adam on :math:`(s, \gamma)` with clip-and-renormalise, as the paper's public code does.

    .. math:: \min_{s,\,\gamma \ge 1/c_S} \sum_j \bigl(v_j^\top \tilde G^\top \mathrm{diag}(s)
              \tilde G v_j - \gamma_j \lambda_j\bigr)^2

    Every step forms the m×m moment, ``N m² + m³``; the start is a random subset. Renormalising
    after the clip may leave weights above ``1/n``. Needs torch (``pip install "skmm[gradients]"``).

    Args:
        rows: Sketched rows :math:`\tilde G`, shape ``[N, m]``.
        spectrum: Their spectrum.
        n: Budget, in ``1..N``.
        rng: Seed or generator for the start.
        slack: :math:`c_S`.
        steps: Adam's steps, all of them taken.
        learning_rate: Adam's; weights are of order ``1/N``, so it should be well below that.

    Returns:
        The last iterate in the units of `match_moments`, with its objective, gap and start.

    Raises:
        ValueError: ``n``, ``slack``, ``steps`` or ``learning_rate`` out of range.
        ImportError: torch is not installed.

    References:
        Sketchy Moment Matching (Dong et al., 2024), Algorithm 3.1, as its public code solves it.

    Example:
        >>> import numpy as np
        >>> import skmm
        >>> rows = np.random.default_rng(0).standard_normal((50, 3))
        >>> relaxed = skmm.adam_clip_renormalise(rows, skmm.Spectrum.of(rows), 10, rng=0, steps=5)
        >>> round(float(relaxed.s.sum()), 12), relaxed.steps, int((relaxed.start > 0).sum())
        (1.0, 5, 10)
    """
    rows = check_rows(rows, "rows")
    N = len(rows)
    check_budget(n, N)
    floor = 1.0 / check_slack(slack)
    check_integer(steps, "steps", low=0, hint="the published number is 10,000")
    check_positive(learning_rate, "learning_rate", hint="1e-5 serves a pool of 2,000")
    start = random_vertex(N, n, rng=as_generator(rng, "adam_clip_renormalise"))
    with extra("gradients", needed_by="adam_clip_renormalise"):
        import torch
    G = torch.tensor(rows, dtype=torch.float64)
    V, lam = torch.tensor(spectrum.eigenvectors), torch.tensor(spectrum.eigenvalues)
    s = torch.tensor(start, requires_grad=True)
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
    shares = moment_shares(rows, spectrum)
    weights = s.detach().numpy()
    reached = relaxed_selection(shares, weights, n, slack=slack, steps=steps, start=start)
    return replace(reached, gamma=gamma.detach().numpy())

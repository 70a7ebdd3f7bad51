r"""Sketchy moment matching: sketch, spectrum, matched weights, rounded subset."""

from __future__ import annotations

import numpy as np

from skmm.criteria import DiagonalShortfall
from skmm.inputs import check_choice
from skmm.matching import match_moments, moment_shares
from skmm.rounding import exchange, round_by_sampling, round_to_top
from skmm.selectors.base import Choice, Pool, selector


@selector("skmm", cost="N r m + N m n", reference="Dong et al. (2024), arXiv 2407.06120")
def match(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    slack: float = 1.0,
    rounding: str = "exchange",
    solver: str = "apg",
) -> Choice:
    r"""Matches the pool's second moment in the sketch (Sketchy Moment Matching)."""
    check_choice(rounding, "rounding", ("exchange", "sample", "top"))
    shares = moment_shares(pool.sketched, pool.spectrum, pool.spectrum.leading())
    start_rng, draw_rng = rng.spawn(2)
    relaxed = match_moments(shares, n, rng=start_rng, slack=slack, solver=solver)
    if rounding == "sample":
        indices = round_by_sampling(relaxed.s, n, rng=draw_rng)
    else:
        indices = round_to_top(relaxed.s, n)
    if rounding == "exchange":
        indices = exchange(DiagonalShortfall(shares, slack=slack), indices)
    return Choice(indices, relaxed.objective, relaxed.gap)

r"""Sketchy moment matching: sketch, spectrum, matched weights, rounded subset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Criterion, DiagonalShortfall, SecondMoment, VOptimality
from skmm.inputs import check_choice
from skmm.matching import match_moments, moment_shares
from skmm.rounding import exchange, round_by_sampling, round_to_top
from skmm.selectors.base import Choice, Pool, selector
from skmm.spectrum import Spectrum

CRITERIA = ("auto", "diagonal", "full", "v-optimal")
METRICS = ("raw", "row", "whitened")
ROUNDINGS = ("exchange", "sample", "top")

_SAMPLES_PER_DIRECTION = 3
"""Fewer samples than this for each direction of the pool, and not all can be covered well."""


@selector("skmm", cost="N r m + N m n", reference="Dong et al. (2024), arXiv 2407.06120")
def match(
    pool: Pool,
    n: int,
    *,
    rng: np.random.Generator,
    criterion: str = "auto",
    metric: str | None = None,
    mean: bool = False,
    slack: float = 1.0,
    rounding: str = "exchange",
    solver: str = "apg",
) -> Choice:
    r"""Matches the pool's second moment in the sketch (Sketchy Moment Matching).

    The relaxed program gives weights near a subset; rounding makes it one. With ``exchange``, the
    subset then descends on a criterion:

    - ``v-optimal``: least mean variance over the leading :math:`\bar r` directions;
    - ``full``: :math:`\|\tilde\Sigma_S - \tilde\Sigma\|_F`, the whole second moment;
    - ``diagonal``: the paper's one-sided program on the subset;
    - ``auto``: ``v-optimal`` if there are three samples for each of the :math:`\bar r` directions
      (then all can be covered, and variance is all of the risk), ``full`` otherwise.

    Args:
        pool: The pool.
        n: Budget.
        rng: Generator for the start of the relaxed program and for sampling.
        criterion: What exchange descent lowers, one of `CRITERIA`.
        metric: What rows are measured in: ``raw``; ``row`` (unit norm, so that no row weighs more
            than another); ``whitened`` (every leading direction counts the same). Unless told,
            ``row`` for ``full`` and ``raw`` otherwise.
        mean: Whether ``full`` matches the first moment as well.
        slack: :math:`c_S` of the relaxed program and of ``diagonal``.
        rounding: ``exchange``, ``sample`` (the paper: draw from the weights) or ``top``.
        solver: Of the relaxed program; see `skmm.match_moments`.
    """
    check_choice(criterion, "criterion", CRITERIA)
    check_choice(rounding, "rounding", ROUNDINGS)
    if criterion == "auto":
        crowded = n < _SAMPLES_PER_DIRECTION * pool.spectrum.leading()
        criterion = "full" if crowded else "v-optimal"
    metric = metric or ("row" if criterion == "full" else "raw")
    check_choice(metric, "metric", METRICS)
    rows, spectrum = _measure(pool, metric)
    leading = max(1, min(spectrum.leading(), n // _SAMPLES_PER_DIRECTION))
    shares = moment_shares(rows, spectrum, spectrum.leading())
    start_rng, draw_rng = rng.spawn(2)
    relaxed = match_moments(shares, n, rng=start_rng, slack=slack, solver=solver)
    if rounding == "sample":
        indices = round_by_sampling(relaxed.s, n, rng=draw_rng)
    else:
        indices = round_to_top(relaxed.s, n)
    if rounding == "exchange" and spectrum.rank > 0:
        lowered: Criterion
        if criterion == "diagonal":
            lowered = DiagonalShortfall(shares, n, slack=slack)
        elif criterion == "full":
            lowered = SecondMoment(rows, n, mean=mean)
        else:
            lowered = VOptimality(spectrum.whiten(rows, leading), n)
        indices = exchange(lowered, indices)
    return Choice(indices, relaxed.objective, relaxed.gap)


def _measure(pool: Pool, metric: str) -> tuple[NDArray[np.float64], Spectrum]:
    rows, spectrum = pool.sketched.astype(np.float64, copy=False), pool.spectrum
    if metric == "raw":
        return rows, spectrum
    if metric == "whitened":
        rows = spectrum.whiten(rows, spectrum.leading())
    else:
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return rows, Spectrum.of(rows)

r"""Sketchy moment matching: sketch, spectrum, matched weights, rounded subset."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import (
    Combination,
    Criterion,
    DiagonalShortfall,
    FourthMoment,
    SecondMoment,
    VOptimality,
)
from skmm.matching.program import SOLVERS, check_slack, match_moments, moment_shares
from skmm.numerics.inputs import check_choice
from skmm.rounding.exchange import exchange, round_by_sampling, round_to_top
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.spectrum import Spectrum

CRITERIA = ("auto", "combined", "diagonal", "fourth", "full", "v-optimal")
METRICS = ("raw", "row", "whitened")
ROUNDINGS = ("exchange", "sample", "top")

_SAMPLES_PER_DIRECTION = 3
"""With fewer samples for each direction of the pool, not all can be covered well."""

_COVERED = 64
"""Directions that ``combined`` covers at most, and that the start of whole moments is matched in:
those beyond carry little of the second moment each."""

_WHOLE = ("combined", "fourth", "full")
"""Criteria of whole moments, which a few long rows would dominate: they take unit rows."""

_SMALL_POOL, _MOST_STARTS = 4096, 32
"""Descents from random subsets beside the matched one, for pools so small (N n) that they are
free and that a single descent, with few swaps to choose from, may end in a poor minimum."""


@selector(
    "skmm",
    label="SkMM",
    cost='N r m + N m n; N² m with `criterion="fourth"`',
    reference="Dong et al. (2024), arXiv 2407.06120",
)
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
    - ``fourth``: the whole fourth moment :math:`\mathbb E\,x^{\otimes 4}`, and through it the
      second: for pools of many small groups that share directions, at O(N² m);
    - ``combined``: ``full``, and ``v-optimal`` over the leading directions that ``n`` samples can
      cover (at most 64), each in units of what uniform sampling attains;
    - ``diagonal``: the paper's one-sided program on the subset;
    - ``auto``: ``v-optimal`` where the pool has low intrinsic dimension, that is where half of the
      sketch's directions carry next to nothing (:math:`2\bar r \le m`) and the budget covers the
      others (:math:`3\bar r \le n`): then variance is all of the risk. Otherwise ``combined``, for
      where every direction carries something V-optimality picks outliers. Features that are few
      and clean are better served by ``v-optimal``.

    Rows of zeros carry nothing: none is chosen while others are left.

    Args:
        pool: The pool.
        n: Budget.
        rng: Generator for the start of the relaxed program and for sampling.
        criterion: What exchange descent lowers, one of `CRITERIA`.
        metric: What rows are measured in: ``raw``; ``row`` (unit norm, so that no row weighs more
            than another); ``whitened`` (every leading direction counts the same). Unless told,
            ``row`` for ``full``, ``fourth`` and ``combined`` and ``raw`` otherwise.
        mean: Whether ``full`` and ``combined`` match the first moment as well.
        slack: :math:`c_S` of the relaxed program and of ``diagonal``.
        rounding: ``exchange``, ``sample`` (the paper: draw from the weights) or ``top``.
        solver: Of the relaxed program; see `skmm.match_moments`.
    """
    check_choice(criterion, "criterion", CRITERIA)
    check_choice(rounding, "rounding", ROUNDINGS)
    check_choice(solver, "solver", SOLVERS)
    check_slack(slack)
    if metric is not None:
        check_choice(metric, "metric", METRICS)
    if not isinstance(mean, bool | np.bool_):
        raise ValueError(f"mean must be True or False, got {mean!r}")
    filled = np.flatnonzero(pool.sketched.any(axis=1))
    if 0 < len(filled) < pool.N:
        knobs = {"criterion": criterion, "metric": metric, "mean": mean, "slack": slack}
        knobs |= {"rounding": rounding, "solver": solver}
        return _match_filled(pool, filled, n, rng=rng, **knobs)
    if criterion == "auto":
        criterion = "v-optimal" if _has_low_dimension(pool, n) else "combined"
    if metric is None:
        metric = "row" if criterion in _WHOLE else "raw"
    rows, spectrum = _measure(pool, metric)
    start_rng, draw_rng = rng.spawn(2)
    directions, effort = spectrum.leading(), {}
    if rounding == "exchange":
        # Exchange makes up for what a rough solution lacks; other roundings have nothing else.
        effort = {"tolerance": 1e-6, "max_steps": 100}
        if criterion in _WHOLE:
            directions = min(directions, _COVERED)
    shares = moment_shares(rows, spectrum, directions)
    relaxed = match_moments(shares, n, rng=start_rng, slack=slack, solver=solver, **effort)
    del shares  # may be as large as the rows
    if rounding == "sample":
        indices = round_by_sampling(relaxed.s, n, rng=draw_rng)
    else:
        indices = round_to_top(relaxed.s, n)
    if rounding == "exchange" and spectrum.rank > 0:
        lowered = _criterion(criterion, rows, spectrum, n, slack=slack, mean=mean)
        more = max(1, min(_MOST_STARTS, _SMALL_POOL // (pool.N * n))) - 1
        starts = [indices, *(draw_rng.choice(pool.N, n, replace=False) for _ in range(more))]
        indices = _best_exchange(lowered, starts)
    lowered_by = f"criterion {criterion}, " if rounding == "exchange" else ""
    settings = f"{lowered_by}metric {metric}, rounding {rounding}"
    return Choice(indices, relaxed.objective, relaxed.gap, settings)


def _match_filled(
    pool: Pool, filled: NDArray[np.intp], n: int, *, rng: np.random.Generator, **knobs: Any
) -> Choice:
    """Matches the rows ``filled`` alone; the others, all zero, come last, in the pool's order."""
    part = Pool(pool.sketched[filled], pool.m, pool.sketch, pool.rng)
    chosen = match(part, min(n, len(filled)), rng=rng, **knobs)
    zeros = np.setdiff1d(np.arange(pool.N), filled)[: n - len(chosen.indices)]
    indices = np.concatenate([filled[chosen.indices], zeros])
    return Choice(indices, chosen.objective, chosen.gap, chosen.settings)


def _best_exchange(criterion: Criterion, starts: list[NDArray[np.intp]]) -> NDArray[np.intp]:
    best, reached = np.inf, starts[0]
    for start in starts:
        indices = exchange(criterion, start)
        if (value := criterion.value()) < best:
            best, reached = value, indices
    return reached


def _has_low_dimension(pool: Pool, n: int) -> bool:
    r_bar = pool.spectrum.intrinsic_dimension
    return 2 * r_bar <= pool.m and _SAMPLES_PER_DIRECTION * r_bar <= n


def _measure(pool: Pool, metric: str) -> tuple[NDArray[np.float64], Spectrum]:
    """Returns the sketched rows in a metric, in units that keep fourth powers in range."""
    rows, spectrum = pool.sketched.astype(np.float64, copy=False), pool.spectrum
    if spectrum.rank == 0:
        return rows, spectrum
    if metric == "raw":
        unit = np.sqrt(spectrum.trace)
        eigenvalues = spectrum.eigenvalues / spectrum.trace
        return rows / unit, Spectrum(eigenvalues, spectrum.eigenvectors, spectrum.N)
    if metric == "whitened":
        rows = spectrum.whiten(rows, spectrum.leading())
    else:
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return rows, Spectrum.of(rows)


def _criterion(
    name: str, rows: NDArray[np.float64], spectrum: Spectrum, n: int, *, slack: float, mean: bool
) -> Criterion:
    if name == "diagonal":
        shares = moment_shares(rows, spectrum, spectrum.leading())
        return DiagonalShortfall(shares, n, slack=slack)
    if name == "full":
        return SecondMoment(rows, n, mean=mean)
    if name == "fourth":
        return FourthMoment(rows, n)
    covered = max(1, min(spectrum.leading(), n // _SAMPLES_PER_DIRECTION))
    if name == "v-optimal":
        return VOptimality(spectrum.whiten(rows, covered), n)
    covered = min(covered, _COVERED)
    # A uniform sample has mean variance 1 / (1 - k/n) over k whitened directions.
    variance = VOptimality(spectrum.whiten(rows, covered), n)
    return Combination([(1.0, SecondMoment(rows, n, mean=mean)), (1.0 - covered / n, variance)])

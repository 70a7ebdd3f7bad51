r"""Sketchy moment matching: sketch, spectrum, a criterion on moments, exchange descent."""

from __future__ import annotations

import numbers
from dataclasses import replace
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
from skmm.matching.design import bound_v_optimality, v_optimality
from skmm.matching.program import check_slack, moment_shares
from skmm.numerics.inputs import check_choice, check_positive
from skmm.numerics.stored import StoredRows, scan
from skmm.rounding.sampling import round_to_top
from skmm.selection.selectors.balance import Balance
from skmm.selection.selectors.base import Choice, Pool, selector
from skmm.selection.selectors.candidates import Candidates
from skmm.selection.selectors.coordinates import METRICS, Measured, Metric, dimension
from skmm.selection.selectors.seams import choose_in_cells
from skmm.selection.selectors.stratified import cells_of, is_large, of_cells

CRITERIA = ("auto", "balanced", "combined", "diagonal", "fourth", "full", "v-optimal")

_COVERED = 64
"""Directions that ``combined`` covers at most: those beyond carry little each."""

_WHOLE = ("balanced", "combined", "fourth", "full")
"""Criteria of all directions, which a few long rows would dominate: they take unit rows."""

_BY_CELLS = ("balanced", "fourth")
"""Criteria that compare every row with every other: of large pools, within compact cells."""

DESIGN_GAP = 1e-2
"""How close, relatively, the relaxed design that V-optimality starts from is to its optimum."""


@selector(
    "skmm",
    label="SkMM",
    cost="N r m + N m n; N² m where the pool has no low dimension",
    reference="Dong et al. (2024), arXiv 2407.06120",
    keeps=True,
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
    sigma: float = 1.0,
    weight: float | None = None,
) -> Choice:
    r"""Matches the pool's moments in the sketch by exchange descent (Sketchy Moment Matching).

    The paper's relaxed program does not choose: for every slack :math:`c_S \ge 1` uniform weights
    solve it, and a draw from them is a uniform draw (``method="skmm_paper"``). So this method
    keeps the paper's sketch and its aim, and descends on the subset itself, on a criterion:

    - ``v-optimal``: least mean variance over the leading directions. Its relaxation is
      informative: the descent starts from the relaxed optimum, which also proves how far the
      subset is from the best (``lower_bound``);
    - ``balanced``: coverage of the pool by a Gaussian kernel, and the fourth moment, each in units
      of what it can gain over a uniform draw; see `Balance`. At O(N² m), in 512 MB, up to
      11,585 rows; beyond, see below;
    - ``full``: :math:`\|\tilde\Sigma_S - \tilde\Sigma\|_F`, the whole second moment;
    - ``fourth``: the whole fourth moment :math:`\mathbb E\,x^{\otimes 4}`, and through it the
      second: for pools of many small groups that share directions, at O(N² m);
    - ``combined``: ``full``, and ``v-optimal`` over the leading directions that ``n`` samples can
      cover (at most 64), each in units of what uniform sampling attains;
    - ``diagonal``: the paper's one-sided objective, on the subset;
    - ``auto``: ``v-optimal`` where variance is all of the risk, ``balanced`` elsewhere. That is
      where k directions matter and the budget covers them (:math:`3k \le n`): up to an elbow of
      the spectrum, if what lies beyond could cost no more than the variance even if labels were
      half noise (a share of the trace of at most :math:`k/n`); or :math:`k = \bar r`, if half of
      the sketch's directions carry next to nothing (:math:`2\bar r \le m`). Where every direction
      carries something V-optimality picks outliers.

    A pool of more than 11,585 rows is cut into compact cells of 2,500 to 5,000 by k-means for
    ``balanced`` and ``fourth``, each of which has its share of n and is matched by itself, O(N m)
    in all. For ``balanced`` each cell is then mended beside the samples of the 16 around it, so
    that what one covers no other covers again; up to 23,170 rows twice, against the moment of the
    whole pool, O(N² m). The value told is the mean over the cells; it is below 0 where they serve
    each other better than each alone could. Of more than 300 rows for each sample, or 11,585, so
    many are drawn at random. The other criteria match the moments of the
    whole pool by 65,536 candidates drawn at random, or 4 n, and where that leaves more than 2²⁵
    swaps to try the descent ends when none of the most promising lowers it by 0.01/n. Rows out of
    core are read a few times by blocks, and those of a cell three times.

    ``full``, ``fourth``, ``combined`` and ``diagonal`` start from a random subset; pools with
    ``N n`` below 32,768 from several, up to 32, of which the best end counts. Rows of zeros carry
    nothing: none is chosen while others are left. Samples kept are part of the subset, and n counts
    them in all of this, but none of them is swapped.

    Args:
        pool: The pool.
        n: Budget.
        rng: Generator for the random starts.
        criterion: What exchange descent lowers, one of `CRITERIA`.
        metric: What rows are measured in: ``raw``; ``row`` (unit norm, so that no row weighs more
            than another); ``whitened`` (every leading direction counts the same). Unless told,
            ``row`` for ``balanced``, ``combined``, ``fourth`` and ``full``, and ``raw`` otherwise.
        mean: Whether ``full`` and ``combined`` match the first moment as well.
        slack: :math:`c_S` of ``diagonal``.
        sigma: Width of the kernel of ``balanced``; on unit rows 0.7 cost up to 2 points.
        weight: Of the fourth moment in ``balanced``, against coverage; unless told,
            :math:`10\,n/N`, with N the rows looked at. 0 is coverage alone.
    """
    check_choice(criterion, "criterion", CRITERIA)
    check_slack(slack)
    if metric is not None:
        check_choice(metric, "metric", METRICS)
    sigma = check_positive(sigma, "sigma", hint="1 suits rows of unit norm")
    real = isinstance(weight, numbers.Real) and not isinstance(weight, bool)
    if weight is not None and not (real and 0.0 <= weight < np.inf):
        raise ValueError(
            f"weight must be finite and not negative, got {weight!r}; 0 is coverage alone"
        )
    if not isinstance(mean, bool | np.bool_):
        raise ValueError(f"mean must be True or False, got {mean!r}")
    filled = np.flatnonzero(np.concatenate([block.any(axis=1) for _, block in scan(pool.sketched)]))
    if len(filled) == 0:  # there is nothing to match
        return Choice(rng.choice(pool.others, n, replace=False))
    if len(filled) < pool.N:
        knobs = {"criterion": criterion, "metric": metric, "mean": mean, "slack": slack}
        knobs |= {"sigma": sigma, "weight": weight}
        return _match_filled(pool, filled, n, rng=rng, **knobs)
    count = len(pool.kept) + n
    k = dimension(pool.spectrum, count)
    if criterion == "auto":
        criterion = "v-optimal" if k else "balanced"
    if metric is None:
        metric = "row" if criterion in _WHOLE else "raw"
    settings, measure = f"criterion {criterion}, metric {metric}", Metric(metric, pool.spectrum)
    if criterion in _BY_CELLS and is_large(pool.N):
        knobs = {"criterion": criterion, "sigma": sigma, "weight": weight, "kept": pool.kept}
        cells = cells_of(pool.sketched, n, metric=measure, rng=rng, **knobs)
        indices, value = choose_in_cells(pool.sketched, cells)
        return Choice(indices, value, settings=settings + of_cells(cells, pool.N))
    if criterion == "balanced":
        rows = Measured.of(pool.sketched, measure).rows
        balance = Balance.of(rows, n, kept=pool.kept, sigma=sigma, weight=weight)
        settings += f", weight of the fourth moment {balance.weight:.3g}"
        return Choice(*balance.descend(), settings=settings)
    candidates = Candidates.of(pool, n, measure, rng)
    measured = candidates.measured
    if criterion == "v-optimal":
        whitened = measured.whitened(k if metric == "raw" and k else measured.few(count))
        return _match_by_design(candidates, whitened, n, rng=rng, settings=settings)
    lowered = _criterion(criterion, measured, count, slack=slack, mean=mean)
    return candidates.choice(candidates.best_exchange(lowered, n, rng), settings)


def _match_filled(
    pool: Pool, filled: NDArray[np.intp], n: int, *, rng: np.random.Generator, **knobs: Any
) -> Choice:
    """Matches the rows ``filled`` alone; the others, all zero, come last, in the pool's order."""
    kept, zeros = np.flatnonzero(np.isin(filled, pool.kept)), np.setdiff1d(pool.others, filled)
    some = min(n, len(filled) - len(kept))
    if some == 0:
        return Choice(zeros[:n])
    # Of a large pool no copy is made.
    large = is_large(pool.N)
    rows = StoredRows.over(pool.sketched).part(filled) if large else pool.sketched[filled]
    part = Pool(rows, pool.m, pool.sketch, pool.rng, kept)
    chosen = match(part, some, rng=rng, **knobs)
    return replace(chosen, indices=np.concatenate([filled[chosen.indices], zeros[: n - some]]))


def _match_by_design(
    candidates: Candidates,
    whitened: NDArray[np.float64],
    n: int,
    *,
    rng: np.random.Generator,
    settings: str,
) -> Choice:
    """Descends on V-optimality from the relaxed design, whose bound is the yardstick."""
    N, k = whitened.shape
    count, others = len(candidates.kept) + n, candidates.others
    criterion = VOptimality(whitened, count)
    if count < k:  # equal directions, of which none comes first: no design spans them all
        return candidates.choice(candidates.best_exchange(criterion, n, rng), settings)
    design = bound_v_optimality(whitened, count, tolerance=DESIGN_GAP)
    start = np.concatenate([candidates.kept, others[round_to_top(design.s[others], n)]])
    best = candidates.descend(criterion, start)
    chosen = np.zeros(N)
    chosen[best.indices] = 1.0 / count
    best = replace(best, value=v_optimality(whitened, chosen))
    return candidates.choice(best, settings, bound=design.lower_bound)


def _criterion(name: str, measured: Measured, n: int, *, slack: float, mean: bool) -> Criterion:
    if name == "diagonal":
        spectrum = measured.spectrum
        shares = moment_shares(measured.rows, spectrum, spectrum.leading())
        return DiagonalShortfall(shares, n, slack=slack)
    if name == "fourth":
        return FourthMoment(measured.rows, n)
    moment = SecondMoment(measured.rows, n, mean=mean, target=measured.target)
    if name == "full":
        return moment
    whitened = measured.whitened(min(measured.few(n), _COVERED))
    # A uniform sample has mean variance 1 / (1 - k/n) over k whitened directions.
    share = max(0.0, 1.0 - whitened.shape[1] / n)
    return Combination([(1.0, moment), (share, VOptimality(whitened, n))])

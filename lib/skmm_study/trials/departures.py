"""Subsets that the published code's departures choose, each alone beside the paper's algorithm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skmm.matching.program import match_moments, moment_shares
from skmm.numerics.inputs import check_budget, check_rows
from skmm.numerics.streams import as_generator
from skmm.rounding.sampling import round_by_sampling, round_to_top
from skmm.selection.view import PoolView
from skmm_study.theory.departures import (
    departed_program,
    permuted,
    softmax_weights,
    total_variation,
)
from skmm_study.theory.distortion import sketch_afresh
from skmm_study.trials.subsets import Subset, WeightedSubset

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

STATED = 1 / 0.9
"""The slack of the paper's algorithm."""
CODED = 0.9
r"""The slack that the code's bound :math:`\gamma \ge 1/c` with c = 0.9 amounts to."""

DEPARTURES = {
    "uniform": "nothing is solved: a uniform draw",
    "skmm_paper": "no departure",
    "softmax": "weights pass through a softmax before the draw",
    "with replacement": "the draw is with replacement; what comes twice counts twice in training",
    "top n": "the n largest weights instead of a draw",
    "no cap": "projection on the simplex without the cap 1/n",
    "squared weights": "weights enter the moment squared",
    "slack below 1": "the bound on γ is above the pool's mean: c_S = 0.9 instead of 1/0.9",
    "as coded": "squared weights, no cap and c_S = 0.9 at once, then the draw",
    "as coded, softmax": "the same, with the softmax before the draw",
    "another budget's": "weights of the smallest budget serve every other",
    "a map a batch": "a sketch drawn anew for every batch of rows",
    "permuted rows": "the subset's indices point into a permutation of the pool",
}
"""Row -> what departs from the paper's algorithm, everything else as it says."""


def departed_subsets(
    rows: NDArray[np.floating],
    budgets: Iterable[int],
    *,
    m: int,
    batch: int,
    seeds: Iterable[int],
    steps: int = 200,
) -> tuple[dict[tuple[str, int, int], Subset], pd.DataFrame]:
    r"""Selects with every one of `DEPARTURES`, and measures what its weights and subset are.

    Under one seed all have the same sketch (but for "a map a batch"), the same random start and the
    same clocks in the draw, so that two laws that are close draw subsets that are close.

    Args:
        rows: pool, shape ``[N, r]``.
        budgets: sizes n; the first is the smallest.
        m: sketch size.
        batch: rows that share a map in "a map a batch".
        seeds: of sketch, start and draw.
        steps: of the departed programs, at most.

    Returns:
        ``(row, n, seed)`` -> subset; and one row each with ``to_uniform`` (total variation between
        the weights drawn from and uniform ones), ``largest`` (the largest of them, in units of the
        cap ``1/n``), ``effective`` (:math:`1/\sum_i s_i^2` of n), ``kept`` (share of the random
        start in the subset), ``differs`` (share of the subset that a uniform draw by the same
        clocks has not) and ``distinct`` (share of n).

    Raises:
        ValueError: a budget outside ``1..N``, or the first is not the smallest.
    """
    import pandas as pd

    rows = check_rows(rows, "rows")
    budgets = [check_budget(n, len(rows)) for n in budgets]
    if budgets[0] != min(budgets):
        raise ValueError(f"budgets must begin with the smallest, got {budgets}; sort them")
    subsets, found = {}, []
    for seed in seeds:
        view = PoolView.of(rows, m=m, rng=seed)
        apart = sketch_afresh(rows, m, batches=np.arange(len(rows)) // batch, rng=seed)
        kept = None
        for n in budgets:
            drawn = dict(_subsets_of(view, PoolView.of(apart, rng=seed), n, seed, steps, kept))
            kept = drawn["skmm_paper"][1] if kept is None else kept
            chance, start = drawn["uniform"][0], drawn["squared weights"][2]
            for name, (subset, s, _) in drawn.items():
                subsets[name, n, seed] = subset
                row = {"method": name, "n": n, "seed": seed, **_measures(subset, s, start, chance)}
                found.append(row)
    return subsets, pd.DataFrame(found)


def _subsets_of(
    view: PoolView, apart: PoolView, n: int, seed: int, steps: int, other: Array | None
) -> Iterator[tuple[str, tuple[Subset, Array, Array]]]:
    """Yields for each row its subset, the weights it was drawn from and their random start."""
    shares = moment_shares(view.rows.astype(np.float64, copy=False), view.spectrum)
    N = len(shares)
    stated = match_moments(shares, n, rng=seed, slack=STATED)
    start = stated.start
    knobs = {"start": start, "steps": steps}
    coded = departed_program(shares, n, slack=CODED, squared=True, capped=False, **knobs).s
    batched = moment_shares(apart.rows.astype(np.float64, copy=False), apart.spectrum)
    weights = {
        "uniform": np.full(N, 1.0 / N),
        "skmm_paper": stated.s,
        "softmax": softmax_weights(stated.s),
        "no cap": departed_program(shares, n, slack=STATED, capped=False, **knobs).s,
        "squared weights": departed_program(shares, n, slack=STATED, squared=True, **knobs).s,
        "slack below 1": match_moments(shares, n, rng=seed, slack=CODED).s,
        "as coded": coded,
        "as coded, softmax": softmax_weights(coded),
        "a map a batch": match_moments(batched, n, rng=seed, slack=STATED).s,
    }
    if other is not None:
        weights["another budget's"] = other
    for name, s in weights.items():
        yield name, (round_by_sampling(s, n, rng=_clocks(seed)), s, start)
    yield "top n", (round_to_top(stated.s, n), stated.s, start)
    repeated = _clocks(seed).choice(N, n, p=stated.s / stated.s.sum())
    indices, counts = np.unique(repeated, return_counts=True)
    yield "with replacement", (WeightedSubset(indices, counts / n), stated.s, start)
    drawn = round_by_sampling(stated.s, n, rng=_clocks(seed))
    moved = permuted(drawn, N, rng=as_generator(seed, "permuted"))
    yield "permuted rows", (moved, stated.s, start)


def _clocks(seed: int) -> np.random.Generator:
    return as_generator(seed, "departures")


def _measures(subset: Subset, s: Array, start: Array, chance: Subset) -> dict[str, float]:
    N, S = len(s), np.asarray(subset)
    n = np.count_nonzero(start)
    return {
        "to_uniform": total_variation(s, np.full(N, 1.0 / N)),
        "largest": float(n * s.max()),
        "effective": float(1 / (n * np.sum(s**2))),
        "kept": float(np.mean(start[S] > 0)),
        "differs": 1 - len(np.intersect1d(S, chance)) / len(S),
        "distinct": len(S) / n,
    }

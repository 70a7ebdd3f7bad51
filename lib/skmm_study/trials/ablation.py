"""What every step of the default selection is worth: each replaced by its input, pool by pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Combination, Criterion, SecondMoment, VOptimality
from skmm.matching.design import bound_v_optimality, v_optimality
from skmm.numerics.streams import as_generator
from skmm.rounding.exchange import exchange
from skmm.rounding.sampling import round_to_top
from skmm.selection.select import select
from skmm.selection.selectors.moments import DESIGN_GAP
from skmm.spectrum import Spectrum
from skmm_study.pools.synthetic import gaussian_mixture

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Served = Callable[[Indices], float]

N_MIXED, N_LOW = 600, 1500
"""Rows of the pools."""

_LEAST = 1e-9
"""Less than this is rounding."""


def mixed_pool(trial: int) -> Array:
    """Features of no low dimension: clusters of unequal size and length above a tail."""
    knobs = {"norm_ratio": 4.0 + trial, "tail_energy": 0.05 + 0.03 * trial}
    return gaussian_mixture(N_MIXED, 64, 6 + trial, rng=trial, **knobs).features


def low_pool(trial: int, K: int) -> tuple[Array, int]:
    """Features on K directions of five laws in turn, and a budget; a sketch sees all of them."""
    rng = as_generator(trial, "ablation directions")
    laws = [
        lambda: rng.standard_normal((N_LOW, K)),
        lambda: rng.standard_t(4, (N_LOW, K)),
        lambda: np.abs(rng.standard_normal((N_LOW, K))) + 0.3,
        lambda: rng.standard_normal((N_LOW, K)) * np.exp(0.5 * rng.standard_normal((N_LOW, 1))),
        lambda: rng.uniform(-1, 1, (N_LOW, K)) ** 3,
    ]
    factors = laws[trial % 5]() * np.geomspace(1, 0.3, K)
    noise = 1e-4 * rng.standard_normal((N_LOW, 128))
    return factors @ rng.standard_normal((K, 128)) + noise, 3 * K + 10


def normal_pool(trial: int, N: int, r: int) -> Array:
    """Features without any structure: standard normal."""
    return as_generator(trial, "ablation normal").standard_normal((N, r))


def random_starts(trial: int, N: int, n: int, count: int) -> list[Indices]:
    """Uniform subsets to start exchange from, in place of those that `select` starts from."""
    rng = as_generator(trial, "ablation start")
    return [rng.choice(N, n, replace=False) for _ in range(count)]


def unit(rows: Array) -> Array:
    """Returns the rows divided by their norms."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def combined(rows: Array, n: int) -> tuple[Combination, SecondMoment, VOptimality]:
    """The combined criterion as its definition states it, on unit rows; and its two terms."""
    rows = unit(rows)
    spectrum = Spectrum.of(rows)
    k = max(1, min(spectrum.intrinsic_dimension, n // 3, 64))
    terms = SecondMoment(rows, n), VOptimality(spectrum.whiten(rows, k), n)
    return Combination([(1.0, terms[0]), (1 - k / n, terms[1])]), *terms


def value(criterion: Criterion, indices: Indices) -> float:
    """Returns the criterion of a subset, afresh."""
    criterion.start(indices)
    return float(criterion.value())


def ablation_trials(pools: Iterable[int] = range(10)) -> pd.DataFrame:
    r"""Replaces every step of the default selection by its input, on a pool a trial.

    A step counts where the subset differs without it and what the step is there for is worse.

    - ``combined`` (mixtures of no low dimension): without exchange a random subset; without unit
      rows, raw ones; without one of its terms, the other alone, judged by the term left out.
    - ``v-optimal`` (20, 24 ... 56 directions): without exchange a random subset; without the
      relaxed design one random start, all that `select` makes at this size where it has no design
      (`start_trials` makes three); without the choice of the criterion, ``combined``.
    - ``full``: rows of zeros, every second one, not left out, judged by how many are chosen; and
      one random start in place of 32 on pools of 100.

    Random subsets are drawn from a stream of their own, not the one that `select` starts from.

    Args:
        pools: Numbers of the pools.

    Returns:
        One row a step and pool: ``criterion``, ``step``, ``pool``, ``value`` (what the step
        serves, at the selection; lower is better), ``without``, ``differ`` and ``counts``.
    """
    import pandas as pd

    trials = []
    for pool in pools:
        for ablate in (_of_combined, _of_v_optimality, _of_zero_rows, _of_several_starts):
            for criterion, step, served, chosen, without in ablate(pool):
                values = served(chosen), served(without)
                differ = set(chosen.tolist()) != set(without.tolist())
                trial = {"criterion": criterion, "step": step, "pool": pool}
                trial |= {"value": values[0], "without": values[1], "differ": differ}
                trials.append(trial | {"counts": differ and values[1] > values[0] + _LEAST})
    return pd.DataFrame(trials)


Ablated = Iterator[tuple[str, str, Served, Indices, Indices]]


def _of_combined(pool: int) -> Ablated:
    rows, n = mixed_pool(pool), 40
    whole, moment, variance = combined(rows, n)
    chosen = select(rows, n, rng=pool).indices
    [start] = random_starts(pool, N_MIXED, n, 1)
    raw = select(rows, n, rng=pool, criterion="combined", metric="raw").indices
    full = select(rows, n, rng=pool, criterion="full").indices
    for step, served, without in (
        ("exchange", whole, start),
        ("unit rows", whole, raw),
        ("second moment", moment, exchange(variance, start).indices),
        ("variance", variance, full),
    ):
        yield "combined", step, partial(value, served), chosen, without


def _of_v_optimality(pool: int) -> Ablated:
    rows, n = low_pool(pool, 20 + 4 * pool)
    whitened = _whitened(rows)
    chosen = select(rows, n, rng=pool).indices
    [start] = random_starts(pool, N_LOW, n, 1)

    def served(S: Indices) -> float:
        return v_optimality(whitened, np.bincount(S, minlength=N_LOW) / n)

    for step, without in (
        ("exchange", start),
        ("relaxed design", exchange(VOptimality(whitened, n), start).indices),
        ("choice of the criterion", select(rows, n, rng=pool, criterion="combined").indices),
    ):
        yield "v-optimal", step, served, chosen, without


def _of_zero_rows(pool: int) -> Ablated:
    rows, n = normal_pool(pool, 200, 40), 20
    rows[::2] = 0.0
    chosen = select(rows, n, rng=pool, criterion="full").indices
    rows[1::2] = unit(rows[1::2])
    [start] = random_starts(pool, 200, n, 1)
    without = exchange(SecondMoment(rows, n), start).indices
    yield "full", "rows of zeros left out", lambda S: float(np.sum(S % 2 == 0)), chosen, without


def _of_several_starts(pool: int) -> Ablated:
    rows, n = unit(normal_pool(pool, 100, 10)), 20
    moment = SecondMoment(rows, n)
    chosen = select(rows, n, rng=pool, criterion="full").indices
    [start] = random_starts(pool, 100, n, 1)
    without = exchange(moment, start).indices
    yield "full", "several starts", partial(value, moment), chosen, without


def _whitened(rows: Array) -> Array:
    spectrum = Spectrum.of(rows)
    return spectrum.whiten(rows, spectrum.intrinsic_dimension)


def start_trials(dimensions: Iterable[int]) -> pd.DataFrame:
    """Descends on V-optimality from the relaxed design, and from three random subsets.

    Args:
        dimensions: Directions K of each pool; the pools' laws are five, in turn.

    Returns:
        One row a descent: ``pool``, ``dimension``, ``n``, ``start`` (``design`` or ``random``),
        ``draw``, ``swaps``, ``value``, and ``ratio``, the value over the proven lower bound.
    """
    import pandas as pd

    trials = []
    for pool, K in enumerate(dimensions):
        rows, n = low_pool(pool, K)
        whitened = _whitened(rows)
        design = bound_v_optimality(whitened, n, tolerance=DESIGN_GAP)
        starts = [("design", round_to_top(design.s, n))]
        starts += [("random", start) for start in random_starts(pool, N_LOW, n, 3)]
        for draw, (start, indices) in enumerate(starts):
            end = exchange(VOptimality(whitened, n), indices)
            weights = np.bincount(end.indices, minlength=N_LOW) / n
            found = v_optimality(whitened, weights)
            trial = {"pool": pool, "dimension": K, "n": n, "start": start, "draw": draw}
            trial |= {"swaps": end.swaps, "value": found, "ratio": found / design.lower_bound}
            trials.append(trial)
    return pd.DataFrame(trials)

"""What every step of the default selection is worth: each replaced by its input, pool by pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skmm.criteria import Coverage, Criterion, FourthMoment, SecondMoment, VOptimality
from skmm.matching.design import bound_v_optimality, v_optimality
from skmm.numerics.streams import as_generator
from skmm.rounding.exchange import exchange
from skmm.rounding.sampling import round_to_top
from skmm.selection.select import select
from skmm.selection.selectors.balance import Balance
from skmm.selection.selectors.moments import DESIGN_GAP
from skmm.spectrum import Spectrum
from skmm_study.pools.synthetic import Mixture, gaussian_mixture

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

N_GROUPED, N_LOW = 600, 1500
"""Rows of the pools."""

_LEAST = 1e-9
"""Less than this is rounding."""


def grouped_pool(trial: int) -> Array:
    """Features of no low dimension: groups of unequal size in a slowly decaying spectrum.

    Every second pool has rows of a Student t with 4 degrees of freedom in place of a Gaussian.
    """
    rng = as_generator(trial, "ablation groups")
    shares = 1.0 / np.arange(1, 11 + 2 * trial)
    groups = rng.choice(len(shares), N_GROUPED, p=shares / shares.sum())
    rows = rng.standard_normal((len(shares), 64))[groups] + rng.standard_normal((N_GROUPED, 64))
    if trial % 2:
        rows *= np.sqrt(2 / rng.chisquare(4, (N_GROUPED, 1)))
    return rows * np.arange(1, 65) ** -(0.25 + 0.05 * trial)


def tailed_pool(trial: int) -> tuple[Mixture, int]:
    """A mixture whose tail of 0.3 to 1 % holds more than 1/N of the energy, and a budget."""
    tail = 0.003 * (10 / 3) ** (trial / 9)
    return gaussian_mixture(N_GROUPED, 128, 8, rng=trial, tail_energy=tail), 40 + 8 * trial


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


def value(criterion: Criterion, indices: Indices) -> float:
    """Returns the criterion of a subset, afresh."""
    criterion.start(indices)
    return float(criterion.value())


def variance(whitened: Array, indices: Indices) -> float:
    """Returns the mean variance of a subset over whitened directions, in units of the pool's."""
    weights = np.bincount(indices, minlength=len(whitened)) / len(indices)
    return v_optimality(whitened, weights)


def ablation_trials(pools: Iterable[int] = range(10)) -> pd.DataFrame:
    r"""Replaces every step of the default selection by its input, on a pool a trial.

    A step counts where the subset differs without it and what the step is there for is worse.

    - ``balanced`` (groups in slowly decaying spectra, every second pool of heavy tails): without
      exchange greedy coverage; without the greedy start a random one, judged by swaps, for it ends
      level; without unit rows, raw ones; without coverage, or the fourth moment, the other alone,
      judged by what is left out. Rows of zeros, every second one, not left out, judged by how many
      are chosen.
    - ``v-optimal`` (20, 24 ... 56 directions): without exchange a random subset; without the
      relaxed design one random start, all that `select` makes at this size where it has no design
      (`start_trials` makes three); without the choice of the criterion, ``balanced``. And where a
      tail makes :math:`\bar r` count noise: without the elbow ``balanced``, judged by the mean
      variance over the directions of the clusters.
    - ``full``: one random start in place of 32 on pools of 100.

    Random subsets are drawn from a stream of their own, not the one that `select` starts from.

    Args:
        pools: Numbers of the pools.

    Returns:
        One row a step and pool: ``criterion``, ``step``, ``pool``, ``value`` (what the step
        serves, at the selection; lower is better), ``without``, ``differ`` and ``counts``.
    """
    import pandas as pd

    steps = (_of_balance, _of_zero_rows, _of_v_optimality, _of_elbow, _of_several_starts)
    trials = []
    for pool in pools:
        for ablate in steps:
            for criterion, step, values, chosen, without in ablate(pool):
                differ = set(chosen.tolist()) != set(without.tolist())
                trial = {"criterion": criterion, "step": step, "pool": pool}
                trial |= {"value": values[0], "without": values[1], "differ": differ}
                trials.append(trial | {"counts": differ and values[1] > values[0] + _LEAST})
    return pd.DataFrame(trials)


Ablated = Iterator[tuple[str, str, tuple[float, float], Indices, Indices]]


def _of_balance(pool: int) -> Ablated:
    rows, n = grouped_pool(pool), 40
    balance = Balance.of(unit(rows), n, sigma=1.0, weight=None)
    whole, coverage, moment = (
        balance.criterion,
        Coverage(unit(rows), n),
        FourthMoment(unit(rows), n),
    )
    chosen = select(rows, n, rng=pool).indices
    [start] = random_starts(pool, N_GROUPED, n, 1)
    for step, served, without in (
        ("exchange", whole, balance.start),
        ("unit rows", whole, select(rows, n, rng=pool, criterion="balanced", metric="raw").indices),
        ("coverage", coverage, exchange(moment, balance.start).indices),
        (
            "fourth moment",
            moment,
            select(rows, n, rng=pool, criterion="balanced", weight=0).indices,
        ),
    ):
        yield "balanced", step, (value(served, chosen), value(served, without)), chosen, without
    greedy, random = exchange(whole, balance.start), exchange(whole, start)
    swaps = float(greedy.swaps), float(random.swaps)
    yield "balanced", "greedy start", swaps, greedy.indices, random.indices


def _of_v_optimality(pool: int) -> Ablated:
    K = 20 + 4 * pool
    rows, n = low_pool(pool, K)
    whitened = _whitened(rows, K)
    chosen = select(rows, n, rng=pool).indices
    [start] = random_starts(pool, N_LOW, n, 1)
    for step, without in (
        ("exchange", start),
        ("relaxed design", exchange(VOptimality(whitened, n), start).indices),
        ("choice of the criterion", select(rows, n, rng=pool, criterion="balanced").indices),
    ):
        values = variance(whitened, chosen), variance(whitened, without)
        yield "v-optimal", step, values, chosen, without


def _of_elbow(pool: int) -> Ablated:
    mixture, n = tailed_pool(pool)
    whitened = _whitened(mixture.features @ mixture.centres.T, len(mixture.centres))
    chosen = select(mixture.features, n, rng=pool).indices
    without = select(mixture.features, n, rng=pool, criterion="balanced").indices
    values = variance(whitened, chosen), variance(whitened, without)
    yield "v-optimal", "elbow", values, chosen, without


def _of_zero_rows(pool: int) -> Ablated:
    rows, n = normal_pool(pool, 200, 40), 20
    rows[::2] = 0.0
    chosen = select(rows, n, rng=pool).indices
    rows[1::2] = unit(rows[1::2])
    without, _ = Balance.of(rows, n, sigma=1.0, weight=None).descend()
    zeros = float(np.sum(chosen % 2 == 0)), float(np.sum(without % 2 == 0))
    yield "balanced", "rows of zeros left out", zeros, chosen, without


def _of_several_starts(pool: int) -> Ablated:
    rows, n = unit(normal_pool(pool, 100, 10)), 20
    moment = SecondMoment(rows, n)
    chosen = select(rows, n, rng=pool, criterion="full").indices
    [start] = random_starts(pool, 100, n, 1)
    without = exchange(moment, start).indices
    values = value(moment, chosen), value(moment, without)
    yield "full", "several starts", values, chosen, without


def _whitened(rows: Array, K: int) -> Array:
    return Spectrum.of(rows).whiten(rows, K)


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
        whitened = _whitened(rows, K)
        design = bound_v_optimality(whitened, n, tolerance=DESIGN_GAP)
        starts = [("design", round_to_top(design.s, n))]
        starts += [("random", start) for start in random_starts(pool, N_LOW, n, 3)]
        for draw, (start, indices) in enumerate(starts):
            end = exchange(VOptimality(whitened, n), indices)
            found = variance(whitened, end.indices)
            trial = {"pool": pool, "dimension": K, "n": n, "start": start, "draw": draw}
            trial |= {"swaps": end.swaps, "value": found, "ratio": found / design.lower_bound}
            trials.append(trial)
    return pd.DataFrame(trials)

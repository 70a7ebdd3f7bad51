"""Every step of the default selection counts: without it, what it serves is worse.

Each step is replaced by its input on ten pools; the subset must differ, and what the step is there
for must be worse, on at least eight. A step that fails this is no step and goes: the relaxed
moment-matching program went, for no subset changed.
"""

import numpy as np
import pytest

from skmm import SecondMoment, Spectrum, as_generator, exchange, select
from skmm.selection.selectors.balance import Balance
from skmm_study.trials.ablation import (
    ablation_trials,
    grouped_pool,
    low_pool,
    random_starts,
    start_trials,
    tailed_pool,
    unit,
)

POOLS = range(10)
BALANCED = ("exchange", "greedy start", "unit rows", "coverage", "fourth moment")
V_OPTIMAL = ("exchange", "relaxed design", "choice of the criterion", "elbow")
STEPS = [
    *(("balanced", step) for step in (*BALANCED, "rows of zeros left out")),
    *(("v-optimal", step) for step in V_OPTIMAL),
    ("full", "several starts"),
]


@pytest.fixture(scope="module")
def ablated():
    return ablation_trials(POOLS).set_index(["criterion", "step", "pool"]).sort_index()


def test_all_steps_are_tried_on_all_pools(ablated):
    assert set(ablated.index) == {(*step, pool) for step in STEPS for pool in POOLS}


@pytest.mark.parametrize("step", STEPS, ids=" ".join)
def test_step_counts(ablated, step):
    assert ablated.loc[step, "counts"].sum() >= 8


def test_counting_asks_for_another_subset_that_is_worse(ablated):
    worse = ablated["without"] > ablated["value"] + 1e-9
    assert ablated["counts"].equals(ablated["differ"] & worse)


@pytest.mark.parametrize("pool", POOLS)
def test_balance_is_chosen_where_the_pool_has_no_low_dimension(pool):
    rows, n = grouped_pool(pool), 40
    chosen = select(rows, n, rng=pool)
    assert chosen.settings.startswith("criterion balanced, metric row, weight of the fourth moment")
    spectrum = Spectrum.of(rows)
    assert spectrum.elbow == 0
    assert 2 * spectrum.intrinsic_dimension > len(spectrum.eigenvalues)


def test_greedy_and_random_starts_of_balance_end_level():
    """Within 1 % of each other, so that the greedy start is judged by swaps: it takes fewer."""
    for pool in POOLS:
        balance = Balance.of(unit(grouped_pool(pool)), 40, sigma=1.0, weight=None)
        [start] = random_starts(pool, 600, 40, 1)
        ends = [exchange(balance.criterion, S) for S in (balance.start, start)]
        assert abs(ends[0].value / ends[1].value - 1) < 0.01
        assert ends[0].swaps < ends[1].swaps


@pytest.mark.parametrize("pool", POOLS)
def test_the_elbow_counts_clusters_where_the_intrinsic_dimension_counts_noise(pool):
    """So that without it the default takes ``balanced``: the ablated step is the one there is."""
    mixture, n = tailed_pool(pool)
    spectrum, K = Spectrum.of(mixture.features), len(mixture.centres)
    assert spectrum.elbow == K
    r_bar = spectrum.intrinsic_dimension
    assert 2 * r_bar > len(spectrum.eigenvalues) or 3 * r_bar > n
    assert "v-optimal" in select(mixture.features, n, rng=pool).settings


@pytest.mark.parametrize("pool", POOLS)
def test_v_optimality_is_chosen_where_the_pool_has_low_dimension(ablated, pool):
    rows, n = low_pool(pool, 20 + 4 * pool)
    selection = select(rows, n, rng=pool)
    assert selection.settings == "criterion v-optimal, metric raw"
    assert selection.lower_bound <= selection.objective
    served = ablated.loc[("v-optimal", "exchange", pool), "value"]
    assert selection.objective == pytest.approx(served)


def test_no_row_of_zeros_is_chosen(ablated):
    assert (ablated.loc[("balanced", "rows of zeros left out"), "value"] == 0).all()


@pytest.mark.parametrize("pool", POOLS)
def test_the_best_of_all_starts_is_taken(pool):
    rows, n = unit(np.random.default_rng(pool).standard_normal((100, 10))), 20
    draws = as_generator(pool, "select").spawn(2)[1]
    starts = [draws.choice(100, n, replace=False) for _ in range(32)]
    ends = [exchange(SecondMoment(rows, n), start) for start in starts]
    chosen = select(rows, n, rng=pool, criterion="full")
    assert chosen.objective == pytest.approx(min(end.value for end in ends), abs=1e-9)


def test_the_design_saves_swaps_at_every_dimension():
    """From it, exchange ends after fewer swaps than from any of the random subsets."""
    swaps = start_trials([6, 20]).pivot(index="dimension", columns="draw", values="swaps")
    assert (3 * swaps[0] < swaps[[1, 2, 3]].min(axis=1)).all()


def test_start_at_the_design_is_what_the_default_does():
    found = start_trials([20]).set_index("draw")
    rows, n = low_pool(0, 20)
    assert Spectrum.of(rows).intrinsic_dimension == 20
    selection = select(rows, n, rng=0)
    assert found.loc[0, "value"] == pytest.approx(selection.objective)
    assert found.loc[0, "ratio"] == pytest.approx(selection.objective / selection.lower_bound)
    assert (found["ratio"] >= 1).all()

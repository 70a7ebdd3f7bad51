r"""Departures of the published code from its paper: each does to the weights what the law says."""

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy import stats

from skmm.matching.program import match_moments, moment_shares
from skmm.matching.simplex import random_vertex
from skmm.spectrum import Spectrum
from skmm_study.theory.departures import (
    departed_program,
    expected_best,
    expected_distinct,
    one_draw_error,
    permuted,
    softmax_distance_bound,
    softmax_weights,
    total_variation,
)


@pytest.fixture
def shares(rng):
    rows = rng.standard_normal((120, 5)) * np.geomspace(1, 0.3, 5)
    return moment_shares(rows, Spectrum.of(rows))


@pytest.mark.parametrize("n", [1, 3, 40, 119])
def test_softmax_of_weights_is_uniform_up_to_the_bound(rng, n):
    """A vertex attains it but for a factor near 1 - n/N; the ratio of any two is below e^(1/n)."""
    N = 120
    uniform = np.full(N, 1 / N)
    inside = [rng.dirichlet(np.full(N, a)) for a in (0.01, 1.0)]
    capped = [np.minimum(s, 1 / n) for s in inside]
    mixed = [s + (1 - s.sum()) * (1 / n - s) / np.sum(1 / n - s) for s in capped]
    vertex = random_vertex(N, n, rng=rng)
    for s in [vertex, *mixed]:
        assert s.sum() == pytest.approx(1)
        assert s.max() <= 1 / n * (1 + 1e-12)
        p = softmax_weights(s)
        assert total_variation(p, uniform) <= softmax_distance_bound(N, n) * (1 + 1e-12)
        assert p.max() / p.min() <= np.exp(1 / n) * (1 + 1e-12)
    reached = total_variation(softmax_weights(vertex), uniform)
    q = np.expm1(1 / n)
    assert reached == pytest.approx(n * q / N * (1 - n / N) / (1 + n * q / N))
    assert softmax_distance_bound(N, n) <= (np.e - 1) / N * (1 + 1e-12)


def test_total_variation_is_the_largest_difference_of_an_event():
    p, q = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.1, 0.3, 0.4, 0.2])
    events = [list(e) for size in range(5) for e in combinations(range(4), size)]
    assert total_variation(p, q) == pytest.approx(max(p[e].sum() - q[e].sum() for e in events))


@pytest.mark.parametrize("slack", [0.5, 0.7])
def test_without_a_departure_it_is_the_papers_program(shares, slack):
    """Where it has no solution of objective 0, the exact solver ends as low."""
    exact = match_moments(shares, 30, rng=0, slack=slack)
    found = departed_program(shares, 30, start=exact.start, slack=slack, steps=5000)
    assert exact.objective > 1e-3 or slack > 0.5
    assert found.objective == pytest.approx(exact.objective, rel=1e-3, abs=1e-6)
    assert found.s.max() <= 1 / 30 * (1 + 1e-12)
    assert found.s.sum() == pytest.approx(1)


def test_squared_weights_never_leave_the_start(shares, rng):
    """A weight of zero has no slope: whoever is not in the random start stays out.

    With the cap the others cannot move either, for all are at it; without, they pile up on a few.
    """
    start = random_vertex(120, 20, rng=rng)
    knobs = {"start": start, "squared": True, "slack": 0.9}
    np.testing.assert_allclose(departed_program(shares, 20, **knobs).s, start, atol=1e-15)
    free = departed_program(shares, 20, capped=False, **knobs)
    assert not free.s[start == 0].any()
    assert free.s.sum() == pytest.approx(1)
    assert 1 / np.sum(free.s**2) < 10


def test_squared_weights_reach_a_share_of_what_is_asked(shares, rng):
    """With the cap they cover at most max leverage / n of the pool's moment, uniform ones 1/N."""
    N, k = shares.shape
    start = random_vertex(N, 20, rng=rng)
    found = departed_program(shares, 20, start=start, squared=True)
    covered = shares.T @ found.s**2
    assert covered.sum() <= shares.sum(axis=1).max() / 20 * (1 + 1e-12)
    assert found.objective > 0
    np.testing.assert_allclose(shares.T @ np.full(N, 1 / N) ** 2, 1 / N)
    uniform = departed_program(shares, 20, start=np.full(N, 1 / N), squared=True, steps=0)
    assert uniform.objective == pytest.approx(0.5 * k * (0.9 - 1 / N) ** 2)


def test_squared_weights_of_average_rows_never_reach_a_slack_below_one():
    """Rows of equal leverage k: one row with all of the weight covers k in total, not k/c_S."""
    rows = np.kron(np.eye(4), np.ones((5, 1)))
    equal = moment_shares(rows, Spectrum.of(rows))
    np.testing.assert_allclose(equal.sum(axis=1), 4)
    for start in (np.full(20, 1 / 20), np.eye(20)[0]):
        found = departed_program(equal, 5, start=start, squared=True, capped=False, slack=0.9)
        assert found.objective > 0.5 * 4 * (1 / 0.9 - 1) ** 2


def test_without_the_cap_weights_exceed_it(rng):
    """A single row that a direction rests on takes more than its 1/n; with the cap it cannot."""
    rows = np.r_[np.eye(3)[[0] * 40 + [1] * 40], 3 * np.eye(3)[[2]]]
    shares = moment_shares(rows, Spectrum.of(rows))
    start = np.r_[np.full(80, 1 / 80), 0.0]
    free = departed_program(shares, 80, start=start, slack=0.5, capped=False)
    held = departed_program(shares, 80, start=start, slack=0.5)
    assert free.s.max() > 1.5 / 80
    assert held.s.max() <= 1 / 80 * (1 + 1e-12)
    assert free.objective < held.objective


def test_objective_never_rises_and_no_step_changes_nothing(shares, rng):
    start = random_vertex(120, 20, rng=rng)
    values = [
        departed_program(shares, 20, start=start, capped=False, squared=True, steps=steps).objective
        for steps in (0, 1, 3, 10, 100)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0]
    same = departed_program(shares, 20, start=start, steps=0)
    np.testing.assert_array_equal(same.s, start)


@pytest.mark.parametrize(
    ("knobs", "named"), [({"slack": 0.0}, "slack"), ({"steps": -1}, "steps"), ({"n": 121}, "n")]
)
def test_knobs_out_of_range_are_named(shares, knobs, named):
    start = np.full(120, 1 / 120)
    with pytest.raises(ValueError, match=named):
        departed_program(shares, **{"n": 20, "start": start} | knobs)


def test_distinct_draws_are_counted_exactly():
    """Over all 4^3 sequences of three draws from four."""
    every = np.stack(np.meshgrid(*[range(4)] * 3), -1).reshape(-1, 3)
    assert expected_distinct(4, 3) == pytest.approx(np.mean([len(set(row)) for row in every]))
    assert expected_distinct(1, 1) == 1


def test_a_permutation_makes_any_subset_uniform(rng):
    """Over all permutations every subset comes equally often, whichever was asked for."""
    counts = {}
    for order in permutations(range(5)):
        hit = frozenset(np.array(order)[[1, 3]].tolist())
        counts[hit] = counts.get(hit, 0) + 1
    assert len(counts) == 10
    assert set(counts.values()) == {12}
    moved = permuted([1, 3], 5, rng=np.random.default_rng(4))
    expected = np.random.default_rng(4).permutation(5)[[1, 3]]
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize("repeats", [2, 5, 20])
def test_one_draw_is_found_different_as_often_as_said(rng, repeats):
    """By simulation; 20,000 trials have a standard error below 0.0036."""
    v, u = rng.standard_normal((20_000, 1)), rng.standard_normal((20_000, repeats))
    gaps = v - u
    half = stats.t.ppf(0.975, repeats - 1) * gaps.std(axis=1, ddof=1) / np.sqrt(repeats)
    missed = np.mean(np.abs(gaps.mean(axis=1)) > half)
    assert missed == pytest.approx(one_draw_error(repeats), abs=4 * 0.0036)
    assert one_draw_error(repeats) > 0.05


def test_best_of_some_is_the_mean_of_the_largest(rng):
    assert expected_best(1) == pytest.approx(0, abs=1e-9)
    assert expected_best(2) == pytest.approx(1 / np.sqrt(np.pi))
    largest = rng.standard_normal((20_000, 28)).max(axis=1)
    assert expected_best(28) == pytest.approx(largest.mean(), abs=4 * largest.std() / 141)

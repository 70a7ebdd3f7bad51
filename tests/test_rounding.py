"""Rounding: n distinct samples, successive sampling, descent to a subset no swap improves."""

import warnings
from collections import Counter
from functools import partial
from itertools import permutations

import numpy as np
import pytest

from skmm.criteria import Combination, Coverage, DiagonalShortfall, SecondMoment, VOptimality
from skmm.matching.program import moment_shares
from skmm.numerics.gaussian import GaussianKernel
from skmm.numerics.ties import TIE, least
from skmm.rounding.exchange import _best_swaps, exchange
from skmm.rounding.sampling import round_by_sampling, round_to_top
from skmm.spectrum import Spectrum

CRITERIA = {
    "shortfall": lambda G, n: DiagonalShortfall(moment_shares(G, Spectrum.of(G)), n),
    "shortfall-slack": lambda G, n: DiagonalShortfall(
        moment_shares(G, Spectrum.of(G)), n, slack=0.3
    ),
    "v-optimality": lambda G, n: VOptimality(Spectrum.of(G).whiten(G, G.shape[1]), n),
    "second-moment": SecondMoment,
    "both-moments": lambda G, n: SecondMoment(G, n, mean=True),
    "sum": lambda G, n: Combination(
        [(1.0, CRITERIA["v-optimality"](G, n)), (0.2, SecondMoment(G, n))]
    ),
}


def coverage_of_large(G, n, *, holds):
    """Coverage as it is where the kernel has no room, and the subset's rows perhaps neither."""
    criterion = Coverage.of(GaussianKernel(G, 1.5, hold=False), n)
    criterion._holds = holds
    return criterion


CRITERIA |= {
    "coverage": lambda G, n: Coverage(G, n, sigma=1.5),
    "coverage-of-rows": partial(coverage_of_large, holds=True),
    "coverage-in-blocks": partial(coverage_of_large, holds=False),
    "coverage-and-moment": lambda G, n: Combination(
        [(1.0, Coverage(G, n)), (0.3, SecondMoment(G, n))]
    ),
}

every_criterion = pytest.mark.parametrize("name", CRITERIA)


def pool(N=24, m=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, m)) * np.geomspace(1, 0.3, m) + 0.2


def value_of(criterion, indices):
    criterion.start(np.asarray(indices))
    return criterion.value()


def slow_swap_changes(build, indices, leaving, entering):
    """Every swap the long way: a new criterion, started at the subset after the swap."""
    before = value_of(build(), indices)
    changes = np.empty((len(leaving), len(entering)))
    for i, out in enumerate(leaving):
        for j, new in enumerate(entering):
            swapped = [new if k == out else k for k in indices]
            changes[i, j] = value_of(build(), swapped) - before
    return changes


@every_criterion
@pytest.mark.parametrize("n", [1, 3, 6, 20])
def test_swap_changes_are_exact(name, n):
    """The change told of each swap is the difference of the objective, computed anew."""
    G = pool()
    build = lambda: CRITERIA[name](G, n)  # noqa: E731
    indices = np.random.default_rng(n).choice(24, n, replace=False)
    outside = np.setdiff1d(np.arange(24), indices)
    criterion = build()
    criterion.start(indices)
    slow = slow_swap_changes(build, indices, indices, outside)
    # Relative to the value, in which the largest terms cancel.
    scale = max(criterion.value(), np.abs(slow).max())
    np.testing.assert_allclose(criterion.swap_changes(indices, outside), slow, atol=1e-9 * scale)


@every_criterion
def test_state_after_swaps_is_that_of_the_subset(name):
    """Swaps, one or many at a time, leave what a fresh start at the new subset would."""
    G, n = pool(), 6
    criterion, fresh = CRITERIA[name](G, n), CRITERIA[name](G, n)
    criterion.start(np.arange(n))
    criterion.swap(np.array([0, 3]), np.array([10, 23]))
    criterion.swap(np.array([10]), np.array([0]))
    fresh.start(np.array([0, 1, 2, 4, 5, 23]))
    np.testing.assert_array_equal(criterion.inside, fresh.inside)
    assert criterion.value() == pytest.approx(fresh.value(), rel=1e-9)
    leaving, entering = np.flatnonzero(fresh.inside), np.flatnonzero(~fresh.inside)
    np.testing.assert_allclose(
        criterion.swap_changes(leaving, entering),
        fresh.swap_changes(leaving, entering),
        atol=1e-9 * max(fresh.value(), 1),
    )


@every_criterion
def test_a_restricted_criterion_tells_the_same(name):
    """On a shortlist, changes are those of the whole pool, and swaps there leave it untouched."""
    G, n = pool(), 6
    criterion = CRITERIA[name](G, n)
    criterion.start(np.arange(n))
    before = criterion.value()
    rows = np.array([1, 4, 9, 15, 20])
    part = criterion.restrict(rows)
    np.testing.assert_array_equal(part.inside, [True, True, False, False, False])
    expected = criterion.swap_changes(rows[:2], rows[2:])
    np.testing.assert_allclose(
        part.swap_changes(np.arange(2), np.arange(2, 5)), expected, atol=1e-9
    )
    part.swap(np.array([0]), np.array([2]))
    assert criterion.value() == before
    criterion.swap(rows[[0]], rows[[2]])
    after = criterion.swap_changes(rows[[1, 2]], rows[[0, 3, 4]])
    np.testing.assert_allclose(
        part.swap_changes(np.array([1, 2]), np.array([0, 3, 4])), after, atol=1e-9 * max(before, 1)
    )


@every_criterion
@pytest.mark.parametrize("n", [1, 4, 12, 23])
@pytest.mark.parametrize("shortlist", [1, 3, 128])
def test_exchange_ends_where_no_swap_helps(name, n, shortlist):
    """As many distinct samples, no worse than the start, and brute force finds no better swap."""
    G = pool(seed=n)
    start = np.random.default_rng(n).choice(24, n, replace=False)
    build = lambda: CRITERIA[name](G, n)  # noqa: E731
    end = exchange(build(), start, shortlist=shortlist)
    indices = end.indices
    assert end.converged
    assert end.value == pytest.approx(value_of(build(), indices), rel=1e-9, abs=1e-12)
    assert len(set(indices.tolist())) == n
    assert value_of(build(), indices) <= value_of(build(), start) + 1e-12
    outside = np.setdiff1d(np.arange(24), indices)
    assert slow_swap_changes(build, indices, indices, outside).min() > -2e-9


@pytest.mark.parametrize("lines", [1, 3, 24])
@pytest.mark.parametrize("moved", [False, True])
@every_criterion
def test_best_swaps_are_those_of_the_whole_table(name, moved, lines, monkeypatch):
    """In whatever tiles all swaps are tried, and however scattered those are that stay out."""
    monkeypatch.setattr("skmm.rounding.exchange._TILE", (lines, 5))
    monkeypatch.setattr("skmm.numerics.blocks.BLOCK_ENTRIES", 24 * lines)
    criterion = CRITERIA[name](pool(), 9)
    indices = np.sort(np.random.default_rng(3).permutation(24)[:9])
    criterion.start(indices)
    if moved:  # what is held lies in another order than the samples
        criterion.swap(indices[2:5], np.setdiff1d(np.arange(24), indices)[[7, 0, 3]])
        indices = np.flatnonzero(criterion.inside)
    movable = np.ones(24, dtype=bool)
    movable[indices[::4]] = False
    leaving, entering = indices[movable[indices]], np.flatnonzero(~criterion.inside)
    table = criterion.swap_changes(leaving, entering)
    leave, enter = _best_swaps(criterion, movable, None, 24, TIE)
    np.testing.assert_allclose(leave[leaving], table.min(axis=1), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(enter[entering], table.min(axis=0), rtol=1e-9, atol=1e-11)
    assert np.isinf(np.delete(leave, leaving)).all()
    assert np.isinf(np.delete(enter, entering)).all()


@pytest.mark.parametrize("weights", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_a_term_without_weight_changes_no_swap(weights):
    """And where none has any, or all rows are equal, all swaps are equally good."""
    G, n = pool(), 9
    for rows in (G, np.ones_like(G)):
        terms = Coverage(rows, n), SecondMoment(rows, n)
        both = Combination(list(zip(weights, terms, strict=True)))
        both.start(np.arange(n))
        leave, enter = _best_swaps(both, np.ones(24, dtype=bool), None, 24, TIE)
        changes = [w * one.swap_changes(np.arange(n), np.arange(n, 24)) for w, one in both._terms]
        table = np.sum(changes, axis=0)
        np.testing.assert_allclose(leave[:n], table.min(axis=1), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(enter[n:], table.min(axis=0), rtol=1e-9, atol=1e-11)


def underestimated(G, n):
    """Criteria that know lower bounds, of subsets that cover their directions well or hardly."""
    whitened = Spectrum.of(G).whiten(G, G.shape[1])
    yield VOptimality(whitened, n)
    yield Combination([(0.7, VOptimality(whitened, n)), (1.0, SecondMoment(G, n))])


@pytest.mark.parametrize("n", [3, 9, 40, 120])
@pytest.mark.parametrize("tail", [0.0, 1.0])
def test_an_underestimate_is_a_lower_bound_of_every_swap(n, tail):
    """Of rows of equal or very unequal length, at random subsets and where a descent ends."""
    rng = np.random.default_rng(n)
    G = pool(240, 6, seed=n) * np.exp(tail * rng.standard_normal((240, 1)))
    for criterion in underestimated(G, n):
        start = rng.choice(240, n, replace=False)
        for indices in (start, exchange(criterion, start).indices):
            criterion.start(indices)
            outside = np.setdiff1d(np.arange(240), indices)
            exact = criterion.swap_changes(indices, outside)
            bounds = criterion.underestimate().swap_changes(indices, outside)
            assert np.all(bounds <= exact + 1e-12 * criterion.scale())


@pytest.mark.parametrize("size", [1, 4, 16])
def test_lower_bounds_leave_the_best_swaps_as_they_are(size, monkeypatch):
    """The best samples of each kind are those of all swaps, most of which are not computed."""
    G, n = pool(600, 4, seed=size), 150
    start = np.random.default_rng(size).choice(600, n, replace=False)
    movable = np.ones(600, dtype=bool)
    for criterion in underestimated(G, n):
        end = exchange(criterion, start).indices
        criterion.swap(end[:2], np.setdiff1d(np.arange(600), end)[:2])
        monkeypatch.setattr("skmm.rounding.exchange._FEW", 600 * n)
        whole = _best_swaps(criterion, movable, None, size, TIE)
        monkeypatch.setattr("skmm.rounding.exchange._FEW", 0)
        bounded = _best_swaps(criterion, movable, None, size, TIE)
        for all_scores, scores in zip(whole, bounded, strict=True):
            best = least(all_scores, size, TIE)
            np.testing.assert_array_equal(least(scores, size, TIE), best)
            np.testing.assert_allclose(scores[best], all_scores[best], rtol=1e-9, atol=1e-11)
            assert np.all(scores >= all_scores - 1e-12)
        assert np.prod([np.isfinite(scores).sum() for scores in bounded]) < n * (600 - n) / 2


@every_criterion
def test_exchange_lowers_the_criterion_with_every_swap(name):
    """More swaps allowed, lower the value; no swap allowed, the start itself."""
    G, n = pool(60, 5, seed=2), 9
    start = np.arange(n)
    values = []
    for swaps in range(12):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            end = exchange(CRITERIA[name](G, n), start, max_swaps=swaps)
        assert np.setdiff1d(start, end.indices).size <= end.swaps <= swaps
        assert end.converged == (not told)
        assert end.converged or end.swaps == swaps
        assert end.converged or f"max_swaps={swaps}" in str(told[0].message)
        values.append(value_of(CRITERIA[name](G, n), end.indices))
    assert values[0] == value_of(CRITERIA[name](G, n), start)
    assert np.all(np.diff(values) <= 1e-9)


@every_criterion
def test_exchange_does_not_depend_on_order_or_names(name):
    """A permuted pool gives the permuted subset, and the order of the start does not matter."""
    G, n = pool(40, 4, seed=3), 7
    start = np.arange(n)
    indices = exchange(CRITERIA[name](G, n), start).indices
    np.testing.assert_array_equal(exchange(CRITERIA[name](G, n), start[::-1]).indices, indices)
    order = np.random.default_rng(0).permutation(40)
    place = np.argsort(order)
    permuted = exchange(CRITERIA[name](G[order], n), place[start]).indices
    np.testing.assert_array_equal(np.sort(order[permuted]), indices)


@every_criterion
def test_exchange_of_the_whole_pool_is_the_pool(name):
    end = exchange(CRITERIA[name](pool(), 24), np.arange(24))
    np.testing.assert_array_equal(end.indices, range(24))
    assert end.converged


@every_criterion
def test_equal_rows_enter_in_the_order_of_the_pool(name):
    """Every row stands three times in the pool: what is chosen of equals is the first of them.

    Rows are multiplied by orthogonal matrices, so that each time the scores of equal rows differ
    by other rounding errors.
    """
    few, n = pool(12, 4, seed=5), 5
    G = np.concatenate([few, few, few])
    ends = []
    for seed in range(4):
        Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]
        ends.append(exchange(CRITERIA[name](G @ Q, n), np.arange(24, 24 + n)).indices)
    for indices in ends:
        np.testing.assert_array_equal(indices, ends[0])
        entered = [i for i in indices if not 24 <= i < 24 + n]
        assert all(i < 12 or i - 12 in indices for i in entered)


@pytest.mark.parametrize("knobs", [{"max_swaps": -1}, {"shortlist": 0}, {"max_swaps": 1.5}])
def test_exchange_names_bad_knobs(knobs):
    with pytest.raises(ValueError, match="must be a whole number"):
        exchange(SecondMoment(pool(), 3), np.arange(3), **knobs)


@pytest.mark.parametrize("name", ["coverage", "coverage-of-rows", "coverage-in-blocks"])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_coverage_of_a_subset_needs_no_start(name, n):
    """`Coverage.value_of` tells what a start there would, and leaves the state as it is."""
    G = pool(40)
    criterion = CRITERIA[name](G, n)
    criterion.start(np.arange(n))
    before = criterion.value()
    for seed in range(5):
        subset = np.random.default_rng(seed).choice(40, n, replace=False)
        told = criterion.value_of(subset)
        assert criterion.value() == before
        assert told == pytest.approx(value_of(CRITERIA[name](G, n), subset), rel=1e-12)


def test_exchange_refuses_a_sample_that_comes_twice():
    with pytest.raises(ValueError, match="indices must be distinct, got 3 of which some are equal"):
        exchange(SecondMoment(pool(), 3), np.array([1, 1, 2]))


def test_sampling_is_successive():
    """Ordered draws of 2 of 4 follow s_i · s_j/(1 − s_i): chi-squared below its 1e-4 quantile."""
    from scipy.stats import chi2

    s, T = np.array([0.5, 0.25, 0.15, 0.1]), 4000
    rng = np.random.default_rng(0)
    counts = Counter(tuple(round_by_sampling(s, 2, rng=rng).tolist()) for _ in range(T))
    pairs = list(permutations(range(4), 2))
    expected = np.array([T * s[i] * s[j] / (1 - s[i]) for i, j in pairs])
    assert expected.sum() == pytest.approx(T)
    statistic = np.sum((np.array([counts[pair] for pair in pairs]) - expected) ** 2 / expected)
    assert statistic < chi2.ppf(1 - 1e-4, df=len(pairs) - 1)


def test_sampling_takes_positive_weights_first():
    """If too few are positive, all of them are taken, and the rest is drawn uniformly."""
    s = np.array([0.0, 0.7, 0.0, 0.3, 0.0])
    rng, T = np.random.default_rng(0), 3000
    draws = np.array([round_by_sampling(s, 3, rng=rng) for _ in range(T)])
    assert {frozenset(row) for row in draws[:, :2].tolist()} == {frozenset({1, 3})}
    shares = np.bincount(draws[:, 2], minlength=5)[[0, 2, 4]] / T
    assert np.all(np.abs(shares - 1 / 3) < 4 * np.sqrt(2 / 9 / T))


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_weights_have_no_scale(scale):
    """Only ratios of weights matter, to sampling and to the top n."""
    s = np.random.default_rng(0).random(30)
    expected = round_by_sampling(s, 9, rng=1)
    np.testing.assert_array_equal(round_by_sampling(s * scale, 9, rng=1), expected)
    np.testing.assert_array_equal(round_to_top(s * scale, 9), round_to_top(s, 9))


@pytest.mark.parametrize("n", [1, 2, 19, 20])
@pytest.mark.parametrize("s", [np.full(20, 0.05), np.eye(1, 20)[0], np.zeros(20)], ids=str)
def test_always_n_distinct(n, s):
    for indices in (round_by_sampling(s, n, rng=0), round_to_top(s, n)):
        assert len(indices) == len(set(indices.tolist())) == n
        assert set(indices.tolist()) <= set(range(20))


def test_top_takes_the_largest_and_of_equals_the_first():
    """Weights that differ by rounding alone are equal."""
    s = [0.1, 0.3, 0.2, 0.3, 0.1]
    np.testing.assert_array_equal(round_to_top(s, 3), [1, 2, 3])
    np.testing.assert_array_equal(round_to_top(s, 4), [0, 1, 2, 3])
    np.testing.assert_array_equal(round_to_top([*s[:4], 0.1 + 1e-16], 4), [0, 1, 2, 3])
    np.testing.assert_array_equal(round_to_top([*s[:4], 0.1 + 1e-6], 4), [1, 2, 3, 4])


def test_weights_at_the_rounding_level_are_zeros():
    """Which of them is larger is rounding's doing: the clocks decide."""
    s = np.array([1.0, 1e-17, 3e-17, 0.0, 1.0])
    exact = np.array([1.0, 0.0, 0.0, 0.0, 1.0])
    for seed in range(20):
        drawn = round_by_sampling(s, 4, rng=seed)
        np.testing.assert_array_equal(drawn, round_by_sampling(exact, 4, rng=seed))


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf])
def test_bad_weights_are_named(bad):
    s = np.array([0.5, bad, 0.5])
    with pytest.raises(ValueError, match=r"s must (be finite|not be negative), got"):
        round_by_sampling(s, 2, rng=0)
    with pytest.raises(ValueError, match=r"s must (be finite|not be negative), got"):
        round_to_top(s, 2)


@pytest.mark.parametrize("n", [0, 4, 1.5])
def test_bad_budgets_are_named(n):
    with pytest.raises(ValueError, match="n must be a whole number"):
        round_by_sampling(np.ones(3), n, rng=0)
    with pytest.raises(ValueError, match="n must be a whole number"):
        round_to_top(np.ones(3), n)

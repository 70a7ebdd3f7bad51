"""The Gaussian kernel, coverage and what selects by them, against independent computations."""

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from skmm import Coverage, select
from skmm.numerics.gaussian import GaussianKernel
from skmm.selection.selectors.medoids import cover_greedily
from skmm.selection.selectors.metrics import METRICS, measured

MODES = ["held", "single", "not held"]


@pytest.fixture(params=MODES)
def make(request, monkeypatch):
    """Makes the kernel of rows, held as that of a small, a larger and a large pool is."""
    if request.param == "single":
        monkeypatch.setattr("skmm.numerics.similarity._DOUBLE", 0)
    if request.param == "not held":
        monkeypatch.setattr("skmm.numerics.similarity._SINGLE", 0)
    monkeypatch.setattr("skmm.numerics.similarity._TILE", 7)
    return GaussianKernel


def draw(rng, N, r):
    return rng.standard_normal((N, r)) * np.geomspace(2, 0.2, r) + 0.4


def similarities(rows, sigma):
    return np.exp(-cdist(rows, rows, "sqeuclidean") / sigma**2)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def greedy(score, N, n, *, start=(), then=None):
    """Takes the largest ``score(i, taken)`` among those left, of equals the largest ``then[i]``.

    Two samples that are alone together gain the same by symmetry, so equals are no exception.
    """
    taken = list(start)
    while len(taken) < n:
        scores = {i: score(i, taken) for i in range(N) if i not in taken}
        equals = [i for i in scores if scores[i] >= max(scores.values()) - 1e-11]
        taken.append(equals[0] if then is None else max(equals, key=lambda i: then[i]))
    return taken


def uncovered(K, subset):
    return 1.0 - np.mean([max(K[i, j] for i in subset) for j in range(len(K))])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_kernel_is_that_of_distances(make, kind, rng, monkeypatch):
    rows = draw(rng, 40, 5).astype(kind)
    exact = similarities(rows.astype(np.float64), 1.3)
    kernel = make(rows, 1.3)
    some, others = np.array([3, 0, 17]), np.array([5, 39])
    near = {"rtol": 1e-6 if kernel.holds and kernel._matrix.dtype == np.float32 else 1e-12}
    for share in (1, 40):  # entries far apart, and entries of whole rows
        monkeypatch.setattr("skmm.numerics.similarity._NEAR", share)
        np.testing.assert_allclose(kernel.block(some, others), exact[np.ix_(some, others)], **near)
    np.testing.assert_allclose(kernel.block(slice(4, 9), others), exact[4:9, others], **near)
    np.testing.assert_allclose(kernel.rows(some), exact[some], **near)
    np.testing.assert_allclose(kernel.sums(), exact.sum(axis=1), **near)
    tiled = np.empty((3, 40))
    for part, block, similar in kernel.tiles(some):
        tiled[part, block] = similar
    np.testing.assert_allclose(tiled, exact[some], **near)


def test_kernel_does_not_see_a_shift(rng):
    """Rows far from the origin lose no more digits than they have lost by standing there."""
    rows = rng.integers(-8, 9, (30, 4)) / 8.0
    np.testing.assert_allclose(
        GaussianKernel(rows + 2.0**20, 1.0).rows(np.arange(30)), similarities(rows, 1.0), rtol=1e-9
    )


def test_held_similarities_tell_inner_products(make, rng):
    """To rounding of what is held; what is not held tells nothing."""
    rows = unit(draw(rng, 40, 5))
    kernel = make(rows, 1.0)
    assert kernel.tells_products == kernel.holds
    if kernel.holds:
        near = 1e-14 if kernel._matrix.dtype == np.float64 else 3.1e-8
        some, others = np.array([3, 0, 17]), np.array([5, 39])
        for one, other in ((some, others), (some, slice(None)), (slice(2, 9), others)):
            told, exact = kernel.products(one, other), rows[one] @ rows[other].T
            np.testing.assert_allclose(told, exact, rtol=0, atol=near)


@pytest.mark.parametrize(
    ("rows", "sigma"),
    [
        (np.eye(30), 0.05),  # similarities below the least number
        (np.eye(30), 1e5),  # similarities that differ from 1 by rounding alone
        (np.zeros((30, 2)), 1.0),
    ],
)
def test_similarities_that_lost_the_products_do_not_tell_them(rows, sigma):
    assert not GaussianKernel(rows, sigma).tells_products


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.2])
def test_subsets_are_those_of_products(sigma, rng, monkeypatch):
    """Of a pool held in single precision the default is the same, told or computed."""
    rows = rng.standard_normal((80, 20))[rng.integers(0, 80, 1500)]
    rows += 0.5 * rng.standard_normal(rows.shape)
    monkeypatch.setattr("skmm.numerics.similarity._DOUBLE", 0)
    told = select(rows, 150, rng=0, sigma=sigma)
    monkeypatch.setattr(GaussianKernel, "tells_products", False)
    computed = select(rows, 150, rng=0, sigma=sigma)
    np.testing.assert_array_equal(told.indices, computed.indices)


def test_samples_are_spread_from_the_middle_to_the_margin(rng):
    """Evenly by their rank in the distance from the mean, wherever they stand in the pool."""
    rows = draw(rng, 90, 3)
    order = np.argsort(np.linalg.norm(rows - rows.mean(axis=0), axis=1))
    np.testing.assert_array_equal(GaussianKernel(rows, 1.0).spread(9), order[5::10])
    np.testing.assert_array_equal(GaussianKernel(rows, 1.0).spread(90), np.arange(90))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_coverage_is_in_units_of_a_uniform_draw(make, n, rng):
    """What is uncovered, over its mean over all subsets of n; by loops."""
    rows = draw(rng, 9, 3)
    K = similarities(rows, 1.5)
    losses = {S: uncovered(K, S) for S in combinations(range(9), n)}
    expected = np.mean(list(losses.values()))
    coverage = Coverage.of(make(rows, 1.5), n)
    for S in list(losses)[::7]:
        coverage.start(np.array(S))
        assert coverage.value() == pytest.approx(losses[S] / expected, rel=1e-6)


def test_unit_of_a_large_pool_is_near_that_of_all(rng, monkeypatch):
    """At samples spread evenly, within 2 % of the expectation at every sample."""
    rows = unit(draw(rng, 400, 8))
    exact = Coverage(rows, 40)._unit
    monkeypatch.setattr("skmm.criteria.coverage._PROBES", 60)
    order = rng.permutation(400)
    assert Coverage(rows, 40)._unit == pytest.approx(exact, rel=0.02)
    assert Coverage(rows[order], 40)._unit == pytest.approx(Coverage(rows, 40)._unit, rel=1e-12)


def test_coverage_of_what_any_subset_covers_is_nothing():
    coverage = Coverage(np.ones((6, 2)), 2)
    coverage.start(np.array([0, 1]))
    assert coverage.value() == 0.0
    assert not coverage.swap_changes(np.array([0, 1]), np.array([2, 3])).any()


@pytest.mark.parametrize("few", [0, 8, 10**9], ids=["one by one", "either", "whole tiles"])
@pytest.mark.parametrize("kind", ["spread", "groups", "equal rows"])
@pytest.mark.parametrize("n", [1, 2, 12])
def test_coverage_counts_all_that_a_swap_does(make, few, kind, n, rng, monkeypatch):
    """After swaps of several at once, in the pool and in a shortlist, as told by loops."""
    monkeypatch.setattr("skmm.criteria.medoids._FEW", few)
    monkeypatch.setattr("skmm.numerics.similarity._HELD_STRIP", (5, 32))
    rows = unit(draw(rng, 48, 4))
    if kind != "spread":
        noise = 0.05 if kind == "groups" else 0.0
        rows = rows[rng.integers(0, 9, 48)] + noise * rng.standard_normal((48, 4))
    K = similarities(rows, 0.7)
    coverage = Coverage.of(make(rows, 0.7), n)
    coverage.start(rng.choice(48, n, replace=False))

    def check(criterion, rows):
        subset, unit = np.flatnonzero(coverage.inside), coverage._unit
        left = lambda S: 1.0 - K[np.asarray(S, dtype=int)].max(axis=0).mean()  # noqa: E731
        inside, outside = rows[criterion.inside], rows[~criterion.inside]
        ends = [[left([*np.setdiff1d(subset, i), j]) for j in outside] for i in inside]
        own = np.flatnonzero(criterion.inside), np.flatnonzero(~criterion.inside)
        changes = unit * (np.array(ends) - left(subset))
        np.testing.assert_allclose(criterion.swap_changes(*own), changes, atol=2e-7 * unit)
        assert criterion.value() == pytest.approx(unit * left(subset), rel=1e-6, abs=1e-7)

    for count in (n, 1, -(-n // 2)):
        coverage.swap(
            rng.choice(np.flatnonzero(coverage.inside), count, replace=False),
            rng.choice(np.flatnonzero(~coverage.inside), count, replace=False),
        )
        check(coverage, np.arange(48))
    rows = np.append(np.flatnonzero(coverage.inside)[:4], np.flatnonzero(~coverage.inside)[::3])
    part = coverage.restrict(rows)
    for step in range(3):
        i, j = np.flatnonzero(part.inside)[:1], np.flatnonzero(~part.inside)[step : step + 1]
        part.swap(i, j)
        coverage.swap(rows[i], rows[j])
        check(part, rows)


def test_a_shortlist_may_start_anew_and_be_cut_short_again(rng):
    """What it tells is what the pool tells of the same subset."""
    whole = Coverage(unit(draw(rng, 40, 5)), 6)
    whole.start(np.arange(6))
    rows = np.array([2, 4, 5, 9, 20, 30, 33])
    part = whole.restrict(rows)
    part.start(np.array([1, 3, 6]))  # of the pool: 4, 9 and 33 beside 0, 1 and 3
    least = part.restrict(np.array([1, 6, 0, 5]))
    whole.start(np.array([0, 1, 3, 4, 9, 33]))
    expected = whole.swap_changes(np.array([4, 33]), np.array([2, 30]))
    np.testing.assert_allclose(
        least.swap_changes(np.array([0, 1]), np.array([2, 3])), expected, atol=1e-12
    )
    assert part.value() == pytest.approx(whole.value(), rel=1e-12)


@pytest.mark.parametrize("sigma", [0.0, np.nan, "wide"])
def test_bad_widths_are_named(sigma):
    with pytest.raises(ValueError, match="sigma must be a finite number above 0"):
        Coverage(np.ones((6, 2)), 2, sigma=sigma)


@pytest.mark.parametrize("metric", METRICS)
def test_metrics(metric, rng):
    rows = draw(rng, 20, 4)
    rows[3] = 0.0
    expected = {
        "raw": rows / np.sqrt(np.mean(np.sum(rows**2, axis=1))),
        "unit": rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300),
        "centred": unit(rows - rows.mean(axis=0)),
    }[metric]
    before = rows.copy()
    np.testing.assert_allclose(measured(rows, metric), expected)
    np.testing.assert_array_equal(rows, before)


def test_a_row_at_the_mean_has_no_direction(rng):
    """What rounding leaves of it is not blown up to unit norm."""
    rows = draw(rng, 20, 4)
    rows = np.concatenate([rows, rows.mean(axis=0, keepdims=True)])
    assert not measured(rows, "centred")[-1].any()


@pytest.mark.parametrize("metric", METRICS)
def test_max_herding_is_greedy_coverage(metric, rng):
    rows = draw(rng, 50, 6)
    K = similarities(measured(rows, metric), 0.8)
    expected = greedy(lambda i, S: -uncovered(K, [*S, i]), 50, 30, then=K.sum(axis=0))
    chosen = select(rows, 30, method="max_herding", metric=metric, sigma=0.8, rng=0).indices
    np.testing.assert_array_equal(chosen, expected)


def test_max_herding_covers_as_the_bound_says(make, rng):
    """Within 1 - 1/e of the best of all subsets, however the kernel is held."""
    rows = draw(rng, 12, 3)
    K = similarities(rows, 1.5)
    best = min(uncovered(K, S) for S in combinations(range(12), 4))
    chosen = cover_greedily(make(rows, 1.5), 4)
    expected = greedy(lambda i, S: -uncovered(K, [*S, i]), 12, 4, then=K.sum(axis=0))
    np.testing.assert_array_equal(chosen, expected)
    assert 1 - uncovered(K, chosen) >= (1 - 1 / np.e) * (1 - best)


def slow_pam(K, start):
    """The best of all swaps, computed anew, until none helps."""
    subset, N = sorted(start), len(K)
    while True:
        swaps = [sorted({*subset, j} - {i}) for i in subset for j in range(N) if j not in subset]
        best = min(swaps, key=lambda S: uncovered(K, S))
        if uncovered(K, best) >= uncovered(K, subset) - 1e-9:
            return subset
        subset = best


@pytest.mark.parametrize("seed", range(4))
def test_k_medoids_is_pam(seed):
    """In a pool that one shortlist holds: the same subset as by recomputing every swap."""
    rows = draw(np.random.default_rng(seed), 26, 4)
    K = similarities(unit(rows), 1.0)
    start = greedy(lambda i, S: -uncovered(K, [*S, i]), 26, 6, then=K.sum(axis=0))
    end = select(rows, 6, method="k_medoids", rng=0)
    expected = slow_pam(K, start)
    np.testing.assert_array_equal(sorted(end.indices), expected)
    losses = [uncovered(K, np.delete(end.indices, i)) for i in range(6)]
    np.testing.assert_array_equal(losses, np.sort(losses)[::-1])


def test_k_medoids_is_mostly_optimal_on_tiny_problems():
    """Brute force over 40 pools: mostly the best of all subsets."""
    optimal = 0
    for seed in range(40):
        rows = draw(np.random.default_rng(seed), 11, 3)
        K = similarities(unit(rows), 1.0)
        best = min(uncovered(K, S) for S in combinations(range(11), 3))
        reached = uncovered(K, select(rows, 3, method="k_medoids", rng=seed).indices)
        optimal += reached <= best + 1e-9
    assert optimal >= 30


def test_kernel_herding_against_its_scores(rng):
    rows = draw(rng, 40, 5)
    K = similarities(unit(rows), 0.7)

    def score(i, S):
        return K[i].mean() - sum(K[i, j] for j in S) / (len(S) + 1)

    chosen = select(rows, 25, method="kernel_herding", sigma=0.7, rng=0).indices
    np.testing.assert_array_equal(chosen, greedy(score, 40, 25))


def test_kernel_herding_takes_the_least_discrepancy(rng):
    """Each step is the least squared discrepancy of mean embeddings, by explicit weights."""
    rows = draw(rng, 40, 5)
    K = similarities(unit(rows), 1.0)

    def discrepancy(i, S):
        weights = np.full(40, -1 / 40)
        np.add.at(weights, [*S, i], 1 / (len(S) + 1))
        return weights @ K @ weights

    chosen = select(rows, 12, method="kernel_herding", rng=0).indices
    np.testing.assert_array_equal(chosen, greedy(lambda i, S: -discrepancy(i, S), 40, 12))


@pytest.mark.parametrize("ridge", [1e-4, 0.01, 2.0])
def test_log_det_is_greedy_for_the_determinant(ridge, rng, monkeypatch):
    monkeypatch.setattr("skmm.selection.selectors.determinant._BATCH", 5)
    rows = draw(rng, 60, 5)
    K = similarities(unit(rows), 1.0) + ridge * np.eye(60)
    chosen = select(rows, 20, method="log_det", ridge=ridge, rng=0).indices

    def volume(i, S):
        return np.linalg.slogdet(K[np.ix_([*S, i], [*S, i])])[1]

    np.testing.assert_array_equal(chosen, greedy(volume, 60, 20, start=chosen[:1]))


def test_log_det_takes_the_most_uncertain_of_a_gaussian_process(rng):
    """By scikit-learn's posterior, whose kernel has σ² = 2 times its squared length scale."""
    rows = unit(draw(rng, 40, 5))
    chosen = select(rows, 9, method="log_det", ridge=0.05, rng=1).indices
    for k in range(1, 9):
        process = GaussianProcessRegressor(RBF(np.sqrt(0.5), "fixed"), alpha=0.05)
        process.fit(rows[chosen[:k]], np.zeros(k))
        deviations = process.predict(rows, return_std=True)[1]
        deviations[chosen[:k]] = 0.0
        assert deviations.argmax() == chosen[k]

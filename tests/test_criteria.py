"""Criteria: what they say a swap changes is what it changes, alone, on a shortlist and combined."""

from itertools import combinations

import numpy as np
import pytest

from skmm.criteria import (
    Combination,
    Coverage,
    DiagonalShortfall,
    FourthMoment,
    SecondMoment,
    VOptimality,
)
from skmm.numerics.gaussian import GaussianKernel
from skmm.rounding.exchange import exchange
from skmm.selection.select import select

N, K, n = 60, 5, 12

MAKERS = {
    "diagonal": lambda X, n: DiagonalShortfall(X**2, n),
    "diagonal, slack 2": lambda X, n: DiagonalShortfall(X**2, n, slack=2.0),
    "v-optimal": lambda X, n: VOptimality(X, n),
    "full": lambda X, n: SecondMoment(X, n),
    "full, mean": lambda X, n: SecondMoment(X, n, mean=True),
    "fourth": lambda X, n: FourthMoment(X, n),
    "fourth, told": lambda X, n: FourthMoment.of(GaussianKernel(X, 3.0), X, n),
    "coverage": lambda X, n: Coverage(X, n, sigma=1.5),
    "combined": lambda X, n: Combination([(1.0, SecondMoment(X, n)), (0.5, VOptimality(X, n))]),
}


@pytest.fixture(params=sorted(MAKERS))
def make(request):
    return MAKERS[request.param]


def rows_of(rng, N=N, k=K):
    return rng.standard_normal((N, k)) * np.exp(rng.standard_normal((N, 1)) / 2) + 0.3


def value_at(criterion, indices):
    criterion.start(np.asarray(indices))
    return criterion.value()


def test_swap_changes_equal_recomputed_values(make, rng):
    criterion = make(rows_of(rng), n)
    inside = rng.choice(N, n, replace=False)
    outside = np.setdiff1d(np.arange(N), inside)
    before = value_at(criterion, inside)
    changes = criterion.swap_changes(inside, outside)
    for i in range(n):
        for j in range(0, len(outside), 5):
            after = value_at(criterion, np.append(np.delete(inside, i), outside[j]))
            assert changes[i, j] == pytest.approx(after - before, rel=1e-8, abs=1e-10)


def test_rows_in_single_precision_are_summed_in_double(rng):
    """Of the same numbers, the value is the same: what is stored in 32 bits is worked on in 64."""
    single = np.abs(rows_of(rng)).astype(np.float32)
    inside = rng.choice(N, n, replace=False)
    for name in ("v-optimal", "full", "full, mean", "fourth", "coverage", "combined"):
        doubled = MAKERS[name](single.astype(np.float64), n)
        assert value_at(MAKERS[name](single, n), inside) == value_at(doubled, inside)
    shares = DiagonalShortfall(single, n), DiagonalShortfall(single.astype(np.float64), n)
    assert value_at(shares[0], inside) == value_at(shares[1], inside)


def test_starting_again_is_as_starting_afresh(make, rng):
    """What a criterion holds of a former subset leaves no trace in its value or its swaps."""
    rows = rows_of(rng)
    used = make(rows, n)
    exchange(used, rng.choice(N, n, replace=False))
    for subset in (rng.choice(N, n, replace=False) for _ in range(2)):
        fresh, outside = make(rows, n), np.setdiff1d(np.arange(N), subset)
        values = [value_at(one, subset) for one in (used, fresh)]
        assert values[0] == pytest.approx(values[1], rel=1e-10, abs=1e-12)
        changes = [one.swap_changes(subset, outside) for one in (used, fresh)]
        np.testing.assert_allclose(*changes, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 43])
def test_rows_of_the_kernel_however_many(count, rng, monkeypatch):
    """One by one or all at once, from as many blocks of the pool as there are."""
    monkeypatch.setattr("skmm.numerics.blocks.BLOCK_ENTRIES", 16 * K)
    monkeypatch.setattr("skmm.criteria.kernel._TILE", 7)
    rows, some = rows_of(rng), rng.permutation(N)[:count]
    fourth = (rows[some] @ rows.T) ** 4
    np.testing.assert_allclose(FourthMoment(rows, n)._kernel_rows(some), fourth, rtol=1e-12)


@pytest.mark.parametrize("at_once", [1, 4, 128])
def test_rows_of_samples_that_left_are_not_made_again(at_once, rng, monkeypatch):
    """Of half as many as the subset has; and those that come back are the ones that went."""
    monkeypatch.setattr("skmm.criteria.kernel._SOME", at_once)
    monkeypatch.setattr("skmm.numerics.blocks.BLOCK_ENTRIES", 1)
    made, make_rows = [], FourthMoment._kernel_rows
    monkeypatch.setattr(
        FourthMoment, "_kernel_rows", lambda one, some: made.extend(some) or make_rows(one, some)
    )
    rows = rows_of(rng)
    moment, fresh = FourthMoment(rows, n), FourthMoment(rows, n)
    inside, outside = np.split(rng.permutation(N), [n])
    moment.start(inside)
    moment.swap(inside[:8], outside[:8])
    made.clear()
    moment.swap(outside[:4], inside[:4])
    moment.start(inside)
    assert set(made) <= set(inside[6:8])
    fresh.start(inside)
    np.testing.assert_allclose(moment.single_changes(), fresh.single_changes(), atol=1e-12)
    np.testing.assert_allclose(
        moment.swap_changes(inside, outside), fresh.swap_changes(inside, outside), atol=1e-12
    )


def test_a_shortlist_answers_like_the_pool_while_it_swaps(make, rng):
    """Swaps made on a restricted criterion leave it at what the pool's own state would be."""
    criterion = make(rows_of(rng), n)
    inside = rng.choice(N, n, replace=False)
    criterion.start(inside)
    rows = np.append(inside[:6], np.setdiff1d(np.arange(N), inside)[:9])
    part = criterion.restrict(rows)
    for step in range(5):
        leaving, entering = np.flatnonzero(part.inside)[:1], np.flatnonzero(~part.inside)[step:][:1]
        part.swap(leaving, entering)
        criterion.swap(rows[leaving], rows[entering])
        here, there = np.flatnonzero(part.inside), np.flatnonzero(~part.inside)
        np.testing.assert_allclose(
            part.swap_changes(here, there),
            criterion.swap_changes(rows[here], rows[there]),
            rtol=1e-7,
            atol=1e-10,
        )


@pytest.mark.parametrize("k", [4, 10, 11, 20])
def test_a_shortlist_stays_exact_where_samples_are_too_few(k, rng):
    """After forty best swaps, with fewer samples than directions, rounding has not built up."""
    rows, few = rng.standard_normal((80, k)), 10
    whole, part = VOptimality(rows, few), VOptimality(rows, few)
    part.start(np.arange(few))
    part = part.restrict(np.arange(80))
    for _ in range(40):
        here, there = np.flatnonzero(part.inside), np.flatnonzero(~part.inside)
        changes = part.swap_changes(here, there)
        i, j = np.unravel_index(changes.argmin(), changes.shape)
        part.swap(here[[i]], there[[j]])
    here, there = np.flatnonzero(part.inside), np.flatnonzero(~part.inside)
    whole.start(here)
    assert part.value() == pytest.approx(whole.value(), rel=1e-9)
    told, exact = (one.swap_changes(here, there) for one in (part, whole))
    np.testing.assert_allclose(told, exact, atol=1e-8 * whole.scale())


def test_batched_swaps_reach_the_state_of_a_fresh_start(make, rng):
    criterion = make(rows_of(rng), n)
    inside = rng.choice(N, n, replace=False)
    outside = np.setdiff1d(np.arange(N), inside)
    criterion.start(inside)
    criterion.swap(inside[:4], outside[:4])
    swapped = criterion.value()
    at_swapped = criterion.swap_changes(outside[:4], outside[4:10])
    assert swapped == pytest.approx(value_at(criterion, np.append(inside[4:], outside[:4])))
    np.testing.assert_allclose(
        at_swapped, criterion.swap_changes(outside[:4], outside[4:10]), rtol=1e-7, atol=1e-10
    )


def test_single_changes_order_swaps_of_orthogonal_rows(make):
    """Rows of different axes do not interact: the best swap is the best leaver and enterer."""
    sizes = np.array([3, 5, 4])
    rows = np.repeat(np.eye(3), sizes, axis=0)
    criterion = make(rows * np.sqrt(3), 3)
    criterion.start(np.array([0, 1, 3]))  # axis 2 is left out, axis 0 is there twice
    leave, enter = criterion.single_changes()
    outside = np.flatnonzero(~criterion.inside)
    assert leave[0] == pytest.approx(leave[1])
    assert leave[0] < leave[3]
    assert set(outside[np.argsort(enter[outside])[:4]]) == {8, 9, 10, 11}


def test_values_do_not_depend_on_units(make, rng):
    """Whitened rows have no units; the whole moment is measured against a uniform sample's."""
    X = rows_of(rng)
    subset = rng.choice(N, n, replace=False)
    for mean in (False, True):
        full = value_at(SecondMoment(X, n, mean=mean), subset)
        assert value_at(SecondMoment(X * 1e4, n, mean=mean), subset) == pytest.approx(full)
    assert value_at(make(X, n), subset) == pytest.approx(value_at(make(X, n), subset[::-1]))


@pytest.mark.parametrize("mean", [False, True])
def test_second_moment_is_one_for_uniform_sampling(rng, mean):
    """E D(S) = 1 for independent draws: the mean of T subsets lies within 4 standard errors."""
    X = rows_of(rng, N=400)
    criterion = SecondMoment(X, 20, mean=mean)
    values = [value_at(criterion, rng.choice(400, 20, replace=False)) for _ in range(300)]
    without_replacement = 1 - 19 / 399
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - without_replacement) < 4 * error


def test_second_moment_is_a_kernel_discrepancy(rng):
    """‖Σ_S − Σ‖² equals the squared MMD with kernel (xᵀy)², summed in a slow loop."""
    X = rows_of(rng, N=30)
    subset = rng.choice(30, 7, replace=False)
    kernel = (X @ X.T) ** 2
    weights = -np.full(30, 1 / 30)
    weights[subset] += 1 / 7
    moments = np.linalg.norm(X[subset].T @ X[subset] / 7 - X.T @ X / 30) ** 2
    assert weights @ kernel @ weights == pytest.approx(moments)
    scale = (np.mean(np.diag(kernel)) - np.mean(kernel)) / 7
    assert value_at(SecondMoment(X, 7), subset) == pytest.approx(moments / scale)


def test_fourth_moment_is_the_distance_of_tensors(rng):
    """‖T_S − T‖² with all m⁴ entries formed, in units of a uniform sample's, in a slow loop."""
    X = rows_of(rng, N=30, k=3)
    subset = rng.choice(30, 7, replace=False)

    def tensor(rows):
        return sum(np.einsum("a,b,c,d->abcd", x, x, x, x) for x in rows) / len(rows)

    gap = np.sum((tensor(X[subset]) - tensor(X)) ** 2)
    spread = np.mean(np.sum(X**2, axis=1) ** 4) - np.sum(tensor(X) ** 2)
    assert value_at(FourthMoment(X, 7), subset) == pytest.approx(gap / (spread / 7))


def test_fourth_moment_bounds_the_second(rng):
    """‖Σ_S − Σ‖_F ≤ √m ‖T_S − T‖ for unit rows, whichever the subset."""
    for m in (2, 5, 20):
        X = rows_of(rng, N=200, k=m)
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        fourth = FourthMoment(X, n)
        kernel = (X @ X.T) ** 4
        for _ in range(50):
            subset = rng.choice(200, n, replace=False)
            gap = value_at(fourth, subset) * (1 - kernel.mean()) / n
            second = X[subset].T @ X[subset] / n - X.T @ X / 200
            assert np.linalg.norm(second) <= np.sqrt(m * gap) * (1 + 1e-9)


def test_v_optimality_of_the_pool_is_one(rng):
    X = rng.standard_normal((40, 4))
    whitened = X @ np.linalg.inv(np.linalg.cholesky(X.T @ X / 40)).T
    assert value_at(VOptimality(whitened, 40, alpha=1e-12), np.arange(40)) == pytest.approx(1.0)


def test_a_direction_left_out_costs_more_than_any_imbalance():
    """One cluster of 1 %: both one-sided criteria take a sample of it, a two-sided one does not."""
    sizes = [99, 1]
    rows = np.repeat(np.eye(2), sizes, axis=0)
    whitened = rows / np.sqrt(np.array(sizes) / 100)
    start = np.arange(10)
    for criterion in (VOptimality(whitened, 10), DiagonalShortfall(whitened**2, 10)):
        assert 99 in exchange(criterion, start).indices
    assert 99 not in exchange(SecondMoment(whitened, 10), start).indices


def test_full_match_is_nearly_optimal_on_tiny_problems():
    """Brute force over 200 pools: mostly optimal, never worse than the best of 1,000 subsets."""
    optimal, problems = 0, 200
    for seed in range(problems):
        rng = np.random.default_rng(seed)
        size, budget = int(rng.integers(8, 15)), int(rng.integers(2, 6))
        rows = rng.standard_normal((size, 3))
        moments = np.einsum("ia,ib->iab", rows, rows).reshape(size, 9)

        def squared_gap(subsets, moments=moments):
            gaps = moments[np.array(subsets)].mean(axis=-2) - moments.mean(axis=0)
            return np.square(gaps).sum(axis=-1)

        values = squared_gap(list(combinations(range(size), budget)))
        chosen = select(rows, budget, rng=seed, criterion="full", metric="raw").indices
        reached = squared_gap(chosen)
        optimal += reached <= values.min() + 1e-9
        assert reached <= rng.choice(values, 1000).min() + 1e-9, f"seed {seed}"
    assert optimal >= 0.8 * problems

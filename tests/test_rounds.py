"""Labels in rounds: what is labelled already counts in the criterion and is never chosen again."""

from itertools import product

import numpy as np
import pytest

from methods import METHODS
from skmm import SELECTORS, certify, select
from skmm.criteria import Coverage, FourthMoment, SecondMoment, VOptimality
from skmm.rounding.exchange import exchange
from skmm.selection.selectors.moments import CRITERIA
from test_selectors import N, R, signals

KEEPING = [name for name in METHODS if SELECTORS[name].keeps]
VARIANTS = [(name, {"steps": 40} if name == "active_ft" else {}) for name in KEEPING]
VARIANTS += [("skmm", {"criterion": c}) for c in CRITERIA[1:]]
VARIANTS += [("typiclust", {"cap": 3}), ("k_medoids", {"metric": "raw"})]
every_round = pytest.mark.parametrize(
    "variant", VARIANTS, ids=["-".join([name, *map(str, k.values())]) for name, k in VARIANTS]
)

FROZEN = {
    ("skmm", "narrow"): [1, 12, 28, 38, 40, 42, 46, 48, 49, 73, 83, 87],
    ("skmm", "wide"): [23, 33, 37, 40, 42, 43, 44, 55, 62, 63, 66, 78],
    ("adaptive", "wide"): [84, 33, 40, 35, 21, 46, 85, 4, 31, 48, 0, 86],
    ("k_center", "narrow"): [45, 35, 5, 86, 55, 43, 12, 41, 4, 8, 20, 65],
    ("leverage", "narrow"): [80, 33, 11, 61, 46, 8, 39, 27, 6, 3, 44, 64],
    ("max_herding", "wide"): [78, 52, 23, 55, 65, 76, 33, 72, 6, 68, 40, 44],
    ("prob_cover", "wide"): [22, 26, 35, 37, 43, 63, 0, 1, 2, 3, 4, 5],
    ("typiclust", "narrow"): [73, 39, 38, 50, 6, 67, 68, 47, 89, 83, 26, 49],
    ("uniform", "narrow"): [34, 2, 55, 68, 21, 30, 40, 46, 17, 75, 37, 77],
}
"""Chosen by a version that knew no rounds."""


def choose(variant, features, n, keep=None, *, rng=3):
    method, knobs = variant
    needed = signals(method, len(features))
    return select(features, n, method=method, rng=rng, keep=keep, **needed, **knobs)


@pytest.fixture
def features(rng):
    return rng.standard_normal((N, R)) * np.geomspace(3, 0.1, R) + 0.5


@pytest.fixture
def keep(rng):
    return rng.choice(N, 13, replace=False)


@pytest.mark.parametrize(("method", "pool"), FROZEN)
def test_first_round_is_what_it_was_before_there_were_rounds(method, pool):
    rng = np.random.default_rng(7)
    narrow = rng.standard_normal((90, 6)) * np.geomspace(3, 0.1, 6) + 0.5
    rows = {"narrow": narrow, "wide": rng.standard_normal((90, 24))}[pool]
    assert select(rows, 12, method=method, rng=5).indices.tolist() == FROZEN[method, pool]


@every_round
def test_nothing_kept_is_a_first_round(variant, features):
    first = choose(variant, features, 11)
    for nothing in ([], np.zeros(0, int)):
        again = choose(variant, features, 11, nothing)
        np.testing.assert_array_equal(again.indices, first.indices)
        assert again.objective == first.objective or np.isnan(first.objective)
    assert first.kept.shape == (0,)


@every_round
def test_new_samples_are_new(variant, features, keep):
    """As many as asked for, none of those kept, the same whenever and in whatever order."""
    for n in (1, 11, N - len(keep)):
        selection = choose(variant, features, n, keep)
        assert selection.indices.shape == selection.weights.shape == (n,)
        assert not np.isin(selection.indices, keep).any()
        np.testing.assert_array_equal(selection.kept, np.sort(keep))
        np.testing.assert_array_equal(np.unique(selection.labelled), np.sort(selection.labelled))
        again = choose(variant, features, n, keep[::-1].tolist())
        np.testing.assert_array_equal(again.indices, selection.indices)


@every_round
def test_certificate_speaks_of_all_that_is_labelled(variant, features, keep):
    selection = choose(variant, features, 11, keep)
    union = certify(selection.view, selection.labelled)
    assert selection.certificate.n == len(keep) + 11
    assert selection.certificate.slack == union.slack
    assert selection.certificate.bias_share == union.bias_share
    assert "11 of 60 samples beside 13 kept" in str(selection)


POOLS = {
    "equal rows": np.full((12, 3), 0.1),
    "zero rows": np.where(np.arange(12)[:, None] % 3, 0.0, np.eye(12, 3) + 1.0),
    "all zero": np.zeros((12, 3)),
    "one column": np.linspace(-1.0, 2.0, 12)[:, None],
    "pairs": np.repeat(np.random.default_rng(5).standard_normal((6, 4)), 2, axis=0),
    "wide": np.random.default_rng(6).standard_normal((12, 40)),
}


@every_round
@pytest.mark.parametrize("pool", POOLS)
def test_any_pool_has_rounds(variant, pool):
    for keep, n in product(([0], [0, 3, 6, 9], [1, 2, 4, 5, 7]), (1, 5, 7)):
        indices = choose(variant, POOLS[pool], n, keep).indices
        assert len(np.setdiff1d(indices, keep)) == n == len(indices)


@pytest.mark.parametrize("method", [name for name in KEEPING if SELECTORS[name].nested])
@pytest.mark.parametrize("width", [9, 90])
def test_rounds_of_a_nested_method_are_its_subset_at_once(method, width, rng):
    """The first n of a larger subset, kept, are followed by the others."""
    rows = rng.standard_normal((N, width))
    whole = choose((method, {}), rows, 40).indices
    labelled = np.zeros(0, int)
    for n in (7, 1, 12, 20):
        labelled = np.append(labelled, choose((method, {}), rows, n, labelled).indices)
    np.testing.assert_array_equal(labelled, whole)


SPREADING = ["adaptive", "covariance_matching", "facility_location", "k_center", "k_means"]
SPREADING += ["k_medoids", "kernel_herding", "log_det", "max_herding", "prob_cover", "skmm"]
SPREADING += ["typiclust"]
KNOBS = {"skmm": {"criterion": "balanced"}, "prob_cover": {"delta": 0.5}}


@pytest.mark.parametrize("method", SPREADING)
def test_new_samples_complement_those_kept(method, rng):
    """Of eight tight groups, four labelled: each of the other four gets one of the next four."""
    group = np.repeat(np.arange(8), 15)
    rows = np.eye(8)[group] + 0.02 * rng.standard_normal((120, 8))
    keep = np.flatnonzero(group < 4)[::15]
    indices = choose((method, KNOBS.get(method, {})), rows, 4, keep).indices
    assert sorted(group[indices]) == [4, 5, 6, 7]


def _criteria(rows, n):
    yield VOptimality(rows, n)
    yield SecondMoment(rows, n)
    yield FourthMoment(rows, n)
    yield Coverage(rows, n)


def _value(criterion, indices):
    criterion.start(indices)
    return criterion.value()


@pytest.mark.parametrize("kind", range(4))
def test_exchange_around_fixed_samples_ends_where_no_swap_helps(kind, rng):
    """Those fixed stay, though to lose them would help; tried one by one."""
    rows = rng.standard_normal((40, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    fixed, start = np.arange(4), np.arange(10)
    (criterion,) = [c for k, c in enumerate(_criteria(rows, 10)) if k == kind]
    end = exchange(criterion, start, fixed=fixed, shortlist=3)
    assert np.isin(fixed, end.indices).all()
    assert end.converged
    new, outside = np.setdiff1d(end.indices, fixed), np.setdiff1d(np.arange(40), end.indices)
    best = min(
        _value(criterion, np.append(np.setdiff1d(end.indices, i), j))
        for i, j in product(new, outside)
    )
    assert best >= end.value - 1e-9
    assert exchange(criterion, start).value < end.value


def test_nothing_is_left_to_swap_where_all_are_fixed(rng):
    criterion = SecondMoment(rng.standard_normal((20, 3)), 5)
    end = exchange(criterion, np.arange(5), fixed=np.arange(5))
    assert (end.swaps, end.converged, end.indices.tolist()) == (0, True, [0, 1, 2, 3, 4])


def test_fixed_samples_must_be_in_the_subset(rng):
    criterion = SecondMoment(rng.standard_normal((20, 3)), 5)
    with pytest.raises(ValueError, match="fixed must be among indices, got 1 of 2"):
        exchange(criterion, np.arange(5), fixed=np.array([1, 7]))


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_chance_is_the_mean_over_uniform_draws_of_the_rest(kind, rng):
    """Against draws, whose mean of T lies within 4 of its standard deviations."""
    rows = rng.standard_normal((30, 3)) + 0.3
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kept, T = np.argsort(rows[:, 0])[:5], 800  # all on one side
    (criterion,) = [c for k, c in enumerate(_criteria(rows, 11)) if k == kind]
    others = np.setdiff1d(np.arange(30), kept)
    draws = [rng.choice(others, 6, replace=False) for _ in range(T)]
    values = [_value(criterion, np.append(kept, draw)) for draw in draws]
    error = np.std(values) / np.sqrt(T)
    assert abs(np.mean(values) - criterion.chance(kept)) < 4 * error
    assert abs(1.0 - criterion.chance(kept)) > 8 * error  # one-sided samples are no uniform draw
    assert criterion.chance(np.zeros(0, int)) == 1.0


@pytest.mark.parametrize("method", [name for name in METHODS if not SELECTORS[name].keeps])
def test_methods_of_whole_subsets_refuse(method, features):
    match = f"keep must be left out with method '{method}'.*got 3.*max_herding.*skmm"
    with pytest.raises(ValueError, match=match):
        choose((method, {}), features, 5, [1, 2, 3])
    assert len(choose((method, {}), features, 5, []).indices) == 5


@pytest.mark.parametrize(
    ("keep", "n", "match"),
    [
        ([1, 1], 5, "keep must be distinct, got 2"),
        ([1, N], 5, f"keep must lie in 0..{N - 1}.*got 1 to {N}"),
        ([-1], 5, "keep must lie in"),
        ([0.5], 5, "keep must be whole numbers"),
        (np.arange(N) < 9, 5, "keep must be whole numbers.*bool"),
        ([[1, 2]], 5, "keep must be whole numbers.*shape"),
        (np.arange(50), 11, r"n must be a whole number in \[1, 10\], got n=11; keep holds 50"),
        (np.arange(N), 1, r"n must be .*keep holds 60 of the pool's N=60 samples, 0 are left"),
    ],
)
def test_bad_rounds_are_refused(keep, n, match, features):
    with pytest.raises(ValueError, match=match):
        select(features, n, rng=0, keep=keep)

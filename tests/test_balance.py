"""The balanced criterion against a slow computation of both regrets; laws of the default."""

from itertools import combinations

import numpy as np
import pytest

from skmm import Spectrum, select
from skmm.rounding.exchange import exchange
from skmm.selection.selectors.balance import Balance
from skmm_study import gaussian_mixture
from skmm_study.trials.ablation import unit, variance

N, n = 13, 5
EVERY = np.array(list(combinations(range(N), n)))


def rows_of(seed, size=N, m=4):
    rng = np.random.default_rng(seed)
    return unit(rng.standard_normal((size, m)) * np.exp(rng.standard_normal((size, 1))) + 0.3)


def slow_coverage(rows, sigma=1.0):
    """Mean similarity missed, of every subset, in units of their mean: all subsets are tried."""
    gaps = np.sum((rows[:, None] - rows[None]) ** 2, axis=2)
    missed = 1 - np.exp(-gaps / sigma**2)[:, EVERY].max(axis=2).mean(axis=0)
    return missed / missed.mean()


def slow_moment(rows):
    """Distance of the fourth moment of every subset, all entries formed, in its unit."""
    tensors = np.stack([np.einsum("a,b,c,d->abcd", x, x, x, x).ravel() for x in rows])
    mean = tensors.mean(axis=0)
    spread = np.mean(np.sum((tensors - mean) ** 2, axis=1)) / n
    return np.sum((tensors[EVERY].mean(axis=1) - mean) ** 2, axis=1) / spread


def greedily(kernel):
    """The subset of greedy coverage, by brute force: of equal gains the densest row."""
    chosen = []
    for _ in range(n):
        covered = [kernel[[*chosen, i]].max(axis=0).sum() - 9 * N * (i in chosen) for i in range(N)]
        best = np.flatnonzero(np.array(covered) > max(covered) - 1e-9)
        chosen.append(int(best[kernel[best].sum(axis=1).argmax()]))
    return sorted(chosen)


def descend(values, subset):
    """Value where the steepest swaps end, each found among all of them."""
    table = dict(zip(map(frozenset, EVERY.tolist()), values, strict=True))
    subset = frozenset(subset)
    while True:
        near = [subset - {i} | {j} for i in subset for j in set(range(N)) - subset]
        before, subset = subset, min([subset, *near], key=table.get)
        if subset == before:
            return table[subset]


@pytest.mark.parametrize("weight", [0.0, 0.3, None])
@pytest.mark.parametrize("seed", range(4))
def test_value_is_the_sum_of_both_regrets(seed, weight):
    """At every subset; units, greedy start and descent on the fourth moment by brute force."""
    rows = rows_of(seed)
    balance = Balance.of(rows, n, sigma=1.0, weight=weight)
    kernel = np.exp(-np.sum((rows[:, None] - rows[None]) ** 2, axis=2))
    start = greedily(kernel)
    assert sorted(balance.start.tolist()) == start
    f, g = slow_coverage(rows), slow_moment(rows)
    at = EVERY.tolist().index(start)
    f_0, g_0 = f[at], descend(g, start)
    w = 10 * n / N if weight is None else weight
    assert balance.weight == w
    expected = (f - f_0) / (1 - f_0) + w * (g - g_0) / (1 - g_0)
    for S, value in zip(EVERY[::37], expected[::37], strict=True):
        balance.criterion.start(S)
        assert balance.criterion.value() - balance.least == pytest.approx(value, abs=1e-9)
    indices, regret = balance.descend()
    assert regret == pytest.approx(expected[EVERY.tolist().index(sorted(indices.tolist()))])
    assert regret <= expected[at] + 1e-9
    # Draws that put nothing back match moments better than those that do, by (N - n) / (N - 1).
    chance = 1 + w * ((N - n) / (N - 1) - g_0) / (1 - g_0)
    assert expected.mean() == pytest.approx(chance)


def test_regrets_are_zero_where_served_alone_and_one_by_chance():
    """On coverage alone: 0 at greedy coverage, less by what exchange adds; 1 by chance.

    The mean over 400 draws lies within 4 standard errors.
    """
    rows, rng = rows_of(0, 300, 20), np.random.default_rng(0)
    balance = Balance.of(rows, 30, sigma=1.0, weight=0.0)
    balance.criterion.start(balance.start)
    assert balance.criterion.value() == pytest.approx(balance.least)
    draws = []
    for _ in range(400):
        balance.criterion.start(rng.choice(300, 30, replace=False))
        draws.append(balance.criterion.value() - balance.least)
    assert abs(np.mean(draws) - 1) < 4 * np.std(draws) / np.sqrt(len(draws))
    assert -0.5 < balance.descend()[1] <= 0


@pytest.mark.parametrize("seed", range(5))
def test_without_weight_it_is_k_medoids(seed):
    rows = np.random.default_rng(seed).standard_normal((150, 10)) * np.geomspace(2, 0.3, 10)
    coverage = select(rows, 20, rng=0, criterion="balanced", weight=0.0)
    medoids = select(rows, 20, rng=0, method="k_medoids")
    assert set(coverage.indices) == set(medoids.indices)


@pytest.mark.parametrize("seed", range(5))
def test_descent_ends_where_no_swap_helps(seed):
    """Lower than it starts, at a subset that a descent to the end of double precision keeps."""
    balance = Balance.of(rows_of(seed, 200, 12), 25, sigma=1.0, weight=None)
    balance.criterion.start(balance.start)
    before = balance.criterion.value()
    indices, regret = balance.descend()
    assert regret < before - balance.least
    again = exchange(balance.criterion, indices)
    assert again.value - balance.least > regret - 1e-3 * abs(regret)


def test_matching_counts_where_greedy_coverage_is_worse_than_chance():
    """Eight axes: coverage asks for one sample each, and takes the others as they come.

    What is left of the moment after n/4 swaps is still 11 times a uniform draw's, which read as if
    no subset could match it, and matching did not count at all: 33 of 40 were of one axis.
    """
    rows = np.eye(8)[np.repeat(np.arange(8), 50)]
    balance = Balance.of(rows, 40, sigma=1.0, weight=None)
    taken = np.bincount(balance.start // 50, minlength=8)
    assert taken.max() > 20
    indices, regret = balance.descend()
    np.testing.assert_array_equal(np.bincount(indices // 50, minlength=8), 5)
    assert regret < 0.1


def test_the_seed_decides_nothing():
    """Rows that are not sketched give one subset: no start is drawn."""
    rows = rows_of(1, 200, 12)
    subsets = [select(rows, 25, rng=seed, criterion="balanced").indices for seed in range(5)]
    for other in subsets[1:]:
        np.testing.assert_array_equal(other, subsets[0])


TAILS = {
    "hardly any": {},
    "one half of a percent": {"tail_energy": 0.005},
    "one percent": {"tail_energy": 0.01},
    "ten percent": {"tail_energy": 0.1},
    "outliers of 0.3 percent": {"degrees": 2.5, "tail_energy": 0.003},
    "outliers of one percent": {"degrees": 2.5, "tail_energy": 0.01},
    "outliers of three percent": {"degrees": 3.0, "tail_energy": 0.03},
    "duplicates": {"duplicates": 0.9},
}


@pytest.mark.parametrize("budget", [16, 24, 40, 96])
@pytest.mark.parametrize("tail", TAILS)
def test_default_loses_no_cluster_of_a_mixture(tail, budget):
    """Eight clusters, the smallest of 1 %, from two samples a cluster on."""
    for seed in range(4):
        mixture = gaussian_mixture(600, 128, 8, rng=seed, **TAILS[tail])
        chosen = select(mixture.features, budget, rng=seed)
        assert len(np.unique(mixture.clusters[chosen.indices])) == 8


@pytest.mark.parametrize("budget", [24, 40, 96])
@pytest.mark.parametrize("tail", [0.003, 0.01])
def test_default_costs_the_fast_rate_under_a_heavy_tail(tail, budget):
    """At most 1.05 of k/n over the clusters' directions, though r̄ counts many more."""
    for seed in range(4):
        mixture = gaussian_mixture(600, 128, 8, rng=seed, tail_energy=tail, smallest_share=0.05)
        chosen = select(mixture.features, budget, rng=seed)
        assert chosen.view.spectrum.intrinsic_dimension > 40
        signal = mixture.features @ mixture.centres.T
        whitened = Spectrum.of(signal).whiten(signal, 8)
        assert variance(whitened, chosen.indices) <= 1.05

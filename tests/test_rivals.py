"""Rivals of moment matching, each against a slow computation written from its description."""

import itertools

import numpy as np
import pytest
import torch

from skmm import select
from skmm.numerics.gaussian import GaussianKernel
from skmm.selection.selectors.balls import largest_pure
from skmm.selection.selectors.centroids import _Search, loss_gradient
from skmm.selection.selectors.clusters import lloyd, spread
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.sensitivity import draw_systematically, inclusion_probabilities
from skmm.selection.view import look_at


def clusters(rng, N=90, r=6, K=7):
    """Clusters of unequal size, one of which is small enough to count as outliers."""
    sizes = rng.permutation(np.repeat(np.arange(K), N)[: N - 3] % K)
    kinds = np.append(sizes, [K] * 3)
    return 3.0 * rng.standard_normal((K + 1, r))[kinds] + 0.5 * rng.standard_normal((N, r))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def method_rng(rows, seed):
    """The generator that `select` hands to a method."""
    return look_at(rows, None, "gaussian", seed)[1]


def apart(rows):
    return np.linalg.norm(rows[:, None] - rows, axis=2)


@pytest.mark.parametrize(("n", "cap", "neighbours"), [(10, 500, 20), (30, 8, 3), (90, 9, 20)])
def test_typiclust_takes_turns(n, cap, neighbours, rng):
    """Largest cluster first, its most typical sample left, small clusters when all else is gone."""
    rows = clusters(rng)
    cells = lloyd(LinearKernel(unit(rows)), min(n, cap), rng=method_rng(rows, 1))[1]
    distances = apart(unit(rows)) ** 2
    groups = [list(np.flatnonzero(cells == c)) for c in range(min(n, cap))]
    groups = sorted((g for g in groups if g), key=lambda g: -len(g))
    expected = []
    for turn in ([g for g in groups if len(g) > 5], [g for g in groups if len(g) <= 5]):
        for group in itertools.cycle(turn):
            if len(expected) == n or not any(turn):
                break
            if group:
                count = min(neighbours, len(group) // 2)
                nearest = np.sort(distances[np.ix_(group, group)], axis=1)[:, 1 : count + 1]
                best = int(np.argmin(nearest.sum(axis=1)))
                expected.append(group.pop(best))
    options = {"method": "typiclust", "cap": cap, "neighbours": neighbours, "rng": 1}
    np.testing.assert_array_equal(select(rows, n, **options).indices, expected)


def cover(distances, radius, n):
    """Greedy maximum coverage, and again at half the radius once there is nothing to cover."""
    taken = []
    while len(taken) < n:
        covered = (distances[taken] < radius).any(axis=0)
        if covered.all():
            radius /= 2
            continue
        gains = ((distances < radius) & ~covered).sum(axis=1)
        taken.append(int(gains.argmax()))
    return taken


@pytest.mark.parametrize("delta", [None, 0.2, 0.5, 1.5])
def test_prob_cover_is_greedy_coverage(delta, rng):
    rows = clusters(rng)
    distances = apart(unit(rows))
    radius = delta
    if delta is None:
        cells = lloyd(LinearKernel(unit(rows)), 10, rng=method_rng(rows, 1))[1]
        radius = pure_radius(distances, cells)
    selection = select(rows, 40, method="prob_cover", delta=delta, rng=1)
    np.testing.assert_array_equal(selection.indices, cover(distances, radius, 40))
    assert selection.settings == ("" if delta else f"delta {radius:.3g}")


def pure_radius(distances, cells):
    """The largest distance at which 95 % of the open balls lie within one cell, by trying all."""
    share = {
        radius: np.mean([len(np.unique(cells[row < radius])) == 1 for row in distances])
        for radius in np.unique(distances[cells[:, None] != cells])
    }
    return max(radius for radius, pure in share.items() if pure >= 0.95)


@pytest.mark.parametrize("seed", range(5))
def test_radius_is_the_largest_with_pure_balls(seed):
    rng = np.random.default_rng(seed)
    rows, cells = rng.standard_normal((41, 3)), rng.integers(0, 2, 41) * (rng.random(41) < 0.3)
    found = np.sqrt(largest_pure(GaussianKernel(rows, 8.0), cells)) * 8.0
    np.testing.assert_allclose(found, pure_radius(apart(rows), cells), rtol=1e-9)


def test_prob_cover_takes_equals_last(rng):
    """Rows that equal one of the subset are covered at any radius."""
    rows = np.repeat(rng.standard_normal((8, 4)), 3, axis=0)
    indices = select(rows, 20, method="prob_cover", rng=0).indices
    assert sorted(indices[:8] // 3) == list(range(8))


def by_autograd(rows, centroids, steps, temperature):
    """The loss as it is written, through torch's gradients and torch's Adam."""
    rows = torch.from_numpy(rows)
    free = torch.from_numpy(centroids.copy()).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=1e-3)
    for _ in range(steps):
        c = torch.nn.functional.normalize(free, dim=1)
        own, nearest = torch.exp(rows @ c.T / temperature).max(dim=1)
        others = torch.exp(c.detach() @ c.T / temperature).sum(dim=0)
        loss = -torch.mean(torch.log(own / (own + others[nearest])))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return free.detach().numpy(), free.grad.numpy()


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_active_ft_has_the_gradient_of_its_loss(temperature, rng):
    rows = unit(rng.standard_normal((50, 6)))
    free = 1.3 * rows[:9] + 0.01 * rng.standard_normal((9, 6))
    gradient = by_autograd(rows, free, 1, temperature)[1]
    found = loss_gradient(rows, free, _Search(rows), temperature)
    np.testing.assert_allclose(found, gradient, atol=1e-12)


@pytest.mark.parametrize("steps", [0, 30, 300])
def test_active_ft_is_adam_and_then_the_most_similar_left(steps, rng):
    rows = clusters(rng)
    start = unit(rows)[method_rng(rows, 1).choice(90, 25, replace=False)]
    free = by_autograd(unit(rows), start, steps, 0.07)[0] if steps else start
    similar, expected = unit(free) @ unit(rows).T, []
    for row in similar:
        expected.append(next(i for i in np.argsort(-row) if i not in expected))
    found = select(rows, 25, method="active_ft", steps=steps, rng=1).indices
    np.testing.assert_array_equal(found, expected)


def test_search_tells_apart_what_single_precision_cannot(rng):
    rows = unit(rng.standard_normal((300, 5)))
    centroids = np.repeat(rows[:20], 2, axis=0)
    centroids[::2] += 1e-9 * rng.standard_normal((20, 5))
    cells, reached = _Search(rows).nearest(centroids)
    similar = rows @ centroids.T
    np.testing.assert_allclose(reached, similar.max(axis=1), atol=1e-9)
    clear = np.diff(np.sort(similar, axis=1)[:, -2:], axis=1)[:, 0] > 1.1e-10
    assert clear.sum() > 200
    np.testing.assert_array_equal(cells[clear], similar.argmax(axis=1)[clear])


@pytest.mark.parametrize(("N", "r", "rank"), [(60, 9, 4), (60, 9, 32), (30, 50, 6)])
def test_covariance_is_matched_greedily(N, r, rank, rng):
    """Each sample is the best of all that could come next, by covariances formed anew."""
    rows = unit(rng.standard_normal((N, r)) * np.geomspace(2, 0.2, r) + 0.4)
    centred = rows - rows.mean(axis=0)
    Z = centred @ np.linalg.svd(centred, full_matrices=False)[2][: min(rank, r)].T
    target = np.cov(Z.T, bias=True)

    def gap(S):
        return np.linalg.norm(np.cov(Z[S].T, bias=True) - target) if len(S) > 1 else np.inf

    selection = select(rows, 20, method="covariance_matching", rank=rank, rng=0)
    S = selection.indices.tolist()
    assert S[0] == np.argmin(np.linalg.norm(Z, axis=1))
    for k in range(1, 20):
        gaps = [np.inf if i in S[:k] else gap([*S[:k], i]) for i in range(N)]
        assert S[k] == np.argmin(gaps)
    np.testing.assert_allclose(selection.objective, gap(S) / np.linalg.norm(target), rtol=1e-9)


@pytest.mark.parametrize("n", [1, 5, 30, 89, 90])
def test_sensitivity_weighs_by_what_it_drew_with(n, rng):
    """Weights are inverse inclusion probabilities; 1/(n p) where no sample is certain."""
    rows = clusters(rng)
    count = max(1, n // 2)
    centers = spread(LinearKernel(unit(rows)), count, method_rng(rows, 1))
    squares = apart(unit(rows))[centers].min(axis=0) ** 2
    shares = 1 / 90 + squares / squares.sum() if squares.any() else np.ones(90)
    shares /= shares.sum()
    factor = next(f for f in np.geomspace(n / 3, 1e9, 400_000)
                  if np.minimum(1, f * shares).sum() >= n - 1e-9)  # fmt: skip
    inclusion = np.minimum(1, factor * shares)
    selection = select(rows, n, method="sensitivity", rng=1)
    expected = 1 / inclusion[selection.indices]
    np.testing.assert_allclose(selection.weights, expected / expected.sum(), rtol=1e-3)
    np.testing.assert_allclose(selection.weights.sum(), 1, rtol=1e-12)
    if (n * shares).max() <= 1:
        np.testing.assert_allclose(inclusion, n * shares, rtol=1e-3)


def test_inclusion_probabilities_are_met(rng):
    """Each sample is drawn as often as it should be, and weighted means are unbiased."""
    shares, values = rng.exponential(size=12) + 0.05, rng.standard_normal(12)
    inclusion = inclusion_probabilities(shares / shares.sum(), 5)
    assert 0 < np.count_nonzero(inclusion == 1.0) < 5
    np.testing.assert_allclose(inclusion.sum(), 5, rtol=1e-12)
    ratio = (inclusion / shares)[inclusion < 1]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    T, counts, means = 20_000, np.zeros(12), np.empty(20_000)
    for t in range(T):
        S = draw_systematically(inclusion, 5, rng)
        assert len(np.unique(S)) == 5
        counts[S] += 1
        means[t] = np.sum(values[S] / inclusion[S])
    error = np.sqrt(inclusion * (1 - inclusion) / T)
    assert (np.abs(counts / T - inclusion) <= 4 * error + 1e-12).all()
    assert abs(means.mean() - values.sum()) < 4 * means.std() / np.sqrt(T)


def discrepancy(K, S):
    return K[np.ix_(S, S)].mean() - 2 * K[S].mean() + K.mean()


def test_thinning_leaves_out_greedily(rng):
    """Each sample left out is the one whose absence leaves the least discrepancy."""
    from skmm.selection.selectors.thinning import leave_out

    rows = rng.standard_normal((40, 3))
    K = np.exp(-(apart(rows) ** 2))
    S = rng.permutation(40)[:25].tolist()
    found = leave_out(GaussianKernel(rows, 1.0), np.array(S), K.mean(axis=1), 9)
    while len(S) > 9:
        S.remove(min(S, key=lambda i: discrepancy(K, [j for j in S if j != i])))
    np.testing.assert_array_equal(found, S)


def test_thinning_follows_the_pool(rng):
    """Its discrepancy is far below that of uniform draws, at powers of two and in between."""
    pytest.importorskip("goodpoints")
    rows = rng.standard_normal((256, 3))
    K = np.exp(-(apart(unit(rows)) ** 2))
    for n in (32, 50, 200):
        thinned = discrepancy(K, select(rows, n, method="kernel_thinning", rng=0).indices)
        draws = [discrepancy(K, rng.permutation(256)[:n]) for _ in range(50)]
        assert thinned < 0.1 * np.mean(draws)

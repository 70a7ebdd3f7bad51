"""Each baseline against an independent computation on a small pool."""

import itertools
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.spatial.distance import cdist
from torch.nn.functional import cross_entropy

import skmm
from skmm import select
from skmm.numerics.nearness import Nearness
from skmm.numerics.ties import first_largest
from skmm.selection.selectors import Pool
from skmm.selection.selectors.cholesky import pivoted_cholesky
from skmm.selection.selectors.clusters import lloyd, spread, take_nearest_to_centroids
from skmm.selection.selectors.kernel import LinearKernel
from skmm.selection.selectors.leverage import leverage_scores, ridge_leverage_scores
from skmm.selection.selectors.metrics import METRICS, measured
from skmm.selection.selectors.ranking import largest
from skmm.spectrum import intrinsic_dimension

SHAPES = [(40, 6), (12, 30)]
"""Tall and wide; with few picks and with many, the wide pool's kernel is and is not formed."""


def draw(rng, N, r):
    return rng.standard_normal((N, r)) * np.geomspace(2, 0.2, r) + 0.4


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def indices(features, n, method, *, rng=0, **knobs):
    return select(features, n, method=method, rng=rng, **knobs).indices


def greedy(score, N, n, *, start=(), then=None):
    """Takes the largest ``score(i, taken)`` among those left, of equals the largest ``then[i]``."""
    taken = list(start)
    while len(taken) < n:
        scores = {i: score(i, taken) for i in range(N) if i not in taken}
        equals = [i for i in scores if scores[i] >= max(scores.values()) - 1e-12]
        taken.append(equals[0] if then is None else max(equals, key=lambda i: then[i]))
    return taken


@pytest.mark.parametrize("picks", [0, 1000])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_kernel_is_that_of_the_rows(picks, kind, rng):
    """Formed or not, in blocks or not: double-precision products of the rows as they are."""
    rows = draw(rng, 12, 30).astype(kind)
    kernel = LinearKernel(rows, columns=picks)
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    some = np.array([3, 0, 7])
    np.testing.assert_allclose(kernel.columns(some), exact[:, some], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(kernel.column(5), exact[:, 5], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(kernel.block(some), exact[np.ix_(some, some)], rtol=1e-12)
    np.testing.assert_allclose(kernel.energies, np.diag(exact), rtol=1e-12)
    expected = np.sum((rows - rows[4].astype(np.float64)) ** 2, axis=1)
    np.testing.assert_allclose(kernel.distances(4), expected, atol=1e-11)


@pytest.mark.parametrize(
    "method", ["herding", "herding_farthest", "k_center", "adaptive", "facility_location"]
)
def test_single_precision_is_summed_in_double(method, rng):
    """A float32 pool gives the subset of the same numbers in float64, which is summed exactly."""
    rows = draw(rng, 300, 1000).astype(np.float32)
    np.testing.assert_array_equal(
        indices(rows, 25, method), indices(rows.astype(np.float64), 25, method)
    )


def test_first_of_equals_wins():
    scores = np.array([0.0, 1.0, 1.0 + 1e-15, 0.5])
    assert first_largest(scores, 1e-14) == 1
    assert first_largest(scores, 0.0) == 2


@pytest.mark.parametrize("n", [0, 3, 9])
def test_order_of_equals_is_random_and_of_others_not(n):
    """Rounding errors and infinities make equals; each group has all its orders, over 600 seeds."""
    noise = 1e-15 * np.random.default_rng(0).standard_normal(9)
    scores = np.array([-np.inf, 2.0, 1.0, 2.0, np.inf, 1.0, np.inf, 2.0, -np.inf])
    seen = set()
    for seed in range(600):
        rng = np.random.default_rng(seed)
        chosen = largest(scores + noise, n, tolerance=1e-13, rng=rng)
        np.testing.assert_array_equal(scores[chosen], np.sort(scores)[::-1][:n])
        assert rng.random() == np.random.default_rng(seed).random(10)[9]
        seen.add(tuple(chosen.tolist()))
    assert len(seen) == {0: 1, 3: 2 * 3, 9: 2 * 6 * 2 * 2}[n]


def slow_metric(G, metric):
    """Rows as a metric takes them, up to their scale."""
    G = G - G.mean(axis=0) if metric == "centred" else G
    return G if metric == "raw" else G / np.linalg.norm(G, axis=1, keepdims=True)


in_every_metric = pytest.mark.parametrize("metric", METRICS)


@in_every_metric
@pytest.mark.parametrize(("N", "r"), SHAPES)
def test_herding_against_its_dynamics(N, r, metric, rng):
    """Welling's weight vector, moved by μ - g each time; a prefix of the order for each n."""
    features = draw(rng, N, r)
    G = slow_metric(features, metric)
    mu = G.mean(axis=0)
    order = greedy(lambda i, S: G[i] @ (mu + sum((mu - G[j] for j in S), 0 * mu)), N, N)
    for n in (1, 7, N):
        np.testing.assert_array_equal(indices(features, n, "herding", metric=metric), order[:n])


@in_every_metric
@pytest.mark.parametrize(("N", "r"), SHAPES)
def test_farthest_herding_against_distances(N, r, metric, rng):
    """The farthest from kμ minus the sum of those taken, by explicit norms; on raw rows."""
    features = draw(rng, N, r)
    G = slow_metric(features, metric)
    mu = G.mean(axis=0)

    def distance(i, S):
        return np.linalg.norm((len(S) + 1) * mu - sum((G[j] for j in S), 0 * mu) - G[i])

    chosen = indices(features, 9, "herding_farthest", metric=metric)
    np.testing.assert_array_equal(chosen, greedy(distance, N, 9))
    if metric == "raw":
        np.testing.assert_array_equal(chosen, indices(features, 9, "herding_farthest"))


def test_herding_follows_the_mean():
    """On rows of one length, the mean of n herded samples is off by O(1/n), not O(1/√n)."""
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 2000)
    G = np.column_stack([np.cos(angles), np.sin(angles), np.ones_like(angles)])
    for n in (25, 100, 400):
        error = np.linalg.norm(G[indices(G, n, "herding")].mean(axis=0) - G.mean(axis=0))
        assert error < 2 * np.sqrt(2) / n  # the radius of the marginal polytope, over n


@in_every_metric
@pytest.mark.parametrize(("N", "r"), SHAPES)
def test_k_center_against_all_distances(N, r, metric, rng):
    features = draw(rng, N, r)
    G = slow_metric(features, metric)
    apart = np.linalg.norm(G[:, None] - G[None], axis=2)
    for n in (2, 9):
        seen = indices(features, n, "k_center", metric=metric)
        expected = greedy(lambda i, S: apart[i, S].min(), N, n, start=seen[:1])
        np.testing.assert_array_equal(seen, expected)


def test_k_center_covers_within_twice_the_best(rng):
    """Gonzalez's bound, against all subsets."""
    G = draw(rng, 11, 2)
    apart = np.linalg.norm(G[:, None] - G[None], axis=2)
    radius = {S: apart[:, S].min(axis=1).max() for S in itertools.combinations(range(11), 3)}
    for seed in range(10):
        taken = tuple(sorted(indices(G, 3, "k_center", metric="raw", rng=seed)))
        assert radius[taken] <= 2 * min(radius.values()) + 1e-12


def pivot_law(K, n):
    """Probability of each ordered set of pivots, by eliminating them one at a time."""
    law = {(): (1.0, K)}
    for _ in range(n):
        longer = {}
        for pivots, (probability, residual) in law.items():
            mass = np.diag(residual).clip(0)
            for i in set(range(len(K))) - set(pivots):
                if (share := mass[i] / mass.sum()) > 1e-12:
                    left = residual - np.outer(residual[i], residual[i]) / residual[i, i]
                    longer[(*pivots, i)] = probability * share, left
        law = longer
    return {pivots: probability for pivots, (probability, _) in law.items()}


def test_blocks_of_pivots_follow_the_sequential_law(rng):
    """Frequencies of all ordered triples in T draws lie within five standard errors."""
    G = draw(rng, 5, 4)
    T = 2000
    seen = Counter(tuple(pivoted_cholesky(LinearKernel(G), 3, rng=rng).tolist()) for _ in range(T))
    law = pivot_law(G @ G.T, 3)
    assert set(seen) <= set(law)
    for pivots, p in law.items():
        assert abs(seen[pivots] - T * p) < 5 * np.sqrt(T * p * (1 - p)) + 1


def test_pivots_span_what_they_can(rng):
    """Over several blocks, every pivot adds a direction until the rank is reached, then none."""
    G = rng.standard_normal((200, 90)) @ np.diag(np.geomspace(1, 1e-3, 90))
    pivots = pivoted_cholesky(LinearKernel(G), 150, rng=rng)
    assert len(pivots) == len(np.unique(pivots)) == np.linalg.matrix_rank(G[pivots]) == 90
    assert len(np.unique(indices(G, 150, "adaptive"))) == 150


def leverage_by_inverse(G, rank, ridge):
    """Diagonal of the (ridge) hat matrix, of G or of its best rank-k part."""
    U, sigma, V = np.linalg.svd(G, full_matrices=False)
    if ridge:
        penalty = np.sum(sigma[rank:] ** 2) / rank
        return np.diag(G @ np.linalg.pinv(G.T @ G + penalty * np.eye(G.shape[1])) @ G.T)
    part = (U[:, :rank] * sigma[:rank]) @ V[:rank]
    return np.diag(part @ np.linalg.pinv(part, rcond=1e-10))


@pytest.mark.parametrize(("N", "r"), SHAPES)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [1, 4, None])
@in_every_metric
def test_leverage_against_the_hat_matrix(N, r, kind, rank, metric, rng):
    features = draw(rng, N, r).astype(kind)
    pool = Pool(features, r, "gaussian", rng)
    G = slow_metric(features.astype(float), metric)
    k = rank or intrinsic_dimension(np.linalg.svd(G)[1] ** 2, N)
    for scores, ridge in ((leverage_scores, False), (ridge_leverage_scores, True)):
        expected = leverage_by_inverse(G, k, ridge)
        np.testing.assert_allclose(scores(pool, rank, metric), expected, rtol=1e-8)
    np.testing.assert_allclose(leverage_scores(pool, rank, metric).sum(), k)
    assert ridge_leverage_scores(pool, rank, metric).sum() <= 2 * k


def test_leverage_of_a_pool_of_low_rank(rng):
    """Without a tail the ridge is zero, and both scores are the diagonal of the projector."""
    G = rng.standard_normal((20, 3)) @ rng.standard_normal((3, 8))
    pool = Pool(G, 8, "gaussian", rng)
    expected = np.diag(G @ np.linalg.pinv(G, rcond=1e-10))
    for scores in (leverage_scores, ridge_leverage_scores):
        np.testing.assert_allclose(scores(pool, 3), expected, rtol=1e-9)


@pytest.mark.parametrize(("N", "r"), [(40, 8), (20, 50)])
@pytest.mark.parametrize("scores", [leverage_scores, ridge_leverage_scores])
def test_rows_without_leverage_have_none(N, r, scores, rng):
    """Of rounding no score is left: rows of zeros are drawn last and uniformly."""
    G = rng.standard_normal((N, r))
    empty = rng.permutation(N)[: N // 2]
    G[empty] = 0.0
    seen = scores(Pool(G, r, "gaussian", rng))
    assert not seen[empty].any()
    assert np.delete(seen, empty).min() > 1e-3


def test_equal_directions_are_cut_off_together(rng):
    """With axes of one length all rows have the same leverage, whatever the rank."""
    rotated = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    for rank in (1, 7, None):
        np.testing.assert_allclose(leverage_scores(Pool(rotated, 30, "gaussian", rng), rank), 1)


@pytest.mark.parametrize("shape", [(20_000, 300), (300, 20_000)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_leverage_makes_no_copy_of_the_rows(shape, kind, rng):
    """At its peak it holds a quarter of the rows in double precision, eigenvectors included."""
    pool = Pool(rng.standard_normal(shape).astype(kind), 8, "gaussian", rng)
    tracemalloc.start()
    try:
        leverage_scores(pool)
        ridge_leverage_scores(pool)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * np.prod(shape) / 4


def test_large_pools_take_their_leverage_in_the_sketch(rng, monkeypatch):
    """Where both sides are large; of a pool of low rank the sketch keeps it exactly."""
    monkeypatch.setattr("skmm.selection.selectors.leverage._LARGE", 15)
    G = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 20))
    scores = leverage_scores(Pool(G, 10, "gaussian", rng), 3)
    np.testing.assert_allclose(scores, np.diag(G @ np.linalg.pinv(G, rcond=1e-10)), rtol=1e-8)


@pytest.mark.parametrize("method", ["leverage", "ridge_leverage"])
def test_leverage_is_the_chance_of_the_first_pick(method, rng):
    """Frequencies of a single pick over T seeds lie within five standard errors."""
    G, T = draw(rng, 6, 3), 800
    scores = leverage_by_inverse(G, 2, method == "ridge_leverage")
    p = scores / scores.sum()
    seen = np.bincount(
        [indices(G, 1, method, rng=seed, rank=2)[0] for seed in range(T)], minlength=6
    )
    assert np.all(np.abs(seen - T * p) < 5 * np.sqrt(T * p * (1 - p)))


@pytest.mark.parametrize("n", [1, 4, 10, 23, 40])
def test_classes_get_as_much_as_they_have(n, rng):
    """No class could get one more at the cost of a class with two more."""
    labels = np.repeat([3, 7, 8, 20], [1, 4, 15, 20])
    for seed in range(5):
        taken = labels[indices(np.ones((40, 1)), n, "class_balanced", rng=seed, labels=labels)]
        counts = {c: np.sum(taken == c) for c in (3, 7, 8, 20)}
        open_counts = [m for c, m in counts.items() if m < np.sum(labels == c)]
        assert not open_counts or max(counts.values()) - min(open_counts) <= 1


def test_class_balanced_is_uniform_within_classes(rng):
    """Each of ten samples of a class is taken with probability 3/10; five standard errors."""
    labels, T = np.repeat([0, 1], [10, 3]), 800
    G = np.ones((13, 1))
    seen = np.zeros(13)
    for seed in range(T):
        seen[indices(G, 6, "class_balanced", rng=seed, labels=labels)] += 1
    assert np.all(seen[10:] == T)
    assert np.all(np.abs(seen[:10] - 0.3 * T) < 5 * np.sqrt(T * 0.21))


def test_contextual_diversity_against_divergences(rng):
    p = softmax(2 * rng.standard_normal((30, 5)))
    p[3] = np.eye(5)[2]  # a certain prediction: its divergence from others stays finite
    q = np.maximum(p, 1e-12)

    def divergence(i, j):
        return 0.5 * np.sum(p[i] * np.log(q[i] / q[j]) + p[j] * np.log(q[j] / q[i]))

    seen = indices(np.ones((30, 1)), 12, "contextual_diversity", probabilities=p)
    expected = greedy(lambda i, S: min(divergence(i, j) for j in S), 30, 12, start=seen[:1])
    np.testing.assert_array_equal(seen, expected)


@pytest.fixture
def layer(rng):
    """A linear last layer: inputs, weights, logits, probabilities, labels."""
    G, weights = draw(rng, 25, 6), rng.standard_normal((4, 6))
    logits = G @ weights.T
    return G, weights, logits, softmax(logits), rng.integers(0, 4, 25)


def gradient(G, y, weights):
    """Gradient of the mean cross-entropy, by automatic differentiation."""
    W = torch.from_numpy(weights.copy()).requires_grad_()
    cross_entropy(torch.from_numpy(G) @ W.T, torch.from_numpy(y)).backward()
    return W.grad.numpy()


def test_glister_against_automatic_differentiation(layer):
    """Greedy, with steps of the weights themselves, and all samples as the validation split."""
    G, W, _, p, y = layer
    own = [gradient(G[[i]], y[[i]], W) for i in range(25)]
    eta = 0.7 / np.mean(np.sum(G**2, axis=1))

    def gain(i, S):
        return np.sum(own[i] * gradient(G, y, W - eta * sum((own[j] for j in S), 0 * W)))

    knobs = {"labels": y, "probabilities": p, "validation_share": 1.0, "step": 0.7}
    seen = indices(G, 9, "glister", updates=9, **knobs)
    np.testing.assert_array_equal(seen, greedy(gain, 25, 9))
    at_once = indices(G, 9, "glister", updates=1, **knobs)
    np.testing.assert_array_equal(at_once, sorted(range(25), key=lambda i: -gain(i, []))[:9])


def test_grand_against_automatic_differentiation(layer):
    """Largest gradient norms, the mean over two checkpoints of the same layer."""
    G, W, _, p, y = layer
    later = 0.5 * W + 0.1
    norms = [
        np.mean([np.linalg.norm(gradient(G[[i]], y[[i]], w)) for w in (W, later)])
        for i in range(25)
    ]
    both = np.stack([p, softmax(G @ later.T)])
    seen = indices(G, 25, "grand", labels=y, early_probabilities=both)
    np.testing.assert_array_equal(seen, np.argsort(norms)[::-1])
    one = indices(G, 8, "grand", labels=y, early_probabilities=p)
    np.testing.assert_array_equal(one, indices(G, 8, "grand", labels=y, early_probabilities=[p, p]))


def test_el2n_against_a_loop(layer):
    """It is GraNd without the features."""
    _, _, _, p, y = layer
    errors = [np.sqrt(sum((p[i, c] - (c == y[i])) ** 2 for c in range(4))) for i in range(25)]
    seen = indices(np.ones((25, 1)), 25, "el2n", labels=y, early_probabilities=torch.from_numpy(p))
    np.testing.assert_array_equal(seen, np.argsort(errors)[::-1])


def test_forgetting_counts_what_was_right_and_then_wrong(rng):
    """Never learnt first; among equals no place in the pool is favoured."""
    right = rng.random((6, 30)) < 0.5
    right[:, 4] = False
    right[:, 9] = True
    counts = np.array([sum(h[t] and not h[t + 1] for t in range(5)) for h in right.T], float)
    counts[~right.any(axis=0)] = np.inf
    order = indices(np.ones((30, 1)), 30, "forgetting", correctness=right)
    np.testing.assert_array_equal(counts[order], np.sort(counts)[::-1])
    always = np.ones((3, 30), bool)
    first = {
        indices(np.ones((30, 1)), 1, "forgetting", rng=s, correctness=always)[0] for s in range(9)
    }
    assert len(first) > 1


def test_deepfool_is_the_least_move_that_changes_the_class(layer, rng):
    """By moving the inputs: no shorter move in 300 directions does, the closed form's does."""
    G, W, logits, _, _ = layer
    distances = np.empty(25)
    for i, f in enumerate(logits):
        top = f.argmax()
        moves = [
            (f[top] - f[c]) / np.sum((W[top] - W[c]) ** 2) * (W[c] - W[top])
            for c in range(4)
            if c != top
        ]
        least = min(moves, key=np.linalg.norm)
        distances[i] = np.linalg.norm(least)
        assert np.argmax(W @ (G[i] + 1.001 * least)) != top
        aside = rng.standard_normal((300, 6))
        aside *= 0.999 * distances[i] / np.linalg.norm(aside, axis=1, keepdims=True)
        assert np.all(np.argmax((G[i] + aside) @ W.T, axis=1) == top)
    seen = indices(G, 25, "deepfool", logits=logits, weights=W)
    np.testing.assert_array_equal(seen, np.argsort(distances))


def test_deepfool_knows_no_boundary_between_equal_classes():
    logits = np.array([[1.0, 1.0, -3.0], [0.5, 0.5, 0.0]])
    weights = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    seen = indices(np.ones((2, 1)), 2, "deepfool", logits=logits, weights=weights)
    np.testing.assert_array_equal(seen, [1, 0])
    with pytest.raises(ValueError, match=r"weights must have C=3 rows.*\[2, 2\]"):
        indices(np.ones((2, 1)), 1, "deepfool", logits=logits, weights=weights[:2])


UNCERTAINTY = {
    "entropy": lambda p: scipy.stats.entropy(p),
    "margin": lambda p: -(sorted(p)[-1] - sorted(p)[-2]),
    "least_confidence": lambda p: 1 - max(p),
}


@pytest.mark.parametrize("method", UNCERTAINTY)
def test_uncertainty_against_a_loop(method, layer):
    p = layer[3]
    scores = [UNCERTAINTY[method](row) for row in p]
    expected = greedy(lambda i, S: scores[i], 25, 25)
    np.testing.assert_array_equal(indices(np.ones((25, 1)), 25, method, probabilities=p), expected)


PER_CLASS = 60


def saturated(C=5):
    """What a model says that is certain and right, of a pool sorted by class."""
    labels = np.repeat(np.arange(C), PER_CLASS)
    certain = np.eye(C)[labels]
    unsure = ("margin", "entropy", "least_confidence")
    knobs = {method: {"probabilities": certain} for method in unsure}
    early = {"labels": labels, "early_probabilities": certain}
    knobs |= {"el2n": early, "grand": early}
    knobs["glister"] = {"labels": labels, "probabilities": certain}
    knobs["forgetting"] = {"correctness": np.ones((4, len(labels)), bool)}
    knobs["deepfool"] = {"logits": 50 * certain, "weights": np.eye(C)}
    return labels, knobs


@pytest.mark.parametrize("method", saturated()[1])
def test_of_equals_no_class_is_favoured(method):
    """As many of each class as a uniform draw takes, within five standard deviations."""
    labels, knobs = saturated()
    N, n, C = len(labels), 100, 5
    deviation = np.sqrt(n / C * (1 - 1 / C) * (N - n) / (N - 1))
    for seed in range(4):
        chosen = indices(np.ones((N, 3)), n, method, rng=seed, **knobs[method])
        assert np.all(np.abs(np.bincount(labels[chosen], minlength=C) - n / C) < 5 * deviation)


@pytest.mark.parametrize("method", ["margin", "entropy", "least_confidence", "el2n", "grand"])
def test_equals_up_to_rounding_are_equal(method, rng):
    """Predictions that are each other's permutations differ in the last digits of their scores."""
    shares = rng.dirichlet(np.ones(7))
    p = np.repeat(np.stack([rng.permutation(shares) for _ in range(7)]), 20, axis=0)
    knobs = {"probabilities": p}
    if method in ("el2n", "grand"):
        knobs = {"early_probabilities": p, "labels": p.argmax(axis=1)}
    G, seen = np.ones((140, 3)), []
    for seed in range(9):
        seen.extend(indices(G, 40, method, rng=seed, **knobs) // 20)
    counts = np.bincount(seen, minlength=7)
    assert np.all(np.abs(counts - 360 / 7) < 5 * np.sqrt(360 / 7))


@pytest.mark.parametrize("method", UNCERTAINTY)
def test_certain_predictions_are_taken_last(method):
    """Zeros and ones among the probabilities are no obstacle."""
    p = np.array([[1.0, 0.0, 0.0], [0.4, 0.3, 0.3], [0.0, 0.0, 1.0], [0.9, 0.1, 0.0]])
    seen = indices(np.ones((4, 1)), 4, method, probabilities=p)
    np.testing.assert_array_equal(seen[:2], [1, 3])


@pytest.fixture(params=["held", "single", "not held"])
def room(request, monkeypatch):
    """Room for the similarities of a small, a larger and a large pool, in many tiles."""
    if request.param == "single":
        monkeypatch.setattr("skmm.numerics.similarity._DOUBLE", 0)
    if request.param == "not held":
        monkeypatch.setattr("skmm.numerics.similarity._SINGLE", 0)
    monkeypatch.setattr("skmm.numerics.similarity._TILE", 7)
    return request.param


@in_every_metric
@pytest.mark.parametrize(("N", "r"), SHAPES)
def test_facility_location_against_distances(room, N, r, metric, rng):
    """The least sum of distances to the subset, greedily from the medoid, by explicit norms.

    Two samples alone together are equals; that with the least distances to the pool wins.
    """
    features = draw(rng, N, r)
    G = slow_metric(features, metric)
    apart = np.linalg.norm(G[:, None] - G[None], axis=2)
    for n in (1, 2, N // 2):
        expected = greedy(
            lambda i, S: -apart[:, [*S, i]].min(axis=1).mean(), N, n, then=-apart.sum(axis=0)
        )
        chosen = indices(features, n, "facility_location", metric=metric)
        np.testing.assert_array_equal(chosen, expected)


def test_facility_location_covers_as_the_bound_says(rng):
    """Within 1 - 1/e of the best of all subsets, against the distance that none exceeds."""
    G = draw(rng, 11, 3)
    apart = np.linalg.norm(G[:, None] - G[None], axis=2)
    reach = 2 * np.linalg.norm(G - G.mean(axis=0), axis=1).max()
    gain = {
        S: np.sum(reach - apart[:, S].min(axis=1)) for S in itertools.combinations(range(11), 3)
    }
    chosen = tuple(sorted(indices(G, 3, "facility_location", metric="raw")))
    assert gain[chosen] >= (1 - 1 / np.e) * max(gain.values())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_nearness_is_what_is_left_of_the_largest_distance(room, kind, rng):
    rows = np.concatenate([draw(rng, 30, 5), np.zeros((2, 5))]).astype(kind)
    exact = rows.astype(np.float64)
    apart = np.linalg.norm(exact[:, None] - exact[None], axis=2)
    near = 1 - apart / (2 * np.linalg.norm(exact - exact.mean(axis=0), axis=1).max())
    kernel = Nearness(rows)
    tolerance = 1e-7 if room == "single" else 1e-12
    np.testing.assert_allclose(kernel.rows(np.arange(32)), near, atol=tolerance)
    np.testing.assert_allclose(kernel.sums(), near.sum(axis=1), atol=32 * tolerance)
    assert kernel.rows(np.array([30]))[0, 31] == 1.0


def test_equal_rows_are_as_near_as_can_be():
    """Whatever their mean is rounded to."""
    assert np.all(Nearness(np.full((7, 3), 0.1)).rows(np.arange(7)) == 1.0)


def test_k_means_takes_the_middle_of_each_cluster(rng):
    """Of clusters far apart: the sample nearest to each cluster's mean."""
    clusters = np.repeat(np.arange(5), 12)
    G = 100 * np.eye(5)[clusters] + rng.standard_normal((60, 5))
    middle = []
    for k in range(5):
        (members,) = np.nonzero(clusters == k)
        off = np.linalg.norm(G[members] - G[members].mean(axis=0), axis=1)
        middle.append(members[off.argmin()])
    assert sorted(indices(G, 5, "k_means", metric="raw")) == middle


@in_every_metric
@pytest.mark.parametrize("n", [3, 12, 40])
def test_lloyd_is_that_of_all_distances(n, metric, rng):
    """From the same seeds, every distance computed in every step, until nothing changes."""
    G = measured(draw(rng, 80, 4), metric)
    kernel = LinearKernel(G)
    centroids = G[spread(kernel, n, np.random.default_rng(4))]
    cells = None
    while True:
        before, cells = cells, cdist(G, centroids).argmin(axis=1)
        if np.array_equal(before, cells):
            break
        for k in np.unique(cells):
            centroids[k] = G[cells == k].mean(axis=0)
    seen = lloyd(kernel, n, rng=np.random.default_rng(4))
    np.testing.assert_allclose(seen[0], centroids, atol=1e-12)
    np.testing.assert_array_equal(seen[1], cells)


def test_k_means_takes_the_nearest_that_is_left(rng):
    """To each centroid in turn; in the default metric, unit rows."""
    G = draw(rng, 60, 4)
    unit, pool = measured(G, "unit"), Pool(G, 4, "gaussian", rng)
    chosen = take_nearest_to_centroids(pool, 25, rng=np.random.default_rng(3)).indices
    centroids, _ = lloyd(LinearKernel(unit), 25, rng=np.random.default_rng(3))
    outside = list(range(60))
    for k, centroid in enumerate(centroids):
        off = np.sum((unit[outside] - centroid) ** 2, axis=1)
        assert chosen[k] == outside.pop(np.argmax(off <= off.min() + 1e-12))  # of a pair the first


def test_lloyd_says_when_it_is_cut_short(rng, monkeypatch):
    monkeypatch.setattr("skmm.selection.selectors.clusters._STEPS", 1)
    with pytest.warns(skmm.ConvergenceWarning, match=r"k-means reached its limit of 1 steps"):
        indices(draw(rng, 200, 4), 9, "k_means")


def spread_law(G, n):
    """Probability of each ordered set of seeds, drawn one by one by squared distances."""
    apart = np.sum((G[:, None] - G[None]) ** 2, axis=2)
    law = {(i,): 1 / len(G) for i in range(len(G))}
    for _ in range(n - 1):
        longer = {}
        for seeds, p in law.items():
            mass = apart[:, seeds].min(axis=1)
            longer |= {(*seeds, i): p * m / mass.sum() for i, m in enumerate(mass) if m > 0}
        law = longer
    return law


def test_blocks_of_seeds_follow_the_sequential_law(rng):
    """Frequencies of all ordered triples in T draws lie within five standard errors."""
    G, T = draw(rng, 5, 3), 2000
    seen = Counter(tuple(spread(LinearKernel(G), 3, rng).tolist()) for _ in range(T))
    law = spread_law(G, 3)
    assert set(seen) <= set(law)
    for seeds, p in law.items():
        assert abs(seen[seeds] - T * p) < 5 * np.sqrt(T * p * (1 - p)) + 1


def test_k_means_represents_as_well_as_that_of_scikit_learn(rng):
    """To centroids and to the nearest one chosen, mean squares within 5 % over ten seeds."""
    from sklearn.cluster import KMeans

    G = rng.standard_normal((12, 6))[rng.integers(0, 12, 400)] + 0.4 * rng.standard_normal((400, 6))

    def cost(chosen):
        return np.mean(np.min(np.sum((G[:, None] - G[chosen]) ** 2, axis=2), axis=1))

    ours, theirs, inertia = [], [], []
    for seed in range(10):
        ours.append(cost(indices(G, 20, "k_means", metric="raw", rng=seed)))
        fitted = KMeans(20, n_init=1, random_state=seed).fit(G)
        theirs.append(cost(fitted.transform(G).argmin(axis=0)))
        centroids, cells = lloyd(LinearKernel(G), 20, rng=np.random.default_rng(seed))
        inertia.append(np.sum((G - centroids[cells]) ** 2) / fitted.inertia_)
    assert np.mean(ours) < 1.05 * np.mean(theirs)
    assert np.mean(inertia) < 1.05


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_k_means_of_fewer_kinds_of_rows_than_clusters(kind, rng):
    """One of each kind comes first, then others; the subset is that of any budget."""
    G = np.repeat(draw(rng, 6, 4), 5, axis=0).astype(kind)
    for n in (6, 9, 30):
        chosen = indices(G, n, "k_means", metric="raw")
        assert len(np.unique(chosen)) == n
        assert len(np.unique(chosen // 5)) == 6

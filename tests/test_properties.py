"""Laws of the public surface on data that no one has thought of: properties, by hypothesis.

A few examples each, the same in every run; SKMM_EXAMPLES=500 tries more, and others each time.
"""

import os
from types import SimpleNamespace

import cvxpy
import numpy as np
import pytest
import scipy.linalg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import skmm
from skmm.matching.simplex import best_vertex

_MORE = int(os.environ.get("SKMM_EXAMPLES", "0"))
properties = settings(
    max_examples=_MORE or 12,
    derandomize=not _MORE,
    database=None,
    deadline=None,  # a machine is slow when others use it
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
one_long_row = pytest.mark.filterwarnings("ignore:row .* alone holds:UserWarning")
seeds = st.integers(0, 2**32 - 1)
METHODS = ("skmm", "k_medoids", "facility_location", "leverage", "uniform")
"""One of a kind: exchange, a start from draws, greedy, draws by score, draws."""


@st.composite
def pools(draw, *, least=2, most=24, columns=5):
    """Pools of ordinary and of odd rows: few values, so that rows are equal, zero and dependent."""
    shape = draw(st.tuples(st.integers(least, most), st.integers(1, columns)))
    if draw(st.booleans()):
        whole = st.integers(-2, 2).map(float)
        return draw(arrays.arrays(np.float64, shape, elements=whole))
    spread = np.geomspace(1.0, draw(st.sampled_from([1.0, 0.1, 1e-3])), shape[1])
    return np.random.default_rng(draw(seeds)).standard_normal(shape) * spread


@st.composite
def tasks(draw, **limits):
    """A pool with a budget."""
    G = draw(pools(**limits))
    return G, draw(st.integers(1, len(G)))


@st.composite
def whitened(draw):
    """Generic rows in their pool's own metric, with a budget that can span them."""
    N, k = draw(st.integers(8, 24)), draw(st.integers(1, 4))
    rows = np.random.default_rng(draw(seeds)).standard_normal((N, k))
    return skmm.Spectrum.of(rows).whiten(rows, k), draw(st.integers(k, N))


def chosen(G, n, method, **settings):
    """The subset that a method chooses."""
    return skmm.select(G, n, method=method, **settings).indices


# --- the entry ------------------------------------------------------------------------------------


@one_long_row
@pytest.mark.parametrize("method", METHODS)
@properties
@given(task=tasks(), seed=seeds)
def test_selection_is_n_distinct_rows_and_the_same_again(method, task, seed):
    """Whatever the rows lie like in memory: what counts is their values."""
    G, n = task
    first = chosen(G, n, method, rng=seed)
    assert first.shape == (n,)
    assert len(np.unique(first)) == n
    assert first.min() >= 0
    assert first.max() < len(G)
    narrow = G.astype(np.float32)
    for same in (np.asfortranarray(G), np.repeat(G, 2, axis=0)[::2], G.tolist()):
        np.testing.assert_array_equal(chosen(same, n, method, rng=seed), first)
    wide = chosen(narrow.astype(np.float64), n, method, rng=seed)
    np.testing.assert_array_equal(chosen(narrow, n, method, rng=seed), wide)


@one_long_row
@pytest.mark.parametrize("method", METHODS)
@properties
@given(task=tasks(), seed=seeds, power=st.integers(-60, 60), negative=st.booleans())
def test_unit_and_sign_of_the_features_do_not_matter(method, task, seed, power, negative):
    G, n = task
    scale = (-1.0 if negative else 1.0) * 2.0**power
    expected = chosen(G, n, method, rng=seed)
    np.testing.assert_array_equal(chosen(scale * G, n, method, rng=seed), expected)


@properties
@given(N=st.integers(6, 24), n=st.integers(1, 6), seed=seeds)
def test_greedy_cover_follows_a_permutation(N, n, seed):
    """Of rows in general position the same ones are taken, wherever they stand in the pool."""
    rng = np.random.default_rng(seed)
    G, order = rng.standard_normal((N, 3)), rng.permutation(N)
    moved = chosen(G[order], n, "facility_location", rng=0)
    np.testing.assert_array_equal(order[moved], chosen(G, n, "facility_location", rng=0))


# --- the certificate ------------------------------------------------------------------------------


@properties
@given(task=tasks(least=4), seed=seeds)
def test_certificate_never_looks_better_when_samples_are_taken_away(task, seed):
    """In sums, not means: what a subset spans, and the bound on the risk at one noise."""
    G, n = task
    view = skmm.PoolView.of(G, rng=0)
    order = np.random.default_rng(seed).permutation(len(G))[: max(n, 2)]
    whole, part = (skmm.certify(view, some) for some in (order, order[: len(order) // 2]))
    k = whole.dimension
    assert part.dimension == k
    assert part.slack / part.n >= whole.slack / whole.n * (1 - 1e-9) or k == 0
    assert part.variance / part.n >= whole.variance / whole.n * (1 - 1e-9) or k == 0
    noise = {"noise_variance": 0.3, "theta_norm": 2.0}
    assert part.risk_bound(**noise) >= whole.risk_bound(**noise) - 1e-9 * whole.trace


@properties
@given(G=pools(least=4), seed=seeds, copies=st.integers(2, 4))
def test_a_pool_said_twice_has_the_same_moment(G, seed, copies):
    """Copies of the pool and of the subset, equally many, change no share, slack or variance."""
    view, again = (skmm.PoolView.of(rows, rng=0) for rows in (G, np.tile(G, (copies, 1))))
    np.testing.assert_allclose(
        again.spectrum.eigenvalues, view.spectrum.eigenvalues, atol=1e-12 * view.spectrum.trace
    )
    some = np.random.default_rng(seed).permutation(len(G))[: len(G) // 2]
    everywhere = np.concatenate([some + len(G) * i for i in range(copies)])
    k = view.spectrum.leading()
    if k and again.spectrum.leading(k) == k:
        one, other = skmm.certify(view, some, k=k), skmm.certify(again, everywhere, k=k)
        np.testing.assert_allclose(other.slack, one.slack, rtol=1e-6)
        np.testing.assert_allclose(other.variance, one.variance, rtol=1e-6)


@properties
@given(G=pools())
def test_whole_pool_is_a_perfect_match(G):
    certificate = skmm.certify(skmm.PoolView.of(G, rng=0), np.arange(len(G)))
    np.testing.assert_allclose([certificate.slack, certificate.variance], 1.0, rtol=1e-6)
    assert abs(certificate.bias_share - certificate.least_bias_share) < 1e-9


# --- sketch and spectrum --------------------------------------------------------------------------


@pytest.mark.parametrize("name", skmm.SKETCHES)
@properties
@given(G=pools(columns=16), seed=seeds, scale=st.floats(-100, 100), data=st.data())
def test_sketch_is_linear_and_takes_rows_one_by_one(name, G, seed, scale, data):
    r = G.shape[1]
    m = data.draw(st.integers(1, r), label="m")
    sketch = skmm.SKETCHES[name].draw(r, m, rng=seed)
    size = 1e-12 * (1 + np.abs(G).max() * (1 + abs(scale)) * r)
    mixed = sketch(scale * G + G[::-1])
    np.testing.assert_allclose(mixed, scale * sketch(G) + sketch(G)[::-1], atol=size)
    np.testing.assert_allclose(np.stack([sketch(row) for row in G]), sketch(G), atol=size)
    np.testing.assert_allclose(G @ sketch(np.eye(r)), sketch(G), atol=size)
    assert not sketch(np.zeros(r)).any()


@properties
@given(G=pools())
def test_spectrum_is_that_of_the_moment(G):
    """Trace, Frobenius norm, eigenvectors: identities, and LAPACK's singular values."""
    spectrum = skmm.Spectrum.of(G)
    N, size = len(G), max(spectrum.trace, 1e-300)
    moment, V = G.T @ G / N, spectrum.eigenvectors
    np.testing.assert_allclose(spectrum.trace, np.sum(G**2) / N, rtol=1e-12)
    np.testing.assert_allclose(V.T @ V, np.eye(len(V)), atol=1e-12)
    np.testing.assert_allclose(V * spectrum.eigenvalues @ V.T, moment, atol=1e-10 * size)
    singular = np.zeros(len(V))
    singular[: min(G.shape)] = scipy.linalg.svdvals(G) ** 2 / N
    np.testing.assert_allclose(spectrum.eigenvalues, singular, atol=1e-10 * size)
    assert spectrum.intrinsic_dimension <= len(V)
    assert spectrum.tail_share(spectrum.intrinsic_dimension) <= 1 / N + 1e-9


# --- the capped simplex ---------------------------------------------------------------------------

vectors = arrays.arrays(np.float64, st.integers(1, 12), elements=st.floats(-3, 3, width=32))


@properties
@given(y=vectors, data=st.data())
def test_projection_is_feasible_nearest_and_idempotent(y, data):
    """The variational inequality at the worst vertex proves that no feasible point is nearer."""
    n = data.draw(st.integers(1, len(y)), label="n")
    s = skmm.project_capped_simplex(y, n)
    assert s.min() >= 0
    assert s.max() <= 1 / n
    np.testing.assert_allclose(s.sum(), 1.0, rtol=1e-12)
    _, least = best_vertex(s - y, n)
    assert (s - y) @ s - least <= 1e-12
    np.testing.assert_allclose(skmm.project_capped_simplex(s, n), s, atol=1e-15)
    np.testing.assert_allclose(skmm.project_capped_simplex(y + 7.0, n), s, atol=1e-13)
    np.testing.assert_allclose(skmm.project_capped_simplex(y[::-1], n)[::-1], s, atol=1e-15)


@settings(properties, max_examples=_MORE or 6)
@given(y=vectors, data=st.data())
def test_projection_is_what_a_solver_finds(y, data):
    n = data.draw(st.integers(1, len(y)), label="n")
    s = cvxpy.Variable(len(y))
    constraints = [s >= 0, s <= 1 / n, cvxpy.sum(s) == 1]
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(s - y)), constraints).solve(
        solver=cvxpy.CLARABEL, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-13
    )
    np.testing.assert_allclose(skmm.project_capped_simplex(y, n), s.value, atol=1e-5)


# --- matching and rounding ------------------------------------------------------------------------

CRITERIA = {
    "second": skmm.SecondMoment,
    "second and mean": lambda rows, n: skmm.SecondMoment(rows, n, mean=True),
    "fourth": skmm.FourthMoment,
    "coverage": skmm.Coverage,
    "variance": skmm.VOptimality,
    "both": lambda rows, n: skmm.Combination(
        [(1.0, skmm.Coverage(rows, n)), (0.5, skmm.SecondMoment(rows, n))]
    ),
}


@pytest.mark.parametrize("name", CRITERIA)
@properties
@given(task=tasks(), seed=seeds)
def test_exchange_never_ends_worse_than_it_began(name, task, seed):
    """And at the end that it says it reached, no swap helps, by the value from scratch."""
    rows, n = task
    criterion = CRITERIA[name](rows, n)
    start = np.random.default_rng(seed).permutation(len(rows))[:n]

    def value(indices):
        criterion.start(np.asarray(indices))
        return criterion.value(), criterion.scale()

    before, _ = value(start)
    end = skmm.exchange(criterion, start)
    after, scale = value(end.indices)
    assert end.indices.shape == (n,)
    np.testing.assert_allclose(end.value, after, atol=1e-8 * scale)
    assert after <= before + 1e-9 * scale
    assert end.converged
    outside = np.setdiff1d(np.arange(len(rows)), end.indices)
    for i in range(min(n, 3)):
        for j in outside[:5]:
            assert value(np.append(np.delete(end.indices, i), j))[0] >= after - 1e-7 * scale


@properties
@given(task=whitened(), seed=seeds)
def test_no_subset_is_below_the_proven_bound(task, seed):
    rows, n = task
    design = skmm.bound_v_optimality(rows, n, tolerance=1e-2)
    assert design.lower_bound <= design.value
    np.testing.assert_allclose(skmm.v_optimality(rows, design.s), design.value, rtol=1e-6)
    for some in np.random.default_rng(seed).permuted(np.tile(np.arange(len(rows)), (9, 1)), axis=1):
        subset = np.bincount(some[:n], minlength=len(rows)) / n
        assert skmm.v_optimality(rows, subset) >= design.lower_bound * (1 - 1e-9)


@properties
@given(task=whitened(), seed=seeds, slack=st.floats(0.7, 2.0))
def test_relaxed_weights_are_feasible_and_no_worse_than_uniform(task, seed, slack):
    rows, n = task
    shares = rows**2
    relaxed = skmm.match_moments(shares, n, rng=seed, slack=slack)
    assert relaxed.s.min() >= -1e-15
    assert relaxed.s.max() <= (1 + 1e-12) / n
    np.testing.assert_allclose(relaxed.s.sum(), 1.0, rtol=1e-9)
    lack = np.maximum(1 / slack - shares.mean(axis=0), 0.0)
    assert relaxed.objective <= 0.5 * lack @ lack + 1e-9
    for indices in (
        skmm.round_to_top(np.maximum(relaxed.s, 0), n),
        skmm.round_by_sampling(np.maximum(relaxed.s, 0), n, rng=seed),
        skmm.round_by_regret(np.full(len(rows), 1 / len(rows)), rows, n),
    ):
        assert len(np.unique(indices)) == n


# --- training -------------------------------------------------------------------------------------


@properties
@given(G=pools(least=3), seed=seeds, alpha=st.floats(1e-3, 10.0))
def test_ridge_solves_its_normal_equations(G, seed, alpha):
    """And a row said twice is a row of twice the weight."""
    rng = np.random.default_rng(seed)
    y, twice = rng.standard_normal(len(G)), rng.integers(1, 3, len(G))
    (theta,) = skmm.RidgePath.fit(G, y, alphas=[alpha]).coefficients
    slope = G.T @ (G @ theta - y) / len(G) + alpha * theta
    np.testing.assert_allclose(slope, 0.0, atol=1e-9 * (1 + np.abs(G).max()) ** 2)
    said = np.repeat(np.arange(len(G)), twice)
    (copied,) = skmm.RidgePath.fit(G[said], y[said], alphas=[alpha]).coefficients
    weighted = skmm.RidgePath.fit(G, y, alphas=[alpha], weights=twice / twice.sum())
    np.testing.assert_allclose(weighted.coefficients[0], copied, atol=1e-7)


# --- hostile input --------------------------------------------------------------------------------

GOOD = np.random.default_rng(1).standard_normal((12, 3))
WHITE = skmm.Spectrum.of(GOOD).whiten(GOOD, 3)
EQUAL = np.full(12, 1 / 12)
VIEW = skmm.PoolView.of(GOOD, rng=0)
junk = st.one_of(
    st.none(), st.text(max_size=3), st.builds(object), st.dictionaries(st.text(), st.none())
)
broken = st.sampled_from([np.nan, np.inf, -np.inf])
not_a_number = st.one_of(junk, st.floats(-1e3, 1e3).filter(lambda x: x != int(x)), broken)
HOSTILE = SimpleNamespace(
    budget=st.one_of(
        not_a_number, st.integers(max_value=0), st.integers(min_value=13), st.booleans()
    ),
    seed=st.one_of(not_a_number, st.integers(max_value=-1), st.booleans()),
    positive=st.one_of(junk, broken, st.floats(max_value=0.0), st.booleans()),
    rows=st.one_of(
        junk,
        arrays.arrays(np.float64, arrays.array_shapes(min_dims=1, max_dims=1)),
        arrays.arrays(np.float64, arrays.array_shapes(min_dims=3, max_dims=3)),
        arrays.arrays(complex, (12, 3)),
        st.just(np.zeros((0, 3))),
        st.just([[1.0], [1.0, 2.0]]),
        st.builds(
            lambda bad, at: np.where(np.arange(36).reshape(12, 3) == at, bad, GOOD),
            broken,
            st.integers(0, 35),
        ),
    ),
    vector=st.one_of(
        junk,
        arrays.arrays(np.float64, (12, 2)),
        arrays.arrays(complex, 12),
        st.just(1.0),
        st.just([[1.0], [1.0, 2.0]]),
        st.builds(
            lambda bad, at: np.where(np.arange(12) == at, bad, EQUAL), broken, st.integers(0, 11)
        ),
    ),
    indices=st.one_of(
        junk,
        st.lists(st.integers(12, 99), min_size=1),
        st.lists(st.integers(max_value=-1), min_size=1),
        st.integers(0, 11).map(lambda i: [i, i]),
        st.lists(st.floats(0, 11), max_size=3),
        st.just([[0, 1]]),
    ),
)
CALLS = [
    ("features", "rows", lambda x: skmm.select(x, 1, rng=0)),
    ("features", "rows", lambda x: skmm.PoolView.of(x, rng=0)),
    ("n", "budget", lambda x: skmm.select(GOOD, x, rng=0)),
    ("rng", "seed", lambda x: skmm.select(GOOD, 3, rng=x)),
    ("m", "budget", lambda x: skmm.PoolView.of(GOOD, rng=0, m=0 if x is None else x)),
    ("method", "indices", lambda x: skmm.select(GOOD, 3, rng=0, method=x)),
    ("sketch", "indices", lambda x: skmm.select(GOOD, 3, rng=0, sketch=x)),
    ("indices", "indices", lambda x: skmm.certify(VIEW, x)),
    ("k", "budget", lambda x: skmm.certify(VIEW, [0, 1], k=0 if x is None else x)),
    ("rows", "rows", skmm.Spectrum.of),
    ("rows", "rows", lambda x: skmm.moment_shares(x, VIEW.spectrum)),
    ("rows", "rows", lambda x: skmm.SecondMoment(x, 1)),
    ("rows", "rows", lambda x: skmm.FourthMoment(x, 1)),
    ("rows", "rows", lambda x: skmm.Coverage(x, 1)),
    ("whitened", "rows", lambda x: skmm.VOptimality(x, 1)),
    ("shares", "rows", lambda x: skmm.DiagonalShortfall(x, 1)),
    ("n", "budget", lambda x: skmm.SecondMoment(GOOD, x)),
    ("n", "budget", lambda x: skmm.FourthMoment(GOOD, x)),
    ("n", "budget", lambda x: skmm.Coverage(GOOD, x)),
    ("n", "budget", lambda x: skmm.VOptimality(WHITE, x)),
    ("n", "budget", lambda x: skmm.DiagonalShortfall(WHITE**2, x)),
    ("sigma", "positive", lambda x: skmm.Coverage(GOOD, 2, sigma=x)),
    ("alpha", "positive", lambda x: skmm.VOptimality(WHITE, 2, alpha=x)),
    ("slack", "positive", lambda x: skmm.DiagonalShortfall(WHITE**2, 2, slack=x)),
    ("indices", "indices", lambda x: skmm.exchange(skmm.SecondMoment(GOOD, 2), x)),
    ("indices", "indices", lambda x: skmm.exchange(skmm.Coverage(GOOD, 2), x)),
    ("shares", "rows", lambda x: skmm.match_moments(x, 1, rng=0)),
    ("n", "budget", lambda x: skmm.match_moments(WHITE**2, x, rng=0)),
    ("slack", "positive", lambda x: skmm.match_moments(WHITE**2, 4, rng=0, slack=x)),
    ("rows", "rows", lambda x: skmm.adam_clip_renormalise(x, VIEW.spectrum, 1, rng=0, steps=1)),
    ("whitened", "rows", lambda x: skmm.bound_v_optimality(x, 4)),
    ("n", "budget", lambda x: skmm.bound_v_optimality(WHITE, x)),
    ("whitened", "rows", lambda x: skmm.v_optimality(x, EQUAL)),
    ("s", "vector", lambda x: skmm.v_optimality(WHITE, x)),
    ("y", "vector", lambda x: skmm.project_capped_simplex(x, 1)),
    ("n", "budget", lambda x: skmm.project_capped_simplex(EQUAL, x)),
    ("s", "vector", lambda x: skmm.round_to_top(x, 1)),
    ("s", "vector", lambda x: skmm.round_by_sampling(x, 1, rng=0)),
    ("n", "budget", lambda x: skmm.round_to_top(EQUAL, x)),
    ("s", "vector", lambda x: skmm.round_by_regret(x, WHITE, 3)),
    ("whitened", "rows", lambda x: skmm.round_by_regret(EQUAL, x, 3)),
    ("features", "rows", skmm.RidgeRisk.of),
    ("features", "rows", lambda x: skmm.RidgePath.fit(x, EQUAL, alphas=[1.0])),
    ("m", "budget", lambda x: skmm.GaussianSketch.draw(12, 0 if x is None else x, rng=0)),
    ("rng", "seed", lambda x: skmm.SRHT.draw(12, 4, rng=x)),
]


@pytest.mark.parametrize(
    ("argument", "kind", "call"), CALLS, ids=[f"{i}-{call[0]}" for i, call in enumerate(CALLS)]
)
@properties
@given(data=st.data())
def test_hostile_input_is_named(argument, kind, call, data):
    """A ValueError whose first word is the argument: no other error, and never an answer."""
    value = data.draw(getattr(HOSTILE, kind), label=argument)
    with pytest.raises(ValueError, match=rf"^{argument} (must|is empty)"):
        call(value)

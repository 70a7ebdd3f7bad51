"""Risk on a fixed design: closed forms, noise draws, dense formulas and the paper's bound."""

import numpy as np
import pytest

from skmm.training.ridge import RidgePath
from skmm.training.risk import RidgeRisk

ALPHAS = np.r_[0, np.geomspace(1e-4, 1, 11)]
# Pool and selection: kernel with a shared Gram matrix, kernel, primal, and one sample.
REGIMES = {"N<r": (40, 90, 12), "n<r<N": (60, 20, 9), "r<n": (60, 8, 25), "n=1": (30, 6, 1)}


def design(N, r, n, seed=0):
    """A pool with decaying spectrum, a selection, and the truth θ*."""
    rng = np.random.default_rng(seed)
    G = rng.standard_normal((N, r)) * np.geomspace(1, 0.05, r)
    theta = rng.standard_normal(r)
    return G, rng.choice(N, n, replace=False), theta


@pytest.fixture(params=REGIMES.values(), ids=REGIMES.keys())
def case(request):
    return design(*request.param)


def dense_split(G, S, theta, noise_variance, alpha):
    """Variance and bias with explicit r × r matrices."""
    Σ, Σ_S = G.T @ G / len(G), G[S].T @ G[S] / len(S)
    inverse = np.linalg.pinv(Σ_S + alpha * np.eye(len(Σ)), rcond=1e-12, hermitian=True)
    shift = inverse @ Σ_S @ theta - theta
    variance = noise_variance / len(S) * np.trace(Σ @ inverse @ Σ_S @ inverse)
    return variance, shift @ Σ @ shift


def test_excess_risk_equals_the_dense_formula(case):
    """No r × r matrix is needed: the two parts equal tr and quadratic forms of such matrices."""
    G, S, theta = case
    split = RidgeRisk.of(G).on(S).excess_risk(G @ theta, noise_variance=0.7, alphas=ALPHAS)
    slow = np.array([dense_split(G, S, theta, 0.7, alpha) for alpha in ALPHAS])
    np.testing.assert_allclose(split.variance, slow[:, 0], rtol=1e-7)
    np.testing.assert_allclose(split.bias, slow[:, 1], rtol=1e-7, atol=1e-12)


def test_excess_risk_is_the_mean_over_noise(case):
    """The mean of ‖θ_S − θ*‖²_Σ over noise draws lies within 5 standard errors, every penalty."""
    G, S, theta = case
    draws, alphas = 4000, ALPHAS[::3]
    z = 0.8 * np.random.default_rng(1).standard_normal((len(S), draws))
    fits = RidgePath.fit(G[S], (G[S] @ theta)[:, None] + z, alphas=alphas).coefficients
    risks = np.mean(np.square(G @ (fits - theta[:, None])), axis=1)
    split = RidgeRisk.of(G).on(S).excess_risk(G @ theta, noise_variance=0.64, alphas=alphas)
    error = risks.std(axis=1) / np.sqrt(draws)
    assert (np.abs(risks.mean(axis=1) - split.total) < 5 * error).all()


def test_bias_is_the_risk_without_noise(case):
    """Fitting noise-free labels leaves the bias alone, so two code paths must agree."""
    G, S, theta = case
    pool = RidgeRisk.of(G)
    bias = pool.on(S).excess_risk(G @ theta, noise_variance=1, alphas=ALPHAS).bias
    risk = pool.empirical_risk(S, G @ theta, alphas=ALPHAS)
    np.testing.assert_allclose(bias, risk, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("T", [None, 3])
@pytest.mark.parametrize("alphas", [ALPHAS, ALPHAS[-2:]], ids=["eigen", "cholesky"])
def test_empirical_risk_is_that_of_the_fit(case, T, alphas):
    """Through the pool's Gram matrix or through coefficients, the risk is the same."""
    G, S, _ = case
    y = np.random.default_rng(2).standard_normal((len(G), T) if T else len(G))
    residual = RidgePath.fit(G[S], y[S], alphas=alphas).predict(G) - y
    slow = np.sum(residual.reshape(len(alphas), -1) ** 2, axis=1) / len(G)
    np.testing.assert_allclose(RidgeRisk.of(G).empirical_risk(S, y, alphas=alphas), slow)


def test_variance_scales_with_noise_and_bias_with_signal(case):
    """The variance is linear in σ², the bias quadratic in θ*, and neither sees the other."""
    G, S, theta = case
    seen = RidgeRisk.of(G).on(S)
    one = seen.excess_risk(G @ theta, noise_variance=1, alphas=ALPHAS)
    two = seen.excess_risk(G @ theta * 3, noise_variance=2, alphas=ALPHAS)
    np.testing.assert_allclose(two.variance, 2 * one.variance)
    np.testing.assert_allclose(two.bias, 9 * one.bias, atol=1e-12)


def test_order_and_rotation_do_not_matter(case):
    """The order of the pool, of the selection and the basis of features leave the risk alone."""
    G, S, theta = case
    rng = np.random.default_rng(3)
    order, Q = rng.permutation(len(G)), np.linalg.qr(rng.standard_normal((G.shape[1],) * 2))[0]
    moved = rng.permutation(np.argsort(order)[S])
    here = RidgeRisk.of(G).on(S).excess_risk(G @ theta, noise_variance=1)
    there = RidgeRisk.of(G[order] @ Q).on(moved)
    there = there.excess_risk((G @ theta)[order], noise_variance=1, alphas=here.path)
    np.testing.assert_allclose(there.total, here.total, rtol=1e-6, atol=1e-12)


def test_best_is_the_least_total(case):
    G, S, theta = case
    split = RidgeRisk.of(G).on(S).excess_risk(G @ theta, noise_variance=1)
    assert split.best.total.item() == split.total.min()
    assert split.best.path.item() == split.path[np.argmin(split.total)]


def test_v_optimality_is_the_risk_without_a_penalty():
    """Where the selection spans the pool, α = 0 has no bias and variance (σ²/n) tr(Σ Σ_S⁻¹)."""
    G, S, theta = design(60, 8, 25)
    seen = RidgeRisk.of(G).on(S)
    split = seen.excess_risk(G @ theta, noise_variance=0.3, alphas=0.0)
    dense = 0.3 / 25 * np.trace(G.T @ G / 60 @ np.linalg.inv(G[S].T @ G[S] / 25))
    np.testing.assert_allclose(seen.risk_without_penalty(noise_variance=0.3), dense)
    np.testing.assert_allclose(split.variance, dense)
    np.testing.assert_allclose(split.bias, 0, atol=1e-20)


def test_v_optimality_of_the_whole_pool_is_the_dimension():
    """S = all: tr(Σ Σ⁻¹) = r, so the value is σ² r / N."""
    G, _, _ = design(60, 8, 25)
    value = RidgeRisk.of(G).on(np.arange(60)).risk_without_penalty(noise_variance=2.0)
    np.testing.assert_allclose(value, 2 * 8 / 60)


def test_v_optimality_is_infinite_where_a_direction_is_missed():
    G, S, _ = design(60, 20, 9)
    assert RidgeRisk.of(G).on(S).risk_without_penalty(noise_variance=1.0) == np.inf


def test_bound_equals_the_dense_formula(case):
    """Both terms of Theorem 2.2 equal explicit traces with P onto the k leading eigenvectors."""
    G, S, _ = case
    bound = RidgeRisk.of(G).on(S).theorem_2_2(noise_variance=0.5, theta_norm=2.0)
    Σ, Σ_S = G.T @ G / len(G), G[S].T @ G[S] / len(S)
    vectors = np.linalg.eigh(Σ_S)[1][:, ::-1]
    for k, variance, bias in zip(bound.path, bound.variance, bound.bias, strict=True):
        P = vectors[:, :k] @ vectors[:, :k].T
        inverse = np.linalg.pinv(P @ Σ_S @ P, rcond=1e-10, hermitian=True)
        np.testing.assert_allclose(variance, 2 * 0.5 / len(S) * np.trace(Σ @ inverse), rtol=1e-6)
        np.testing.assert_allclose(bias, 8 * (np.trace(Σ) - np.trace(P @ Σ)), atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_theorem_2_2(seed):
    """The best penalty's excess risk is below the bound at every rank, whatever the spectrum."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        N, r = rng.integers(2, 60, 2)
        G = rng.standard_normal((N, r)) * np.arange(1, r + 1.0) ** -rng.uniform(0, 2)
        G *= rng.uniform(0.1, 3, (N, 1))
        S = rng.choice(N, rng.integers(1, N + 1), replace=False)
        theta, noise_variance = rng.standard_normal(r), 10 ** rng.uniform(-3, 1)
        seen = RidgeRisk.of(G).on(S)
        risk = seen.excess_risk(G @ theta, noise_variance=noise_variance).best.total
        bound = seen.theorem_2_2(noise_variance=noise_variance, theta_norm=np.linalg.norm(theta))
        assert (risk <= bound.total).all()


def test_an_empty_span_has_full_bias():
    """A selection of zero rows learns nothing: no variance, and the bias is the signal's energy."""
    G = np.vstack([np.zeros((2, 5)), np.eye(5)])
    split = RidgeRisk.of(G).on([0, 1]).excess_risk(G @ np.ones(5), noise_variance=1)
    assert not split.variance.any()
    np.testing.assert_allclose(split.bias, 5 / 7)


@pytest.mark.parametrize("indices", [[], [[0]], [0, 0], [-1], [40], [0.5], [True]])
def test_bad_selections_are_named(indices):
    pool = RidgeRisk.of(design(40, 6, 4)[0])
    with pytest.raises(ValueError, match="indices must "):
        pool.on(indices)
    with pytest.raises(ValueError, match="indices must "):
        pool.empirical_risk(indices, np.ones(40), alphas=1.0)


@pytest.mark.parametrize("value", [-1.0, 0, np.nan, "1"])
def test_bad_scales_are_named(value):
    seen = RidgeRisk.of(design(40, 6, 10)[0]).on([0, 1, 2])
    with pytest.raises(ValueError, match="noise_variance must be"):
        seen.excess_risk(np.ones(40), noise_variance=value)
    with pytest.raises(ValueError, match="noise_variance must be"):
        seen.risk_without_penalty(noise_variance=value)
    with pytest.raises(ValueError, match="theta_norm must be"):
        seen.theorem_2_2(noise_variance=1.0, theta_norm=value)


def test_a_signal_of_another_pool_is_named():
    seen = RidgeRisk.of(design(40, 6, 10)[0]).on([0, 1, 2])
    with pytest.raises(ValueError, match=r"got shape \[39\]"):
        seen.excess_risk(np.ones(39), noise_variance=1.0)

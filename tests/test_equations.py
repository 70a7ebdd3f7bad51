"""Every equation of the paper that the library uses: the equation in a docstring, then its proof.

The right-hand sides are computed as the paper writes them, densely and slowly.
"""

import warnings
from itertools import combinations

import numpy as np
import pytest
import scipy.linalg

from skmm.matching.design import bound_v_optimality, v_optimality
from skmm.matching.program import match_moments, moment_shares
from skmm.matching.simplex import project_capped_simplex
from skmm.numerics.convergence import ConvergenceWarning
from skmm.selection.certificate import certify
from skmm.selection.view import PoolView
from skmm.sketching import GaussianSketch
from skmm.spectrum import Spectrum, intrinsic_dimension
from skmm.training.risk import RidgeRisk
from skmm_study.theory.agreement import compare_moments
from skmm_study.theory.distortion import (
    batched_dimension,
    distance_tail,
    effective_dimension,
    gram_error,
    reconstruction_bound,
    reconstruction_error,
    sketch_afresh,
)
from skmm_study.theory.tightness import subspace_bound


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    G = rng.standard_normal((60, 5)) * np.geomspace(2, 0.2, 5)
    return G, Spectrum.of(G)


def best_projector(matrix, k):
    return (vectors := scipy.linalg.eigh(matrix)[1][:, -k:]) @ vectors.T


def test_second_moment(pool):
    r"""Section 2: :math:`\Sigma = G^\top G/N = \sum_j \lambda_j v_j v_j^\top`, not centred."""
    G, spectrum = pool
    slow = sum(np.outer(g, g) for g in G) / len(G)
    pairs = zip(spectrum.eigenvalues, spectrum.eigenvectors.T, strict=True)
    np.testing.assert_allclose(sum(lam * np.outer(v, v) for lam, v in pairs), slow, atol=1e-13)


@pytest.mark.parametrize("N", [2, 7, 60])
def test_intrinsic_dimension(pool, N):
    r"""The paper's intrinsic dimension.

    :math:`\bar r = \min\{t: \mathrm{tr}(\Sigma-\langle\Sigma\rangle_t)
    \le \mathrm{tr}(\Sigma)/N\}`.
    """
    G, spectrum = pool
    sigma = G.T @ G / len(G)
    for t in range(6):
        projector = best_projector(sigma, t) if t else np.zeros((5, 5))
        if np.trace(sigma - projector @ sigma @ projector) <= np.trace(sigma) / N:
            break
    assert intrinsic_dimension(spectrum.eigenvalues, N) == t


def test_sketch_is_unbiased_with_variance_two_over_m():
    r"""Section 3.1: sketched norms are unbiased.

    :math:`\mathbb E\|x\Gamma\|^2 = \|x\|^2` and
    :math:`\mathrm{Var}\,\|x\Gamma\|^2 = 2\|x\|^4/m`, when :math:`\Gamma_{ij}\sim\mathcal N(0,1/m)`.
    """
    T, r, m = 2000, 30, 10
    x = np.random.default_rng(0).standard_normal(r)
    x /= np.linalg.norm(x)
    norms = np.array([np.sum(GaussianSketch.draw(r, m, rng=t)(x) ** 2) for t in range(T)])
    assert abs(norms.mean() - 1) < 4 * np.sqrt(2 / (m * T))
    # ‖xΓ‖² is a chi-squared over m, whose sample variance has the kurtosis 3 + 12/m.
    assert abs(norms.var() - 2 / m) < 4 * 2 / m * np.sqrt((2 + 12 / m) / T)


def test_capped_simplex_projection_is_optimal():
    r"""Algorithm 3.1: the feasible set.

    :math:`s\in\mathcal C_n=\{0\le s_i\le 1/n,\ \sum s_i=1\}`, the
    hull of the subsets; :math:`\langle y-s, v-s\rangle\le 0` for each of them.
    """
    n, y = 3, np.random.default_rng(0).standard_normal(8)
    s = project_capped_simplex(y, n)
    for subset in combinations(range(8), n):
        vertex = np.zeros(8)
        vertex[list(subset)] = 1 / n
        assert (y - s) @ (vertex - s) <= 1e-15


@pytest.mark.parametrize("slack", [0.4, 1.0, 2.5])
def test_gamma_in_closed_form(pool, slack):
    r"""Algorithm 3.1: the best γ in closed form.

    :math:`\min_{\gamma_j\ge 1/c_S}(a_j-\gamma_j\lambda_j)^2
    = \max(0, \lambda_j/c_S-a_j)^2`, attained at :math:`\gamma_j=\max(1/c_S, a_j/\lambda_j)`.
    """
    G, spectrum = pool
    s = project_capped_simplex(np.random.default_rng(1).random(60) / 10, 10)
    relaxed = match_moments(moment_shares(G, spectrum), 10, rng=0, slack=slack)
    for weights, gamma in ((s, None), (relaxed.s, relaxed.gamma)):
        a = np.array([v @ G.T @ np.diag(weights) @ G @ v for v in spectrum.eigenvectors.T])
        best = np.maximum(1 / slack, a / spectrum.eigenvalues)
        least = (a - best * spectrum.eigenvalues) ** 2
        closed = np.maximum(0, spectrum.eigenvalues / slack - a) ** 2
        np.testing.assert_allclose(least, closed, atol=1e-14)
        for other in np.linspace(1 / slack, 5 / slack, 400):
            assert np.all(least <= (a - other * spectrum.eigenvalues) ** 2 + 1e-14)
        if gamma is not None:
            np.testing.assert_allclose(gamma, best, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("slack", [0.3, 0.4])
def test_program_with_gamma_equals_program_without(pool, slack, scaled):
    r"""Algorithm 3.1: the program with and without γ.

    :math:`\min_{s\in\mathcal C_n,\,\gamma\ge 1/c_S}\sum_j
    (v_j^\top\tilde G^\top\mathrm{diag}(s)\tilde G v_j-\gamma_j\lambda_j)^2` has the minimum of
    :math:`\sum_j\max(0,\lambda_j/c_S-a_j)^2`; over :math:`\lambda_j^2` it is :math:`2\min f`.
    """
    cvxpy = pytest.importorskip("cvxpy")
    G, spectrum = pool
    n, lam = 25, spectrum.eigenvalues
    scale = lam if scaled else np.ones(5)
    squares = (G @ spectrum.eigenvectors) ** 2
    s, gamma = cvxpy.Variable(60), cvxpy.Variable(5)
    feasible = [s >= 0, s <= 1 / n, cvxpy.sum(s) == 1]

    def minimum(residual, constraints):
        problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(residual / scale)), constraints)
        return problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12)

    a = squares.T @ s
    with_gamma = minimum(a - cvxpy.multiply(gamma, lam), [*feasible, gamma >= 1 / slack])
    without = minimum(cvxpy.pos(lam / slack - a), feasible)
    assert without > 1e-3 * np.sum((lam / slack / scale) ** 2)
    assert with_gamma == pytest.approx(without, rel=1e-7)
    if scaled:
        ours = match_moments(moment_shares(G, spectrum), n, rng=0, slack=slack)
        assert 2 * ours.objective == pytest.approx(with_gamma, rel=1e-7)


def test_duality_gap(pool):
    r"""Convexity: the duality gap.

    :math:`f(s)-\min f\le\max_{s'\in\mathcal C_n}\langle\nabla f(s),s-s'\rangle`
    with :math:`\nabla f(s)=-U\max(0,1/c_S-U^\top s)`, checked by differences and by subsets.
    """
    G, spectrum = pool
    shares, n, slack = moment_shares(G, spectrum)[:10], 3, 0.2

    def f(s):
        return 0.5 * np.sum(np.maximum(0, 1 / slack - shares.T @ s) ** 2)

    with pytest.warns(ConvergenceWarning):
        early = match_moments(shares, n, rng=0, slack=slack, max_steps=1)
    h = 1e-6
    gradient = np.array([(f(early.s + h * e) - f(early.s - h * e)) / (2 * h) for e in np.eye(10)])
    vertices = [np.isin(np.arange(10), c) / n for c in combinations(range(10), n)]
    gap = max(gradient @ (early.s - vertex) for vertex in vertices)
    assert early.gap == pytest.approx(gap, rel=1e-6)
    assert f(early.s) - min(map(f, vertices)) <= early.gap


@pytest.mark.parametrize("n", [3, 12, 40])
def test_certificate_slack(pool, n):
    r"""Corollary 2.3: the achieved slack.

    the certified :math:`c_S` is the least with
    :math:`P(c_S\Sigma_S-\Sigma)P\succeq 0`, P on the leading eigenvectors of :math:`\Sigma`.
    """
    G, spectrum = pool
    indices = np.random.default_rng(n).choice(60, n, replace=False)
    certificate = certify(PoolView(G, spectrum), indices, k=3)
    sigma, sigma_S = G.T @ G / 60, G[indices].T @ G[indices] / n
    P = best_projector(sigma, 3)

    def least_eigenvalue(c):
        return scipy.linalg.eigvalsh(P @ (c * sigma_S - sigma) @ P)[0]

    assert least_eigenvalue(certificate.slack * (1 + 1e-9)) >= -1e-12
    assert least_eigenvalue(certificate.slack * (1 - 1e-3)) < -1e-9


@pytest.mark.parametrize("n", [3, 12, 40])
def test_certificate_variance_and_bias(pool, n):
    r"""Theorem 2.2: variance and bias.

    variance :math:`\mathrm{tr}(\Sigma(P\Sigma_S P)^\dagger)` on the pool's leading directions,
    bias :math:`\mathrm{tr}(\Sigma(I-Q))` beyond the subset's, never below the best projector's;
    the bound takes both at the best rank of the subset's own projectors.
    """
    G, spectrum = pool
    indices = np.random.default_rng(n).choice(60, n, replace=False)
    k = 3
    certificate = certify(PoolView(G, spectrum), indices, k=k)
    sigma, sigma_S = G.T @ G / 60, G[indices].T @ G[indices] / n
    trace = np.trace(sigma)

    def price(P):
        return np.trace(sigma @ np.linalg.pinv(P @ sigma_S @ P, rcond=1e-10, hermitian=True))

    P, Q = best_projector(sigma, k), best_projector(sigma_S, k)
    assert certificate.variance == pytest.approx(price(P) / k, rel=1e-9)
    assert certificate.bias_share == pytest.approx(1 - np.trace(sigma @ Q) / trace, abs=1e-12)
    least = 1 - np.trace(sigma @ P) / trace
    ranks = [np.zeros((5, 5)), *(best_projector(sigma_S, q) for q in range(1, min(n, 5) + 1))]
    bounds = [2 * 0.3 / n * price(Q) + 2 * 4.0 * (trace - np.trace(sigma @ Q)) for Q in ranks]
    assert certificate.risk_bound(noise_variance=0.3, theta_norm=2.0) <= min(bounds)
    assert certificate.least_bias_share == pytest.approx(least, abs=1e-12)
    assert certificate.bias_share >= certificate.least_bias_share - 1e-12


@pytest.mark.parametrize("n", [3, 12, 40])
@pytest.mark.parametrize("noise", [1e-3, 0.3, 50.0])
def test_risk_bound_is_the_mean_risk_and_bounds_every_direction(pool, n, noise):
    r"""The certificate's :math:`\tfrac{\sigma^2}n\mathrm{tr}\,\Sigma(\Sigma_S+\alpha I)^{-1}`.

    It equals the excess risk summed over orthogonal :math:`\theta_*` of norm :math:`\tau` (the mean
    over :math:`\theta_*\sim\mathcal N(0,\tau^2 I)`), of which each one's is a part; no penalty has
    less; and it is below the dense matrix formula by rounding alone.
    """
    G, spectrum = pool
    S = np.random.default_rng(n).choice(60, n, replace=False)
    found = certify(PoolView(G, spectrum), S).risk_bound(noise_variance=noise, theta_norm=2.0)
    alpha = noise / (n * 4.0)
    shrunk = np.linalg.inv(G[S].T @ G[S] / n + alpha * np.eye(5))
    assert found == pytest.approx(noise / n * np.trace(G.T @ G / 60 @ shrunk), rel=1e-9)
    seen = RidgeRisk.of(G).on(S)
    at = {"noise_variance": noise, "alphas": [alpha]}
    axes = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0]
    together = seen.excess_risk(2.0 * G @ axes, **at).total[0]
    assert found == pytest.approx(together, rel=1e-9)
    for axis in axes.T:
        assert seen.excess_risk(2.0 * G @ axis, **at).total[0] <= found
    anywhere = seen.excess_risk(2.0 * G @ axes, noise_variance=noise).best.total[0]
    assert found <= anywhere * (1 + 1e-9)


def test_distance_tail():
    r"""Johnson-Lindenstrauss, for the Gaussian map of Section 3.1.

    :math:`\Pr(|\,\|x\Gamma\|^2/\|x\|^2-1|>\epsilon)\le 2\exp(-m(\epsilon^2/4-\epsilon^3/6))`, and
    exactly the two tails of :math:`\chi^2_m/m`.
    """
    epsilons, sizes = np.linspace(0.01, 0.99, 50)[:, None], np.array([1, 10, 100, 1000])
    exact = distance_tail(epsilons, sizes, law="gaussian")
    assert np.all(exact <= distance_tail(epsilons, sizes))
    T, m, epsilon = 2000, 16, 0.4
    x = np.ones((1, 30)) / np.sqrt(30)
    norms = np.array([np.sum(GaussianSketch.draw(30, m, rng=t)(x) ** 2) for t in range(T)])
    tail = distance_tail(epsilon, m, law="gaussian")
    share = np.mean(abs(norms - 1) > epsilon)
    assert abs(share - tail) < 4 * np.sqrt(tail * (1 - tail) / T)


@pytest.mark.parametrize("m", [4, 8, 16])
def test_range_finder(m):
    r"""Halko, Martinsson and Tropp's Theorem 10.5, behind the sketch's bias term.

    With :math:`Q=\mathrm{orth}(G\Gamma)`, :math:`\mathbb E\|G-QQ^\top G\|_F^2\le
    \min_{k\le m-2}(1+\tfrac{k}{m-k-1})\sum_{j>k}\sigma_j^2`, and never below
    :math:`\sum_{j>m}\sigma_j^2`.
    """
    T = 100
    G = np.random.default_rng(0).standard_normal((50, 40)) / np.arange(1, 41)
    squares = np.linalg.svd(G, compute_uv=False) ** 2
    errors = np.empty(T)
    for t in range(T):
        Q = np.linalg.qr(G @ GaussianSketch.draw(40, m, rng=t).matrix)[0]
        errors[t] = np.sum((G - Q @ Q.T @ G) ** 2)
    bound = min((1 + k / (m - k - 1)) * squares[k:].sum() for k in range(m - 1))
    assert errors.min() >= squares[m:].sum()
    assert errors.mean() <= bound
    assert reconstruction_bound(squares, m) == pytest.approx(bound / squares.sum())
    last = reconstruction_error(G, GaussianSketch.draw(40, m, rng=T - 1)(G))
    assert last == pytest.approx(errors[-1] / squares.sum())


def test_gram_error_in_expectation(pool):
    r"""Section 3.1: the error of all inner products at once.

    :math:`\mathbb E\|\tilde G\tilde G^\top-GG^\top\|_F^2/\|GG^\top\|_F^2=(1+\rho)/m` with the
    effective dimension :math:`\rho=\mathrm{tr}(\Sigma)^2/\mathrm{tr}(\Sigma^2)`.
    """
    G, spectrum = pool
    T, m = 2000, 3
    squares = np.array(
        [gram_error(G @ G.T, GaussianSketch.draw(5, m, rng=t)(G)) ** 2 for t in range(T)]
    )
    expected = (1 + effective_dimension(spectrum.eigenvalues)) / m
    assert abs(squares.mean() - expected) < 4 * squares.std() / np.sqrt(T)


@pytest.mark.parametrize("batch", [3, 12, 60])
def test_moment_of_batches_with_a_map_each(pool, batch):
    r"""What a fresh map a batch leaves of the sketched second moment.

    :math:`\mathbb E\,\mathrm{tr}\tilde\Sigma=\mathrm{tr}\Sigma` and :math:`\mathbb E\,\mathrm{tr}
    \tilde\Sigma^2=\tfrac{(\mathrm{tr}\Sigma)^2}{m}+(1+\tfrac1m)\tfrac1{N^2}\sum_b\|G_bG_b^\top\|_F^2`,
    while :math:`\mathbb E\langle x\Gamma_b,y\Gamma_c\rangle=0` between batches.
    """
    G, spectrum = pool
    T, m, batches = 600, 3, np.arange(60) // batch
    traces, squares, products = np.empty((3, T))
    for t in range(T):
        rows = sketch_afresh(G, m, batches=batches, rng=t)
        moment = rows.T @ rows / 60
        traces[t], squares[t] = np.trace(moment), np.sum(moment**2)
        products[t] = rows[0] @ rows[-1]
    trace = spectrum.trace
    expected = trace**2 / batched_dimension(G, m, batches=batches)
    blocks = sum(np.sum((part @ part.T) ** 2) for part in np.split(G, 60 // batch))
    assert expected == pytest.approx(trace**2 / m + (1 + 1 / m) * blocks / 60**2)
    assert abs(traces.mean() - trace) < 4 * traces.std() / np.sqrt(T)
    assert abs(squares.mean() - expected) < 4 * squares.std() / np.sqrt(T)
    kept = G[0] @ G[-1] if batch == 60 else 0.0
    assert abs(products.mean() - kept) < 4 * products.std() / np.sqrt(T)


def test_expected_excess_risk():
    r"""Section 2: ridge regression's risk in expectation over the label noise.

    With :math:`A=(\Sigma_S+\alpha I)^{-1}`: :math:`\mathbb E\|\theta_S-\theta_*\|^2_\Sigma=
    \tfrac{\sigma^2}{n}\mathrm{tr}(\Sigma A\Sigma_SA)+\alpha^2\theta_*^\top A\Sigma A\theta_*`.
    """
    rng = np.random.default_rng(0)
    G, S, theta, alpha = rng.standard_normal((50, 30)), np.arange(12), rng.standard_normal(30), 0.3
    sigma, of_subset = G.T @ G / 50, G[S].T @ G[S] / 12
    A = np.linalg.inv(of_subset + alpha * np.eye(30))
    split = RidgeRisk.of(G).on(S).excess_risk(G @ theta, noise_variance=0.7, alphas=alpha)
    assert split.variance.item() == pytest.approx(0.7 / 12 * np.trace(sigma @ A @ of_subset @ A))
    assert split.bias.item() == pytest.approx(alpha**2 * theta @ A @ sigma @ A @ theta)


@pytest.mark.parametrize("p", [1, 4, 9])
def test_theorem_2_2_for_any_subspace(p):
    r"""Theorem 2.2, with P onto a random subspace of :math:`\mathrm{Range}(\Sigma_S)`.

    :math:`\min_\alpha\mathbb E\,\mathrm{ER}(\theta_S)\le\tfrac{2\sigma^2}{n}
    \mathrm{tr}(\Sigma(P\Sigma_SP)^\dagger)+2\,\mathrm{tr}(\Sigma(I-P))\|\theta_*\|^2`.
    """
    rng = np.random.default_rng(p)
    for _ in range(30):
        G = rng.standard_normal((40, 25)) * np.arange(1, 26.0) ** -rng.uniform(0, 2)
        S, theta, noise = rng.choice(40, 9, replace=False), rng.standard_normal(25), rng.uniform()
        basis = scipy.linalg.orth(G[S].T @ rng.standard_normal((9, p)))
        P = basis @ basis.T
        sigma, of_subset = G.T @ G / 40, G[S].T @ G[S] / 9
        inverse = np.linalg.pinv(P @ of_subset @ P, rcond=1e-10, hermitian=True)
        variance = 2 * noise / 9 * np.trace(sigma @ inverse)
        bound = variance + 2 * np.trace(sigma @ (np.eye(25) - P)) * theta @ theta
        seen = RidgeRisk.of(G).on(S)
        assert seen.excess_risk(G @ theta, noise_variance=noise).best.total.item() <= bound
        eigenbasis = scipy.linalg.eigh(of_subset)[1][:, ::-1][:, :9]
        # Eigenvectors are known up to their signs, which the rows settle.
        signs = np.sign(np.sum(G @ eigenbasis * seen.rows, axis=0))
        Q = (eigenbasis * signs).T @ basis
        ours = subspace_bound(seen, Q, noise_variance=noise, theta_norm=np.linalg.norm(theta))
        assert ours == pytest.approx(bound, rel=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_variance_is_at_most_slack_times_dimension(pool, k):
    r"""Corollary of Theorem 2.2, exploitation.

    :math:`P(c_S\Sigma_S-\Sigma)P\succeq 0` with P of rank k within the range gives
    :math:`\mathrm{tr}(P\Sigma P(P\Sigma_SP)^\dagger)\le c_Sk`: no r is left.
    """
    G, _ = pool
    of_subset = G[:9].T @ G[:9] / 9
    V = scipy.linalg.eigh(of_subset)[1][:, -k:]
    sigma = G.T @ G / len(G)
    slack = scipy.linalg.eigh(V.T @ sigma @ V, V.T @ of_subset @ V, eigvals_only=True)[-1]
    P = V @ V.T
    assert np.linalg.eigvalsh(P @ (slack * of_subset - sigma) @ P)[0] > -1e-12
    variance = np.trace(sigma @ np.linalg.pinv(P @ of_subset @ P, rcond=1e-10, hermitian=True))
    assert variance <= slack * k * (1 + 1e-12)


def test_least_v_optimality_of_orthogonal_clusters():
    r"""The rate's constant on a mixture without tail: shares :math:`p_k` over K directions.

    :math:`\min_s\tfrac1K\sum_k p_k/s_k=\tfrac1K\bigl(\sum_k\sqrt{p_k}\bigr)^2`, at
    :math:`s_k\propto\sqrt{p_k}`; at most 1, which is proportional sampling.
    """
    sizes = np.array([10, 40, 150, 300])
    p = sizes / sizes.sum()
    whitened = np.repeat(np.diag(1 / np.sqrt(p)), sizes, axis=0)
    least = np.sqrt(p).sum() ** 2 / 4
    bound = bound_v_optimality(whitened, 12, tolerance=1e-6)
    assert bound.lower_bound <= least * (1 + 1e-12)
    assert bound.value == pytest.approx(least, rel=2e-6)
    assert v_optimality(whitened, np.repeat(p / sizes, sizes)) == pytest.approx(1.0)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_lower_bound_holds_for_every_subset(n):
    r"""V-optimal design: the proof that comes with the relaxed solution.

    :math:`\min_{|S|=n}\varphi(1_S/n)\ge\varphi(s)-\max_{s'\in\mathcal C_n}
    \langle\nabla\varphi(s),s-s'\rangle` with :math:`\varphi(s)=\tfrac1k\mathrm{tr}\,M(s)^{-1}`.
    """
    rows = np.random.default_rng(n).standard_normal((10, 2))
    whitened = Spectrum.of(rows).whiten(rows, 2)
    best = np.inf
    for subset in combinations(range(10), n):
        moment = whitened[list(subset)].T @ whitened[list(subset)] / n
        best = min(best, np.trace(np.linalg.inv(moment)) / 2)
    for max_steps in (1, 5, 5000):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            bound = bound_v_optimality(whitened, n, max_steps=max_steps)
        assert bound.lower_bound <= best * (1 + 1e-12)


@pytest.mark.parametrize("slack", [1.0, 1.3, 8.0])
def test_uniform_weights_solve_the_program(pool, slack):
    r"""Algorithm 3.1 with :math:`c_S \ge 1`: :math:`f(1/N) = 0`.

    For :math:`\tfrac1N\sum_i u_{ij} = 1 \ge 1/c_S`: the relaxed program asks for nothing, all that
    tells a selection from uniform sampling is which solution is taken and how it is rounded.
    """
    G, spectrum = pool
    covered = np.full(60, 1 / 60) @ moment_shares(G, spectrum)
    np.testing.assert_allclose(np.maximum(1 / slack - covered, 0), 0, atol=1e-14)


@pytest.mark.parametrize("slack", [0.3, 0.4, 1.0])
def test_dual_of_the_program(pool, slack):
    r"""Strong duality: the program has as many dual variables as directions.

    :math:`\min_{s\in\mathcal C_n} f(s) = \max_{y\ge 0}\ \tfrac1{c_S}1^\top y - \tfrac12\|y\|^2
    - \max_{s\in\mathcal C_n}\langle Uy, s\rangle`, attained at :math:`y=\max(0, 1/c_S-U^\top s)`.
    """
    G, spectrum = pool
    n, shares = 25, moment_shares(G, spectrum)
    relaxed = match_moments(shares, n, rng=0, slack=slack)

    def dual(y):
        return y.sum() / slack - y @ y / 2 - np.sort(shares @ y)[-n:].mean()

    best = np.maximum(1 / slack - shares.T @ relaxed.s, 0)
    assert dual(best) == pytest.approx(relaxed.objective, rel=1e-9, abs=1e-10)
    for other in np.random.default_rng(0).random((200, 5)) * 2 / slack:
        assert dual(other) <= relaxed.objective + 1e-10


@pytest.mark.parametrize("mean", [False, True])
def test_full_match_is_a_mean_discrepancy(pool, mean):
    r"""The full match is a maximum mean discrepancy between selection and pool.

    With :math:`k(x,y)=(x^\top y)^2`, X in the selection and Y in the pool,
    :math:`\|\Sigma_S-\Sigma\|_F^2=\mathbb E k(X,X')-2\,\mathbb E k(X,Y)+\mathbb E k(Y,Y')`;
    the kernel :math:`(1+x^\top y)^2` adds :math:`2\|\mu_S-\mu\|^2`.
    """
    G, _ = pool
    S = np.random.default_rng(0).choice(60, 12, replace=False)
    kernel = (1.0 + G @ G.T) ** 2 if mean else (G @ G.T) ** 2
    discrepancy = kernel[S][:, S].mean() - 2 * kernel[S].mean() + kernel.mean()
    gap = np.sum((G[S].T @ G[S] / 12 - G.T @ G / 60) ** 2)
    gap += 2 * np.sum((G[S].mean(0) - G.mean(0)) ** 2) if mean else 0.0
    assert discrepancy == pytest.approx(gap, rel=1e-9)


def test_deviation_certifies_a_slack(pool):
    r"""From the deviation to the slack: :math:`c_S \le 1/(1-\delta)`.

    :math:`\delta=\|\Sigma^{-1/2}\Sigma_S\Sigma^{-1/2}-I\|_2` on the leading directions, so that
    :math:`P(\tfrac1{1-\delta}\Sigma_S-\Sigma)P\succeq 0`.
    """
    G, spectrum = pool
    checked = 0
    for seed in range(40):
        S = np.random.default_rng(seed).choice(60, 45, replace=False)
        found = compare_moments(PoolView(G, spectrum), S, k=3)
        assert found.slack <= found.certified_slack * (1 + 1e-12)
        if found.deviation < 1:
            P = spectrum.eigenvectors[:, :3]
            lacking = P.T @ (found.certified_slack * G[S].T @ G[S] / 45 - G.T @ G / 60) @ P
            assert scipy.linalg.eigvalsh(lacking)[0] >= -1e-12
            checked += 1
    assert checked > 20

"""The capped simplex: projection against slow bisection, its inequality, adversarial input."""

import numpy as np
import pytest

from skmm.matching.simplex import best_vertex, project_capped_simplex


def slow_projection(y, n):
    """Bisects the shift in extended precision until the bracket is as narrow as it gets."""
    y = np.asarray(y, dtype=np.longdouble)
    cap = np.longdouble(1) / n
    y = y - np.sort(y)[-n]
    low, high = -cap, np.longdouble(0)
    for _ in range(120):
        tau = (low + high) / 2
        low, high = (tau, high) if np.clip(y - tau, 0, cap).sum() > 1 else (low, tau)
    return np.clip(y - tau, 0, cap).astype(np.float64)


def vectors(N):
    rng = np.random.default_rng(N)
    yield "normal", rng.standard_normal(N)
    yield "uniform", rng.random(N) / N
    yield "heavy", rng.standard_cauchy(N)
    yield "ties", rng.integers(0, 3, N) / 2
    yield "equal", np.full(N, 0.3)
    yield "zero", np.zeros(N)
    yield "one", np.eye(1, N)[0]
    yield "large", 1e12 * rng.standard_normal(N)
    yield "small", 1e-12 * rng.standard_normal(N)
    yield "shifted", 1e12 + rng.integers(-3, 4, N)
    yield "equal-large", np.full(N, 1e12)
    yield "equal-small", np.full(N, -1e-300)
    yield "scales", np.geomspace(1e-12, 1e12, N) * rng.choice([-1, 1], N)
    yield "descending", -np.arange(N, dtype=float)


CASES = [
    pytest.param(y, n, id=f"{name}-{n}-of-{N}")
    for N in (1, 2, 7, 400)
    for name, y in vectors(N)
    for n in sorted({1, 2, N // 3, N - 1, N} & set(range(1, N + 1)))
]


@pytest.mark.parametrize(("y", "n"), CASES)
def test_projection_is_the_nearest_feasible_point(y, n):
    """Feasible, equal to bisection, and ⟨y − s, v − s⟩ ≤ 0 for the worst vertex v."""
    s = project_capped_simplex(y, n)
    cap = 1 / n
    assert s.min() >= 0
    assert s.max() <= cap
    assert abs(s.sum() - 1) < 1e-13 * max(n, 10)
    # A common shift leaves the projection as it is: differences lose no digits that way.
    np.testing.assert_allclose(s, slow_projection(y, n), atol=4e-15, rtol=0)
    offset = y - np.sort(y)[-n]
    worst, _ = best_vertex(s - offset, n)
    vertex = np.zeros(len(y))
    vertex[worst] = cap
    terms = (offset - s) * (vertex - s)
    assert terms.sum() <= 1e-13 * max(1.0, np.abs(terms).sum())


@pytest.mark.parametrize("n", [1, 5, 39, 40])
def test_projection_laws(n):
    """Feasible points stay, shifts do not matter, permutations commute, distances do not grow."""
    rng = np.random.default_rng(n)
    y, other = rng.standard_normal((2, 40)) / 7
    s = project_capped_simplex(y, n)
    np.testing.assert_allclose(project_capped_simplex(s, n), s, atol=1e-15)
    np.testing.assert_allclose(project_capped_simplex(y + 3, n), s, atol=1e-14)
    order = rng.permutation(40)
    np.testing.assert_allclose(project_capped_simplex(y[order], n), s[order], atol=1e-15)
    assert np.linalg.norm(s - project_capped_simplex(other, n)) <= np.linalg.norm(y - other)


def test_projection_solves_the_quadratic_program():
    """The projection is what a general solver returns for argmin ‖s − y‖² over the set."""
    cvxpy = pytest.importorskip("cvxpy")
    y, n = np.random.default_rng(0).standard_normal(30) / 10, 6
    s = cvxpy.Variable(30)
    constraints = [s >= 0, s <= 1 / n, cvxpy.sum(s) == 1]
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(s - y)), constraints).solve(
        solver=cvxpy.CLARABEL
    )
    np.testing.assert_allclose(project_capped_simplex(y, n), s.value, atol=1e-6)


@pytest.mark.parametrize("n", [1, 4, 12])
def test_best_vertex_is_the_least_of_all(n):
    """No vertex is better, and the value returned is the mean score of those chosen."""
    from itertools import combinations

    scores = np.random.default_rng(n).standard_normal(12)
    chosen, value = best_vertex(scores, n)
    assert len(set(chosen)) == n
    assert value == pytest.approx(scores[chosen].mean())
    assert value == pytest.approx(min(scores[list(c)].mean() for c in combinations(range(12), n)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_projection_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="y must be finite"):
        project_capped_simplex([0.0, bad, 1.0], 2)


@pytest.mark.parametrize("n", [0, 4, -1, 1.5, True])
def test_projection_refuses_budgets_out_of_range(n):
    with pytest.raises(ValueError, match="n must be a whole number"):
        project_capped_simplex(np.ones(3), n)

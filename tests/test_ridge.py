"""Ridge regression: normal equations, both Gram matrices, cross-validation by slow loops."""

import numpy as np
import pytest

from skmm.numerics.streams import as_generator
from skmm.training.ridge import RidgePath, cross_validate

ALPHAS = np.geomspace(1e-4, 10, 13)
SHAPES = [(12, 30), (30, 12), (20, 20), (1, 5)]


def problem(n, r, T=None, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, r)), rng.standard_normal((n, T) if T else n)


@pytest.mark.parametrize("T", [None, 3])
@pytest.mark.parametrize(("n", "r"), SHAPES)
@pytest.mark.parametrize("alphas", [ALPHAS, ALPHAS[:2]], ids=["eigen", "cholesky"])
def test_gradient_vanishes(n, r, T, alphas):
    """θ_α is where the gradient of (1/n)‖Gθ − y‖² + α‖θ‖² is zero, for each target alone."""
    G, y = problem(n, r, T)
    path = RidgePath.fit(G, y, alphas=alphas)
    for alpha, theta in zip(alphas, path.coefficients, strict=True):
        np.testing.assert_allclose(G.T @ (G @ theta - y) / n + alpha * theta, 0, atol=1e-11)


@pytest.mark.parametrize(("n", "r"), SHAPES)
def test_scikit_learn_penalty_is_n_times_alpha(n, r):
    """In the sum-of-squares convention the penalty is nα."""
    from sklearn.linear_model import Ridge

    G, y = problem(n, r)
    path = RidgePath.fit(G, y, alphas=ALPHAS)
    for alpha, theta in zip(ALPHAS, path.coefficients, strict=True):
        other = Ridge(alpha=n * alpha, fit_intercept=False, solver="svd").fit(G, y).coef_
        np.testing.assert_allclose(theta, other, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("T", [None, 2])
@pytest.mark.parametrize(("n", "r"), SHAPES)
def test_weights_are_those_of_scikit_learn(n, r, T):
    """Weights of any scale, as if of sum n."""
    from sklearn.linear_model import Ridge

    G, y = problem(n, r, T)
    w = np.random.default_rng(3).exponential(size=n) + 0.05
    path = RidgePath.fit(G, y, alphas=ALPHAS, weights=w)
    for alpha, theta in zip(ALPHAS, path.coefficients, strict=True):
        other = Ridge(alpha=n * alpha, fit_intercept=False, solver="svd")
        theirs = other.fit(G, y, sample_weight=w / w.mean()).coef_.T
        np.testing.assert_allclose(theta, theirs, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("rank", [3, 12])
@pytest.mark.parametrize(("n", "r"), [(12, 30), (30, 12)])
def test_zero_penalty_is_the_least_norm_solution(n, r, rank):
    """α = 0 equals the pseudo-inverse, also on rank-deficient rows, and is the limit of α → 0."""
    rng = np.random.default_rng(1)
    G = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, r))
    y = rng.standard_normal(n)
    exact, near = RidgePath.fit(G, y, alphas=[0, 1e-9]).coefficients
    np.testing.assert_allclose(exact, np.linalg.pinv(G, rcond=1e-9) @ y, atol=1e-9)
    np.testing.assert_allclose(near, exact, atol=1e-6)


def test_rotation_and_padding_do_not_matter():
    """Predictions depend on the rows' inner products only, so the two Gram matrices agree."""
    G, y = problem(20, 8)
    Q = np.linalg.qr(np.random.default_rng(2).standard_normal((40, 8)))[0]
    tall = RidgePath.fit(G, y, alphas=ALPHAS).predict(G)
    wide = RidgePath.fit(G @ Q.T, y, alphas=ALPHAS).predict(G @ Q.T)
    np.testing.assert_allclose(wide, tall, atol=1e-11)


def test_targets_do_not_mix():
    """Fitting T targets at once equals fitting each alone, with shapes [A, M, T] and [A, M]."""
    G, y = problem(15, 6, 3)
    together = RidgePath.fit(G, y, alphas=ALPHAS).predict(G[:4])
    assert together.shape == (len(ALPHAS), 4, 3)
    for t in range(3):
        alone = RidgePath.fit(G, y[:, t], alphas=ALPHAS).predict(G[:4])
        np.testing.assert_allclose(together[..., t], alone, atol=1e-12)


@pytest.mark.parametrize("folds", [2, 5, 100])
@pytest.mark.parametrize(("n", "r"), [(13, 30), (31, 7), (2, 4)])
def test_cross_validation_equals_a_slow_loop(n, r, folds):
    """Each row is predicted by a fit on the other folds alone; the folds are a shuffled split."""
    G, y = problem(n, r, 2)
    fast = cross_validate(G, y, rng=5, alphas=ALPHAS, folds=folds)
    squares = np.zeros(len(ALPHAS))
    for held_out in np.array_split(as_generator(5, "cross_validate").permutation(n), min(folds, n)):
        kept = np.delete(np.arange(n), held_out)
        for a, alpha in enumerate(ALPHAS):
            ridge = G[kept].T @ G[kept] + len(kept) * alpha * np.eye(r)
            theta = np.linalg.solve(ridge, G[kept].T @ y[kept])
            squares[a] += np.sum((G[held_out] @ theta - y[held_out]) ** 2)
    np.testing.assert_allclose(fast.errors, squares / n, rtol=1e-8)
    assert fast.alpha == ALPHAS[np.argmin(squares)]


@pytest.mark.parametrize(("n", "r"), [(13, 30), (31, 7)])
def test_weighted_cross_validation_equals_a_slow_loop(n, r):
    """Squared errors are weighted where rows are fitted and where they are held out."""
    G, y = problem(n, r)
    w = np.random.default_rng(3).exponential(size=n) + 0.05
    fast = cross_validate(G, y, rng=5, alphas=ALPHAS, weights=w)
    w /= w.mean()
    squares = np.zeros(len(ALPHAS))
    for held_out in np.array_split(as_generator(5, "cross_validate").permutation(n), 5):
        kept = np.delete(np.arange(n), held_out)
        for a, alpha in enumerate(ALPHAS):
            ridge = (G[kept].T * w[kept]) @ G[kept] + w[kept].sum() * alpha * np.eye(r)
            theta = np.linalg.solve(ridge, (G[kept].T * w[kept]) @ y[kept])
            squares[a] += w[held_out] @ (G[held_out] @ theta - y[held_out]) ** 2
    np.testing.assert_allclose(fast.errors, squares / n, rtol=1e-8)


@pytest.mark.parametrize("factor", [1e4, 1e8])
@pytest.mark.parametrize("folds", [2, 5, 31])
@pytest.mark.parametrize(("n", "r"), [(13, 30), (31, 7)])
def test_a_long_row_leaves_no_rounding_errors_in_other_folds(n, r, folds, factor):
    """The errors of a fit by QR of the rows themselves, which is exact to the last digits."""
    G, y = problem(n, r)
    G[3] *= factor
    fast = cross_validate(G, y, rng=5, alphas=ALPHAS, folds=folds)
    squares = np.zeros(len(ALPHAS))
    shuffled = as_generator(5, "cross_validate").permutation(n)
    for held_out in np.array_split(shuffled, min(folds, n)):
        kept = np.delete(np.arange(n), held_out)
        for a, alpha in enumerate(ALPHAS):
            # Least squares on the rows and on the penalty's, scaled by columns of unit length.
            stacked = np.vstack([G[kept], np.sqrt(len(kept) * alpha) * np.eye(r)])
            theta = np.linalg.lstsq(stacked, np.r_[y[kept], np.zeros(r)], rcond=None)[0]
            squares[a] += np.sum((G[held_out] @ theta - y[held_out]) ** 2)
    np.testing.assert_allclose(fast.errors, squares / n, rtol=1e-3)


def test_leaving_one_out_does_not_depend_on_the_shuffle():
    """With as many folds as rows every shuffle is the same split."""
    G, y = problem(9, 4)
    one = cross_validate(G, y, rng=0, alphas=ALPHAS, folds=9).errors
    np.testing.assert_allclose(cross_validate(G, y, rng=1, alphas=ALPHAS, folds=9).errors, one)


def test_zero_rows_predict_zero():
    """Rows without any energy leave nothing to fit, also where α = 0."""
    path = RidgePath.fit(np.zeros((3, 5)), np.ones(3), alphas=np.r_[0, ALPHAS])
    assert not path.predict(np.ones((2, 5))).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alphas": [-1.0]}, "alphas must be"),
        ({"alphas": []}, "alphas must be"),
        ({"alphas": [np.nan]}, "alphas must be"),
        ({"targets": np.ones(4)}, r"targets must be .* got shape \[4\]"),
        ({"targets": np.full(5, np.inf)}, "with 0 finite entries"),
        ({"features": np.full((5, 2), np.nan)}, "features must be finite"),
        ({"weights": np.ones(4)}, r"weights must be n=5 .* got shape \[4\]"),
        ({"weights": np.array([1.0, 1, 1, 1, -2])}, "weights must be .* got -2"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"features": np.ones((5, 2)), "targets": np.ones(5), "alphas": [1.0]} | change
    with pytest.raises(ValueError, match=message):
        RidgePath.fit(**arguments)
    with pytest.raises(ValueError, match=message):
        cross_validate(**arguments, rng=0)


def test_cross_validation_needs_two_rows_and_folds():
    with pytest.raises(ValueError, match="at least 2 rows"):
        cross_validate(np.ones((1, 2)), np.ones(1), rng=0, alphas=[1.0])
    with pytest.raises(ValueError, match="folds=1"):
        cross_validate(np.ones((4, 2)), np.ones(4), rng=0, alphas=[1.0], folds=1)


def test_prediction_needs_the_fitted_columns():
    with pytest.raises(ValueError, match="r=2 columns"):
        RidgePath.fit(np.eye(2), np.ones(2), alphas=[1.0]).predict(np.ones((3, 4)))

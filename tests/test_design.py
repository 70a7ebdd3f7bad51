"""The V-optimal bound: proven, tight, and blind to what it should be blind to."""

from itertools import combinations

import numpy as np
import pytest

from skmm.criteria import VOptimality
from skmm.matching.design import bound_v_optimality, v_optimality
from skmm.rounding.exchange import exchange
from skmm.spectrum import Spectrum


def whitened_rows(rng, N=60, k=4):
    rows = rng.standard_normal((N, k)) * np.exp(rng.standard_normal((N, 1)) / 2)
    return Spectrum.of(rows).whiten(rows, k)


def weights_of(indices, N):
    s = np.zeros(N)
    s[np.asarray(indices)] = 1 / len(indices)
    return s


def test_bound_equals_the_convex_program(rng):
    """The relaxed value is cvxpy's, and the bound lies below it by at most the tolerance."""
    cvxpy = pytest.importorskip("cvxpy")
    W, n = whitened_rows(rng, N=30, k=3), 8
    bound = bound_v_optimality(W, n, tolerance=1e-6)
    s = cvxpy.Variable(30)
    moment = W.T @ cvxpy.diag(s) @ W
    program = cvxpy.Problem(
        cvxpy.Minimize(cvxpy.matrix_frac(np.eye(3), moment) / 3),
        [s >= 0, s <= 1 / n, cvxpy.sum(s) == 1],
    )
    optimum = program.solve(solver=cvxpy.CLARABEL)
    assert bound.value == pytest.approx(optimum, rel=1e-4)
    assert bound.lower_bound <= optimum * (1 + 1e-5)
    assert bound.value - bound.lower_bound <= 1.01e-6 * bound.value


@pytest.mark.parametrize("n", [4, 5])
def test_no_subset_beats_the_bound(rng, n):
    W = whitened_rows(rng, N=11, k=3)
    bound = bound_v_optimality(W, n)
    best = min(v_optimality(W, weights_of(c, 11)) for c in combinations(range(11), n))
    assert bound.lower_bound <= best


def test_exchange_comes_close_to_the_bound(rng):
    """Twelve samples a direction: within 5 % of what any subset could do."""
    W = whitened_rows(rng, N=500, k=6)
    chosen = exchange(VOptimality(W, 72, alpha=1e-6), rng.choice(500, 72, replace=False)).indices
    bound = bound_v_optimality(W, 72)
    reached = v_optimality(W, weights_of(chosen, 500))
    assert bound.lower_bound <= reached <= 1.05 * bound.lower_bound


def test_rotation_and_permutation_leave_the_bound(rng):
    W = whitened_rows(rng)
    Q, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    order = rng.permutation(len(W))
    plain, turned = bound_v_optimality(W, 20), bound_v_optimality((W @ Q)[order], 20)
    assert plain.value == pytest.approx(turned.value, rel=3e-3)


def test_the_whole_pool_is_its_own_design(rng):
    W = whitened_rows(rng)
    bound = bound_v_optimality(W, len(W))
    assert bound.value == pytest.approx(1.0)
    assert bound.lower_bound == pytest.approx(1.0)


def test_a_direction_left_out_is_infinite(rng):
    W = np.repeat(np.eye(2), 3, axis=0) * np.sqrt(2)
    assert v_optimality(W, weights_of([0, 1], 6)) == np.inf
    assert v_optimality(W, weights_of([0, 3], 6)) == pytest.approx(1.0)


def test_what_cannot_be_bounded_is_refused(rng):
    W = whitened_rows(rng)
    with pytest.raises(ValueError, match=r"n must be .* got n=3"):
        bound_v_optimality(W, 3)
    with pytest.raises(ValueError, match="lower rank"):
        bound_v_optimality(np.hstack([W, W[:, :1]]), 20)
    with pytest.raises(ValueError, match="tolerance"):
        bound_v_optimality(W, 20, tolerance=0)

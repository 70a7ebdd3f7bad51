"""Rounding by regret minimisation: its own equations, its laws, and that exchange ends lower."""

import numpy as np
import pytest
import scipy.linalg

from skmm.criteria import VOptimality
from skmm.matching.design import bound_v_optimality, v_optimality
from skmm.rounding.exchange import exchange
from skmm.rounding.regret import round_by_regret, trace_shift
from skmm.spectrum import Spectrum
from skmm_study.pools.synthetic import gaussian_mixture


def whitened_pool(seed, N=150, k=5):
    rows = np.random.default_rng(seed).standard_normal((N, k)) * np.geomspace(1, 0.1, k)
    return Spectrum.of(rows).whiten(rows, k)


def value(whitened, indices):
    s = np.zeros(len(whitened))
    s[indices] = 1 / len(indices)
    return v_optimality(whitened, s)


@pytest.mark.parametrize("k", [1, 2, 9])
def test_trace_is_one(k):
    for scale in (0.0, 1e-6, 1.0, 1e6):
        values = scale * np.random.default_rng(k).random(k)
        c = trace_shift(values)
        assert c > -values.min()
        assert np.sum((c + values) ** -2.0) == pytest.approx(1, rel=1e-6)


def test_follows_the_equation():
    """Every sample is the best outsider of the formula, with dense matrix powers."""
    whitened, n, k = whitened_pool(0, N=40, k=3), 9, 3
    s = bound_v_optimality(whitened, n).s
    indices, eta = round_by_regret(s, whitened, n, rate=2.0), 2.0 * np.sqrt(3)
    z = (
        whitened
        @ np.linalg.inv(scipy.linalg.sqrtm(whitened.T @ np.diag(s) @ whitened))
        / np.sqrt(n)
    )
    for turn in range(n):
        before = eta * z[indices[:turn]].T @ z[indices[:turn]]
        root = np.linalg.inv(trace_shift(scipy.linalg.eigvalsh(before)) * np.eye(k) + before)
        gains = [x @ root @ root @ x / (1 + eta * x @ root @ x) for x in z]
        outsiders = np.setdiff1d(np.arange(40), indices[:turn])
        assert gains[indices[turn]] >= max(gains[i] for i in outsiders) * (1 - 1e-9)


def test_is_free_of_scale_and_basis():
    whitened = whitened_pool(1)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    s = np.full(150, 1 / 150)
    chosen = round_by_regret(s, whitened, 20)
    assert len(np.unique(chosen)) == 20
    np.testing.assert_array_equal(round_by_regret(s, 7 * whitened, 20), chosen)
    np.testing.assert_array_equal(round_by_regret(s, whitened @ Q, 20), chosen)


@pytest.mark.parametrize("seed", range(4))
def test_no_direction_is_lost_and_exchange_ends_lower(seed):
    """On clusters down to 1 % too; exchange from its subset can only be lower, from any within."""
    rows = gaussian_mixture(600, 40, 6, rng=seed).features
    whitened, n = Spectrum.of(rows).whiten(rows, 6), 18
    bound = bound_v_optimality(whitened, n)
    by_regret = value(whitened, round_by_regret(bound.s, whitened, n))
    assert bound.lower_bound <= by_regret < 1.2 * bound.lower_bound
    random = np.random.default_rng(seed).choice(600, n, replace=False)
    descended = value(whitened, exchange(VOptimality(whitened, n, alpha=1e-6), random).indices)
    assert bound.lower_bound <= descended <= by_regret


@pytest.mark.parametrize(
    ("n", "rate", "s", "message"),
    [
        (0, 3.0, np.full(150, 1 / 150), "n must be a whole number"),
        (9, 0.0, np.full(150, 1 / 150), "rate must be a finite number above 0"),
        (9, 3.0, np.eye(1, 150)[0], "s must span all k=5 directions"),
    ],
)
def test_bad_arguments_are_named(n, rate, s, message):
    with pytest.raises(ValueError, match=message):
        round_by_regret(s, whitened_pool(0), n, rate=rate)

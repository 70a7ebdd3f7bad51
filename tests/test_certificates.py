"""Certificates of subsets beside their measured risk: slow loops, and what theory says of them."""

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from skmm import PoolView, Spectrum, certify, select
from skmm_study import certificate_trials, gaussian_mixture

METHODS = ["skmm", "uniform"]
RATIOS = [1.0, 50.0]


@pytest.fixture(scope="module")
def mixture():
    return gaussian_mixture(60, 12, 3, rng=0, smallest_share=0.2, tail_energy=0.2)


@pytest.fixture(scope="module")
def trials(mixture):
    pool = (mixture.features, mixture.clusters)
    settings = {"methods": METHODS, "seeds": [0, 4], "ratios": RATIOS, "rng": 0}
    return certificate_trials(*pool, 9, dropped=[0, 1, 2], m=7, **settings)


def slow_risk(G, S, alpha, tau):
    """Mean excess risk of unit noise, from the map that ridge regression is, θ* by θ*."""
    moment, spectrum = G.T @ G / len(G), Spectrum.of(G)
    solve = np.linalg.solve(G[S].T @ G[S] + len(S) * alpha * np.eye(G.shape[1]), G[S].T)
    risk = np.trace(moment @ solve @ solve.T)
    for theta in tau * spectrum.eigenvectors[:, : spectrum.intrinsic_dimension].T:
        error = theta - solve @ (G[S] @ theta)
        risk += error @ moment @ error
    return risk


def slow_row(G, S, ratio, view):
    """Risk, bound and the certificate's figures; and the least risk of all penalties."""
    spectrum, n, certificate = Spectrum.of(G), len(S), certify(view, S)
    taus = {
        one: np.sqrt(one / spectrum.eigenvalues[: spectrum.intrinsic_dimension].sum())
        for one in RATIOS
    }
    tau = taus[ratio]
    tried = [10 ** (j / 2) / (n * one**2) for one in taus.values() for j in range(-2, 3)]
    risk = min(slow_risk(G, S, alpha, tau) for alpha in tried)
    log = {"bounds": np.log([min(tried), max(tried)]), "method": "bounded"}
    least = minimize_scalar(lambda log_alpha: slow_risk(G, S, np.exp(log_alpha), tau), **log).fun
    bound = certificate.risk_bound(noise_variance=1.0, theta_norm=tau)
    figures = certificate.slack, certificate.variance, certificate.bias_share
    return [risk, bound, *figures], least


def test_rows_are_those_of_slow_loops(mixture, trials):
    """For one set of clusters of each size; methods share these sets, which grow by one each."""
    G, clusters, gone = mixture.features, mixture.clusters, {}
    for row in trials.itertuples():
        view, found = PoolView.of(G, m=7, rng=row.seed), []
        for names in combinations(range(3), row.dropped):
            part = np.flatnonzero(~np.isin(clusters, names))
            S = part[select(G[part], 9, method=row.method, rng=row.seed, m=7).indices]
            slow, least = slow_row(G, S, row.ratio, view)
            fast = [row.risk, row.bound, row.slack, row.variance, row.bias_share]
            if np.allclose(fast, slow, rtol=1e-9):
                found.append(set(names))
                assert row.risk <= 1.02 * least
                assert row.lost == 3 - len(np.unique(clusters[S])) >= row.dropped
        (gone[row.method, row.seed, row.ratio, row.dropped],) = found
    for (method, *trial, dropped), names in gone.items():
        assert dropped == 0 or gone[method, *trial, dropped - 1] < names
        assert names == gone["uniform", *trial, dropped]
    assert len(trials) == len(gone) == 2 * 2 * 2 * 3


@pytest.mark.parametrize("seed", range(3))
def test_bound_is_the_mean_risk_where_all_directions_lead(seed):
    """No sketch, r̄ = r: what the certificate proves is attained, at a penalty that is tried."""
    G = np.random.default_rng(seed).standard_normal((80, 5)) * [3, 2, 1, 1, 1]
    found = certificate_trials(
        G, np.arange(80) % 4, 12, methods=METHODS, seeds=[seed], ratios=[0.1, 10.0, 1e3], rng=0
    )
    assert Spectrum.of(G).intrinsic_dimension == 5
    np.testing.assert_allclose(found["risk"], found["bound"], rtol=1e-9)


def test_bound_holds_where_fewer_lead():
    """No sketch, r̄ < r: θ* without a part in the tail costs no more than one with it."""
    mixture = gaussian_mixture(200, 30, 4, rng=1, smallest_share=0.1)
    found = certificate_trials(
        mixture.features, mixture.clusters, 12, methods=METHODS, seeds=[0], ratios=[10.0], rng=0
    )
    assert (found["risk"] <= found["bound"] * (1 + 1e-9)).all()


def test_one_direction_leaves_nothing_to_draw():
    """r̄ = 1: the risk of one θ* is the mean risk."""
    G = np.outer(np.linspace(1, 2, 50), [3.0, 4.0])
    found = certificate_trials(
        G, np.arange(50) % 2, 5, methods=METHODS, seeds=[0], ratios=[7.0], rng=3, dropped=[0, 1]
    )
    np.testing.assert_allclose(found["one_risk"], found["risk"], rtol=1e-9)


def test_one_theta_has_the_energy_of_all():
    """Where each of eight axes is seen alone in turn, what is seen of θ* adds up to all of it."""
    axis = np.arange(400) % 8
    chosen = {"methods": ["uniform"], "seeds": range(60), "ratios": [1e9], "dropped": [0]}
    found = certificate_trials(np.eye(8)[axis], axis, 1, rng=0, **chosen)
    np.testing.assert_allclose(found["risk"], 1e9 * 7 / 8, rtol=1e-6)
    seen = np.unique(1e9 - found["one_risk"].round(-3))
    assert len(seen) == 8
    assert seen.sum() == pytest.approx(1e9, rel=1e-4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ["magic"]}, "method must be one of"),
        ({"dropped": [0, 3]}, r"dropped must be .*\[0, 2\], got dropped=3; there are 3 clusters"),
        ({"ratios": [0.0]}, "ratio must be .* above 0"),
        ({"n": 50}, r"n must be .*got n=50; without the 2 largest clusters there are no more"),
        ({"clusters": [0, 1]}, "clusters must be N=60 whole numbers"),
    ],
)
def test_bad_arguments_are_named(mixture, changed, message):
    arguments = {"features": mixture.features, "clusters": mixture.clusters, "n": 9}
    arguments |= {"methods": METHODS, "seeds": [0], "ratios": [1.0], "rng": 0, "dropped": [0, 2]}
    with pytest.raises(ValueError, match=message):
        certificate_trials(**(arguments | changed))

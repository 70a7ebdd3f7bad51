"""Slack, the corollary and Theorem 3.1 beside the truth: order of the bounds, and slow paths."""

import numpy as np
import pytest
import scipy.linalg

from skmm.selection.certificate import certify
from skmm.selection.select import select
from skmm.training.risk import RidgeRisk
from skmm_study.pools.synthetic import gaussian_mixture
from skmm_study.theory.corollary import corollary_bound
from skmm_study.trials.slacks import sketch_bound_trials, slack_trials, uneven_subset


def draw(seed):
    return gaussian_mixture(150, 30, 3, rng=seed, smallest_share=0.1)


def test_risk_theorem_and_corollary_come_in_this_order(rng):
    """At every rank, over problems of every kind: n below, at and above r."""
    for _ in range(60):
        N, r = rng.integers(3, 20, 2)
        n = int(rng.integers(1, N + 1))
        G = rng.standard_normal((N, r)) * np.arange(1, r + 1.0) ** -rng.uniform(0, 2)
        theta = rng.standard_normal(r)
        scale = {"noise_variance": 10 ** rng.uniform(-4, 1), "theta_norm": np.linalg.norm(theta)}
        seen = RidgeRisk.of(G).on(rng.choice(N, n, replace=False))
        noise = scale["noise_variance"]
        risk = seen.excess_risk(G @ theta, noise_variance=noise).best.total.item()
        theorem = seen.theorem_2_2(**scale).total
        for k in range(1, len(seen.eigenvalues) + 1):
            found = corollary_bound(seen, k, **scale)
            assert risk <= theorem[k - 1] * (1 + 1e-9)
            assert theorem[k - 1] <= found.bound * (1 + 1e-9)


def test_slack_is_the_largest_generalised_eigenvalue(rng):
    """Of the two moments on the subset's leading directions, formed the long way."""
    G = rng.standard_normal((40, 6)) * np.geomspace(1, 0.1, 6)
    S = rng.choice(40, 12, replace=False)
    sigma, of_subset = G.T @ G / 40, G[S].T @ G[S] / 12
    V = np.linalg.eigh(of_subset)[1][:, ::-1][:, :4]
    expected = scipy.linalg.eigh(V.T @ sigma @ V, V.T @ of_subset @ V, eigvals_only=True)[-1]
    found = corollary_bound(RidgeRisk.of(G).on(S), 4, noise_variance=0.5, theta_norm=2.0)
    assert found.slack == pytest.approx(expected)
    assert found.variance == pytest.approx(2 * expected * 0.5 * 4 / 12)
    assert found.bias == pytest.approx(2 * (np.trace(sigma) - np.trace(V.T @ sigma @ V)) * 4)


def test_whole_pool_has_slack_one_and_meets_the_theorem(rng):
    G = rng.standard_normal((30, 5))
    seen = RidgeRisk.of(G).on(np.arange(30))
    found = corollary_bound(seen, 5, noise_variance=0.5, theta_norm=1.0)
    assert found.slack == pytest.approx(1)
    theorem = seen.theorem_2_2(noise_variance=0.5, theta_norm=1.0).total[-1]
    assert found.bound == pytest.approx(theorem)


@pytest.mark.parametrize(("k", "named"), [(0, "k"), (6, "k")])
def test_rank_must_be_the_subsets(rng, k, named):
    seen = RidgeRisk.of(rng.standard_normal((30, 5))).on(np.arange(30))
    with pytest.raises(ValueError, match=named):
        corollary_bound(seen, k, noise_variance=0.5, theta_norm=1.0)


@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0])
def test_uneven_subset_has_every_cluster(rng, spread):
    clusters = np.repeat([0, 1, 2], [60, 30, 10])
    counts = [
        np.bincount(clusters[uneven_subset(clusters, 20, spread=spread, rng=rng)], minlength=3)
        for _ in range(200)
    ]
    assert (np.sum(counts, axis=1) == 20).all()
    assert np.min(counts) >= 1
    assert (np.max(counts, axis=0) <= [60, 30, 10]).all()
    if spread == 0:  # proportional to the sizes, on average, after one each
        expected = 1 + 17 * np.array([0.6, 0.3, 0.1])
        np.testing.assert_allclose(np.mean(counts, axis=0), expected, atol=4 * 2.1 / np.sqrt(200))
    with pytest.raises(ValueError, match="n"):
        uneven_subset(clusters, 2, spread=spread, rng=rng)


def test_slack_trials_are_in_units_of_the_rate():
    found = slack_trials(draw, 12, [0.0, 1.0], seeds=[2], noise_variance=0.01)
    mixture = draw(2)
    seen = RidgeRisk.of(mixture.features).on(select(mixture.features, 12, rng=2).indices)
    row = found[found["spread"].isna()].iloc[0]
    unit = 0.01 * 3 / 12
    risk = seen.excess_risk(mixture.signal, noise_variance=0.01).best.total.item()
    assert row["constant"] == pytest.approx(risk / unit)
    length = np.linalg.norm(mixture.theta)
    by_slack = corollary_bound(seen, 3, noise_variance=0.01, theta_norm=length)
    assert row["corollary"] == pytest.approx(by_slack.bound / unit)
    trace = np.trace(mixture.features.T @ mixture.features) / 150
    paper = (by_slack.slack * 0.01 * 3 + trace * length**2) / 12
    assert row["paper"] == pytest.approx(paper / unit)
    assert (found["constant"] <= found["theorem"]).all()
    assert (found["theorem"] <= found["corollary"]).all()
    assert len(found) == 3


def test_sketch_bound_is_of_the_slack_in_the_sketch():
    found = sketch_bound_trials(
        draw, 20, [5, 10], methods=["uniform"], seeds=[1], noise_levels=[0.01, 1.0]
    )
    assert len(found) == 4
    row = found[(found["m"] == 5) & (found["noise_variance"] == 1.0)].iloc[0]
    mixture = draw(1)
    chosen = select(mixture.features, 20, method="uniform", m=5, rng=1)
    rows = chosen.view.rows
    sigma, of_subset = rows.T @ rows / 150, rows[chosen.indices].T @ rows[chosen.indices] / 20
    slack = scipy.linalg.eigh(sigma, of_subset, eigvals_only=True)[-1]
    assert row["slack"] == pytest.approx(slack)
    assert row["slack"] == pytest.approx(certify(chosen.view, chosen.indices, k=5).slack)
    trace = np.trace(mixture.features.T @ mixture.features) / 150
    assert row["bound"] == pytest.approx(slack / 20 * (5.0 + trace))
    assert row["ratio"] == pytest.approx(row["risk"] / row["bound"])
    with pytest.raises(ValueError, match="m"):
        sketch_bound_trials(draw, 4, [5], methods=["uniform"], seeds=[1], noise_levels=[1.0])

"""Rates on known mixtures: the unit is σ²K/n, and every entry is what the risk module says."""

import numpy as np
import pytest

from skmm.training.risk import RidgeRisk
from skmm_study.pools.synthetic import gaussian_mixture
from skmm_study.trials.rates import rate_trials


def draw(seed):
    return gaussian_mixture(120, 20, 3, rng=seed, smallest_share=0.1)


@pytest.fixture(scope="module")
def trials():
    return rate_trials(draw, ["skmm", "uniform"], [6, 12], seeds=[0, 3], noise_variance=0.01, m=8)


def test_columns_are_the_closed_form_in_units_of_the_rate(trials):
    for row in trials.results.itertuples():
        mixture = draw(row.seed)
        S = trials.subsets[row.method, row.n, row.seed]
        seen = RidgeRisk.of(mixture.features).on(S)
        split = seen.excess_risk(mixture.signal, noise_variance=0.01).best
        assert row.constant == pytest.approx(split.total.item() * row.n / (0.01 * 3))
        assert row.constant == pytest.approx(row.variance + row.bias)
        assert row.bound == pytest.approx(row.bound_variance + row.bound_bias)
        assert row.constant <= row.bound
        assert row.lost == 3 - len(np.unique(mixture.clusters[S]))


def test_every_seed_has_a_mixture_of_its_own(trials):
    assert list(trials.results.groupby("seed").size()) == [4, 4]
    assert len(trials.subsets) == len(trials.times) == len(trials.results) == 8

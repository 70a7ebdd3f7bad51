"""Subsets beside each other: slow loops and the order of roundings."""

import numpy as np
import pytest

from skmm.selection.select import select
from skmm.selection.view import PoolView
from skmm.spectrum import Spectrum
from skmm_study.pools.synthetic import gaussian_mixture
from skmm_study.trials.ladders import (
    every_moment_gap,
    moment_trials,
    rounding_trials,
)


def test_moment_trials_are_above_the_bound_and_certified():
    G = gaussian_mixture(200, 30, 4, rng=0).features
    methods = {"skmm": {"criterion": "v-optimal"}, "uniform": {}}
    subsets = {
        (method, 12, seed): select(G, 12, rng=seed, m=10, method=method, **knobs).indices
        for method, knobs in methods.items()
        for seed in range(3)
    }
    found = moment_trials(lambda seed: PoolView.of(G, m=10, rng=seed), subsets)
    assert list(found[["method", "n", "seed"]].itertuples(index=False, name=None)) == list(subsets)
    assert (found["ratio"] >= 1).all()
    assert (found["certified_slack"] >= found["slack"]).all()
    assert found[found["method"] == "skmm"]["ratio"].max() < 1.1


def test_exchange_ends_no_higher_than_it_starts():
    rows = gaussian_mixture(300, 30, 4, rng=1).features
    found = rounding_trials(Spectrum.of(rows).whiten(rows, 4), [12, 24], seeds=range(2))
    ratio = found.set_index(["method", "n", "seed"])["ratio"]
    assert (ratio >= 1).all()
    for start in ("top", "regret"):
        assert (ratio[f"{start}, exchange"] <= ratio[start] * (1 + 1e-6)).all()


@pytest.mark.parametrize("n", [1, 3, 6])
def test_every_gap_is_that_of_the_moments(rng, n):
    rows = rng.standard_normal((6, 2))
    every, gaps = every_moment_gap(rows, n)
    assert len(np.unique(every, axis=0)) == len(every) == {1: 6, 3: 20, 6: 1}[n]
    for subset, gap in zip(every, gaps, strict=True):
        slow = np.sum((rows[subset].T @ rows[subset] / n - rows.T @ rows / 6) ** 2)
        assert gap == pytest.approx(slow, abs=1e-12)

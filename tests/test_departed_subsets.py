"""Subsets of the published code's departures, on a small pool."""

import numpy as np
import pytest

from skmm.matching.program import match_moments, moment_shares
from skmm.rounding.sampling import round_to_top
from skmm.selection.view import PoolView
from skmm_study.theory.departures import softmax_distance_bound
from skmm_study.trials.departures import CODED, DEPARTURES, STATED, departed_subsets
from skmm_study.trials.subsets import WeightedSubset


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    return rng.standard_normal((200, 12)) * np.geomspace(1, 0.2, 12)


@pytest.fixture(scope="module")
def found(rows):
    return departed_subsets(rows, [20, 40], m=6, batch=50, seeds=[0, 3])


def test_every_departure_is_there_and_every_subset_is_one(found):
    subsets, measured = found
    assert len(subsets) == len(measured) == 2 * (2 * len(DEPARTURES) - 1)
    for (_, n, _), S in subsets.items():
        assert len(np.unique(S)) == len(S) <= n
        assert isinstance(S, WeightedSubset) or len(S) == n
    at_first = measured[measured["n"] == 20]
    assert set(DEPARTURES) - set(at_first["method"]) == {"another budget's"}


@pytest.mark.parametrize("n", [20, 40])
@pytest.mark.parametrize("seed", [0, 3])
def test_one_step_at_a_time_is_replaced(rows, found, n, seed):
    """Against the library's own pieces, put together by hand."""
    subsets, _ = found
    view = PoolView.of(rows, m=6, rng=seed)
    relaxed = match_moments(moment_shares(view.rows, view.spectrum), n, rng=seed, slack=STATED)
    np.testing.assert_array_equal(subsets["top n", n, seed], round_to_top(relaxed.s, n))
    # Squared weights stay at the random start, and a draw of n from n samples takes them all.
    kept = np.sort(subsets["squared weights", n, seed])
    np.testing.assert_array_equal(kept, np.flatnonzero(relaxed.start))
    again = subsets["with replacement", n, seed]
    assert again.weights.sum() == pytest.approx(1)
    assert relaxed.s[again.indices].min() > 0
    assert set(np.rint(again.weights * n)) <= {1, 2, 3, 4, 5, 6}


def test_weights_of_the_smallest_budget_serve_the_other(found):
    """Its samples come first, and the rest is drawn from what has no weight."""
    subsets, _ = found
    for seed in (0, 3):
        relaxed_support = set(subsets["another budget's", 40, seed].tolist())
        assert len(relaxed_support & set(subsets["skmm_paper", 20, seed].tolist())) >= 15


def test_measures_say_what_the_weights_are(found):
    _, measured = found
    by = measured.set_index(["method", "n"]).sort_index()
    for n in (20, 40):
        uniform, soft = by.loc[("uniform", n)], by.loc[("softmax", n)]
        np.testing.assert_allclose(uniform["to_uniform"], 0, atol=1e-12)
        assert (uniform["differs"] == 0).all()
        assert (soft["to_uniform"] <= softmax_distance_bound(200, n)).all()
        assert (soft["differs"] <= 1 / n).all()
        assert (by.loc[("squared weights", n), "kept"] == 1).all()
        assert (by.loc[("skmm_paper", n), "largest"] <= 1 + 1e-9).all()
        assert (by.loc[("as coded", n), "largest"] > 1).all()
        assert (by.loc[("with replacement", n), "distinct"] < 1).all()
    assert CODED < 1 < STATED


def test_a_seed_and_a_budget_have_subsets_of_their_own(rows, found):
    """Whatever else was asked for beside them."""
    subsets, _ = found
    same = departed_subsets(rows, [20], m=6, batch=50, seeds=[3])[0]
    for name, n, seed in same:
        np.testing.assert_array_equal(same[name, n, seed], subsets[name, n, seed])


def test_budgets_begin_with_the_smallest(rows):
    with pytest.raises(ValueError, match="smallest"):
        departed_subsets(rows, [40, 20], m=6, batch=50, seeds=[0])

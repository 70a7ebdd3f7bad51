"""Where the weights of the paper's program lie, and what a draw from them includes."""

from itertools import combinations

import numpy as np
import pytest

from skmm.selection.view import PoolView
from skmm.spectrum import Spectrum
from skmm_study.pools.synthetic import gaussian_mixture
from skmm_study.theory.agreement import covered_dimension
from skmm_study.theory.relaxation import inclusion_spread, relaxation_trials


@pytest.fixture(scope="module")
def view():
    return PoolView.of(gaussian_mixture(300, 40, 4, rng=0).features, m=10, rng=0)


def test_spread_is_the_mean_overlap_of_pairs(rng):
    subsets = np.array([rng.choice(30, 7, replace=False) for _ in range(12)])
    overlaps = [len(np.intersect1d(a, b)) for a, b in combinations(subsets, 2)]
    assert inclusion_spread(subsets, 30).chi_square == pytest.approx(
        30 / 7**2 * np.mean(overlaps) - 1
    )


def test_spread_of_the_same_subset_is_the_largest():
    spread = inclusion_spread(np.tile(np.arange(5), (10, 1)), 40)
    assert spread.chi_square == pytest.approx(40 / 5 - 1)


def test_spread_is_that_of_the_probabilities(rng):
    """Single samples from known probabilities: the estimate has no bias."""
    p = np.array([0.4, 0.3, 0.2, 0.1])
    estimates = [inclusion_spread(rng.choice(4, (30, 1), p=p), 4).chi_square for _ in range(400)]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - (4 * p @ p - 1)) < 4 * error


def test_noise_is_that_of_uniform_draws(rng):
    repeats, T = 400, 20
    spreads = [
        inclusion_spread([rng.choice(50, 10, replace=False) for _ in range(T)], 50)
        for _ in range(repeats)
    ]
    found = np.array([spread.chi_square for spread in spreads])
    noise = spreads[0].noise
    assert abs(found.mean()) < 4 * noise / np.sqrt(repeats)
    assert abs(found.std() / noise - 1) < 4 / np.sqrt(2 * repeats)


def test_one_draw_has_no_overlap():
    with pytest.raises(ValueError, match="at least two draws, got 1"):
        inclusion_spread(np.arange(4)[None], 10)


def test_uniform_weights_solve_the_program_from_a_slack_of_one_on(view):
    """And below it leave a known deficit in every direction, which the solver lowers."""
    runs = [("newton", slack, 2000) for slack in (0.8, 1.0, 1 / 0.9, 4.0)]
    found = relaxation_trials(view, [24], runs, seeds=[0]).set_index("slack")
    rank = view.spectrum.rank
    deficit = 0.5 * rank * max(0.0, 1 / 0.8 - 1) ** 2
    assert found.loc[0.8, "uniform_objective"] == pytest.approx(deficit)
    assert found.loc[1.0:, "uniform_objective"].max() < 1e-20
    assert (found["objective"] <= found["uniform_objective"] + found["gap"] + 1e-20).all()


@pytest.mark.parametrize("solver", ["newton", "recipe"])
def test_weights_that_have_not_moved_are_their_start(view, solver):
    """A slack that asks for next to nothing is met by any subset that spans; no step moves none."""
    run = {"newton": ("newton", 1e6, 2000), "recipe": ("recipe", 1.0, 0)}[solver]
    found = relaxation_trials(view, [30], [run], seeds=range(2))
    assert found["to_start"].max() < 1e-12
    assert (found["kept"] == 1).all()
    np.testing.assert_allclose(found["to_uniform"], 1 - 30 / 300)
    np.testing.assert_allclose(found["variance"], found["start_variance"])
    assert found["start_variance"].nunique() == 2


def test_recipe_ends_at_uniform_weights_where_the_program_asks_for_more(view):
    """They do not solve it: the exact solver finds lower ones."""
    runs = [("recipe", 0.5, 2000), ("newton", 0.5, 2000)]
    found = relaxation_trials(view, [30], runs, seeds=[0]).set_index("solver")
    assert found.loc["recipe", "to_uniform"] < 0.02 < 0.8 < found.loc["recipe", "to_start"]
    assert found.loc["newton", "objective"] < 0.9 * found.loc["recipe", "objective"]


def test_unknown_solver_is_named_before_any_work(view):
    with pytest.raises(ValueError, match="solver must be one of"):
        relaxation_trials(view, [30], [("adam", 1.0, 10)], seeds=[0])


def test_three_samples_cover_a_direction():
    spectrum = Spectrum.of(np.vstack([np.diag(np.arange(10.0, 0, -1)), np.zeros((990, 10))]))
    assert [covered_dimension(spectrum, n) for n in (1, 6, 29, 300)] == [1, 2, 9, 10]

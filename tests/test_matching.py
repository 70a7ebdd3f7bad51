"""The relaxed program: equal to a reference solver, feasible, certified, free of the basis."""

import warnings

import numpy as np
import pytest

from skmm.matching.program import match_moments, moment_shares
from skmm.matching.recipe import adam_clip_renormalise
from skmm.numerics.convergence import ConvergenceWarning
from skmm.numerics.streams import as_generator
from skmm.spectrum import Spectrum
from skmm_study.pools.synthetic import gaussian_mixture
from skmm_study.theory.objective import unscaled_objective

TRIALS = range(20)
inaccurate = pytest.mark.filterwarnings("ignore:Solution may be inaccurate")


def small_problem(trial, *, scarce):
    """Shares, a budget and a slack; a scarce one asks for more than the capped simplex can give."""
    rng = np.random.default_rng(trial)
    N, m = int(rng.integers(40, 401)), int(rng.integers(2, 25))
    G = rng.standard_normal((N, m)) * np.geomspace(1, 10.0 ** -rng.uniform(0, 2), m)
    if trial % 2:
        G *= np.exp(rng.standard_normal((N, 1)) / 2)
    n = int(rng.integers(N // 3, N // 2)) if scarce else int(rng.integers(1, N // 2))
    slack = rng.uniform(0.02, 0.4) if scarce else rng.uniform(1, 4)
    return moment_shares(G, Spectrum.of(G)), n, slack


def objective(shares, s, slack):
    return 0.5 * np.sum(np.maximum(1 / slack - shares.T @ s, 0) ** 2)


def assert_feasible(s, n):
    assert s.min() >= 0
    assert s.max() <= 1 / n * (1 + 1e-9)
    assert abs(s.sum() - 1) < 1e-9


@inaccurate
@pytest.mark.parametrize("trial", TRIALS)
def test_equals_the_reference_solver(trial):
    """With c_S ≥ 1 both find objective 0, to 1e-12 of that of an empty selection."""
    shares, n, slack = small_problem(trial, scarce=False)
    empty = objective(shares, np.zeros(len(shares)), slack)
    for solver in ("newton", "cvxpy"):
        relaxed = match_moments(shares, n, rng=trial, slack=slack, solver=solver)
        assert_feasible(relaxed.s, n)
        assert relaxed.objective <= 1e-12 * empty
        assert relaxed.gap <= 1e-12 * empty


@inaccurate
@pytest.mark.parametrize("trial", TRIALS)
def test_equals_the_reference_solver_above_zero(trial):
    """With c_S < 1 and a minimum well above 0, the objectives agree to 1e-6 relative and better."""
    shares, n, slack = small_problem(trial, scarce=True)
    ours = match_moments(shares, n, rng=trial, slack=slack)
    reference = match_moments(shares, n, rng=trial, slack=slack, solver="cvxpy")
    assert reference.objective > 1e-3 * objective(shares, np.zeros(len(shares)), slack)
    assert ours.objective == pytest.approx(reference.objective, rel=1e-9)
    for relaxed in (ours, reference):
        assert_feasible(relaxed.s, n)
        assert relaxed.objective == pytest.approx(objective(shares, relaxed.s, slack), rel=1e-12)
        assert relaxed.gap <= 1e-8 * relaxed.objective


@inaccurate
@pytest.mark.filterwarnings("ignore::skmm.ConvergenceWarning")
@pytest.mark.parametrize("steps", [1, 3, 10, 30, 100])
def test_gap_bounds_the_distance_to_the_minimum(steps):
    """However early the solver stops, f(s) − min f ≤ gap; the reference's lower bound is min f."""
    for trial in range(5):
        shares, n, slack = small_problem(trial, scarce=True)
        best = match_moments(shares, n, rng=0, slack=slack, solver="cvxpy")
        early = match_moments(shares, n, rng=0, slack=slack, max_steps=steps)
        assert early.steps <= steps
        assert early.objective - best.objective <= early.gap + best.gap + 1e-12 * best.objective
        assert_feasible(early.s, n)


@pytest.mark.parametrize("slack", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("n", [24, 400])
def test_newton_is_exact_on_tight_clusters(n, slack):
    """To 1e-12 of an empty selection."""
    mixture = gaussian_mixture(1000, 60, 8, rng=0)
    shares = moment_shares(mixture.features, Spectrum.of(mixture.features), 8)
    exact = match_moments(shares, n, rng=0, slack=slack)
    assert_feasible(exact.s, n)
    assert exact.converged
    assert exact.gap <= 1e-12 * objective(shares, np.zeros(1000), slack)


def test_an_early_stop_is_told():
    """The result says so, and a warning gives the gap that is left and what to change."""
    shares, n, slack = small_problem(3, scarce=True)
    empty = objective(shares, np.zeros(len(shares)), slack)
    with pytest.warns(ConvergenceWarning, match="max_steps=2 with a gap of .* allow more") as told:
        early = match_moments(shares, n, rng=0, slack=slack, max_steps=2)
    assert not early.converged
    assert f"{early.gap / empty:.2g}" in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert match_moments(shares, n, rng=0, slack=slack).converged


@pytest.mark.parametrize("slack", [1.0, 1 / 0.9, 1 / 0.6])
def test_uniform_weights_solve_every_program_of_the_paper(slack):
    """For c_S ≥ 1 they have objective 0: the program asks for no more than the pool's mean."""
    shares, _, _ = small_problem(0, scarce=False)
    assert objective(shares, np.full(len(shares), 1 / len(shares)), slack) < 1e-28


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-8])
def test_stops_at_the_tolerance(tolerance):
    """A looser tolerance takes no more steps, and the gap reached is what was asked for."""
    shares, n, slack = small_problem(3, scarce=True)
    loose = match_moments(shares, n, rng=0, slack=slack, tolerance=tolerance)
    tight = match_moments(shares, n, rng=0, slack=slack, tolerance=tolerance / 10)
    empty = objective(shares, np.zeros(len(shares)), slack)
    assert loose.gap <= tolerance * empty
    assert loose.steps <= tight.steps


@pytest.mark.parametrize("trial", range(4))
def test_permutation_of_the_pool_permutes_nothing_but_samples(trial):
    """The least objective, and what it covers, do not depend on the order of the samples."""
    shares, n, slack = small_problem(trial, scarce=True)
    order = np.random.default_rng(trial).permutation(len(shares))
    one = match_moments(shares, n, rng=0, slack=slack)
    other = match_moments(shares[order], n, rng=0, slack=slack)
    assert other.objective == pytest.approx(one.objective, rel=1e-9)
    # γ is unique: f is strictly convex in what is covered, wherever a direction falls short.
    np.testing.assert_allclose(other.gamma, one.gamma, rtol=1e-3)


def test_shares_are_free_of_scale_and_basis():
    """Scaling all rows, or rotating the sketch, leaves every share of every direction as it is."""
    rng = np.random.default_rng(0)
    G = rng.standard_normal((80, 6)) * np.geomspace(1, 0.1, 6)
    Q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    shares = moment_shares(G, Spectrum.of(G))
    for rows in (1e-7 * G, 1e9 * G, -G, G @ Q):
        np.testing.assert_allclose(moment_shares(rows, Spectrum.of(rows)), shares, rtol=1e-7)
    np.testing.assert_allclose(shares.mean(axis=0), 1, rtol=1e-12)
    np.testing.assert_array_equal(moment_shares(G, Spectrum.of(G), 2), shares[:, :2])


def test_one_seed_one_solution():
    """The start is all that is random; a generator in the same state gives the same weights."""
    shares, n, slack = small_problem(0, scarce=False)
    s = match_moments(shares, n, rng=5, slack=slack).s
    np.testing.assert_array_equal(match_moments(shares, n, rng=5, slack=slack).s, s)
    generator = as_generator(5, "match_moments")
    np.testing.assert_array_equal(match_moments(shares, n, rng=generator, slack=slack).s, s)
    assert not np.array_equal(match_moments(shares, n, rng=6, slack=slack).s, s)


def test_the_start_is_told():
    """A random subset, the one that no step has moved: so nobody needs to draw it a second time."""
    G = np.random.default_rng(0).standard_normal((60, 4))
    spectrum = Spectrum.of(G)
    shares = moment_shares(G, spectrum)
    solvers = {
        "newton": lambda slack, steps: match_moments(
            shares, 12, rng=5, slack=slack, max_steps=max(steps, 1)
        ),
        "recipe": lambda slack, steps: adam_clip_renormalise(
            G, spectrum, 12, rng=5, slack=slack, steps=steps
        ),
    }
    starts = []
    for solve in solvers.values():
        still, moved = solve(1e6, 0), solve(0.9, 50)
        np.testing.assert_array_equal(still.s, still.start)
        np.testing.assert_array_equal(moved.start, still.start)
        assert np.abs(moved.s - moved.start).max() > 1e-6
        assert sorted(moved.start) == [0.0] * 48 + [1 / 12] * 12
        starts.append(moved.start)
    assert not np.array_equal(*starts)  # each of a stream of its own


@inaccurate
def test_the_reference_has_no_start():
    shares, n, slack = small_problem(0, scarce=False)
    assert match_moments(shares, n, rng=0, slack=slack, solver="cvxpy").start is None


@inaccurate
@pytest.mark.parametrize("solver", ["newton", "cvxpy"])
@pytest.mark.parametrize("case", ["one of many", "all", "single", "zero", "equal", "lonely"])
def test_degenerate_pools(case, solver):
    """Budgets of 1 and of N, N = 1, zero rows, equal rows, a direction only one sample has."""
    G = np.random.default_rng(0).standard_normal((30, 4))
    n = {"one of many": 1, "all": 30, "single": 1}.get(case, 5)
    if case == "single":
        G = G[:1]
    elif case == "zero":
        G = np.zeros((30, 4))
    elif case == "equal":
        G = np.tile(G[:1], (30, 1))
    elif case == "lonely":
        G[:, 3] = 0
        G[7, 3] = 1
    relaxed = match_moments(moment_shares(G, Spectrum.of(G)), n, rng=0, solver=solver)
    assert_feasible(relaxed.s, n)
    assert relaxed.objective <= 1e-12
    if case == "lonely":
        assert relaxed.s[7] >= 1 / 30 * (1 - 1e-5)  # its fair share: the direction is covered


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"n": 0}, "n must be a whole number"),
        ({"n": 41}, "n must be a whole number"),
        ({"slack": 0.0}, "slack must be a finite number above 0"),
        ({"slack": np.inf}, "slack must be a finite number above 0"),
        ({"tolerance": -1.0}, "tolerance must be a finite number above 0"),
        ({"max_steps": 0}, "max_steps must be a whole number"),
        ({"solver": "adam"}, "solver must be one of cvxpy, newton, got 'adam'"),
        ({"rng": None}, "rng must be"),
    ],
)
def test_bad_arguments_are_named(knobs, message):
    with pytest.raises(ValueError, match=message):
        match_moments(np.ones((40, 2)), **{"n": 4, "rng": 0, **knobs})


@pytest.mark.parametrize(
    ("share", "message"),
    [(np.nan, "shares must be finite, got nan at row 3"), (-0.5, "not be negative, got -0.5")],
)
def test_bad_shares_are_named(share, message):
    shares = np.ones((40, 2))
    shares[3, 1] = share
    with pytest.raises(ValueError, match=message):
        match_moments(shares, 4, rng=0)


def test_published_recipe_ends_no_better():
    """Adam with clip-and-renormalise: sums to 1, its gap holds, its objective is not below ours.

    Nor is it below its start's. Adam's steps are equally long in all weights, so that those of
    samples left out rise together, and renormalising takes from the others: the weights drift to
    uniform ones, which is where it ends.
    """
    G = np.random.default_rng(0).standard_normal((50, 4)) * np.geomspace(1, 0.3, 4)
    spectrum = Spectrum.of(G)
    shares = moment_shares(G, spectrum)
    ours = match_moments(shares, 20, rng=0, slack=0.4)
    knobs = {"slack": 0.4, "learning_rate": 1e-4}
    theirs = adam_clip_renormalise(G, spectrum, 20, rng=0, steps=200, **knobs)
    start = adam_clip_renormalise(G, spectrum, 20, rng=0, steps=0, **knobs)
    assert theirs.s.sum() == pytest.approx(1)
    assert theirs.objective == pytest.approx(objective(shares, theirs.s, 0.4))
    assert theirs.objective >= ours.objective - ours.gap
    own = [unscaled_objective(G, spectrum, one.s, slack=0.4) for one in (start, theirs)]
    assert own[1] > own[0]
    far = [np.abs(one.s - 1 / 50).sum() for one in (start, theirs)]
    assert far[1] < 0.5 * far[0]
    np.testing.assert_array_equal(np.unique(start.s), [0, 1 / 20])  # from a subset
    assert theirs.gamma.min() >= 1 / 0.4
    a = np.array([v @ G.T @ np.diag(theirs.s) @ G @ v for v in spectrum.eigenvectors.T])
    paper = np.sum(np.maximum(spectrum.eigenvalues / 0.4 - a, 0) ** 2)
    assert unscaled_objective(G, spectrum, theirs.s, slack=0.4) == pytest.approx(paper)

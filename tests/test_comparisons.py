"""Comparisons on real pools: the machinery against a plain loop, on pools small enough for one."""

import numpy as np
import pytest

import skmm
from skmm.training.probing import LinearProbe
from skmm_study.pools.compact import CompactPool
from skmm_study.pools.standins import stand_in_pools
from skmm_study.trials.balances import balance_trials, elbow_trials, part_trials, v_optimal
from skmm_study.trials.comparisons import Comparison
from skmm_study.trials.fits import PENALTIES, ProbeFit, RidgeFit
from skmm_study.trials.pairing import evaluation_rng
from skmm_study.trials.subsamples import Subsamples, draw_seed

N, N_TEST, BUDGETS = 60, 40, [12, 6]


@pytest.fixture(scope="module")
def data():
    """Three well separated classes on eight features."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, N + N_TEST)
    rows = 3 * np.eye(3, 8)[labels] + rng.standard_normal((N + N_TEST, 8))
    rows = rows.astype(np.float32)
    return CompactPool("Toy", rows[:N], labels[:N], rows[N:], labels[N:], tuple("abc"), {})


def test_subsample_is_a_part_of_the_data_and_of_its_seed(data):
    source = Subsamples(data, 0.75)
    first, again, other = source.of(3), Subsamples(data, 0.75).of(3), source.of(4)
    assert source.size == len(first.pool) == 45
    assert len(first.test) == 30
    np.testing.assert_array_equal(np.sort(np.r_[first.pool, first.rest]), np.arange(N))
    for part in ("pool", "rest", "test"):
        rows = getattr(first, part)
        assert (np.diff(rows) > 0).all()
        np.testing.assert_array_equal(rows, getattr(again, part))
        assert not np.array_equal(rows, getattr(other, part))
    assert set(first.test) <= set(range(N_TEST))


def test_rows_set_the_size_of_the_pool_alone(data):
    whole, few = Subsamples(data, 0.75).of(1), Subsamples(data, 0.75, rows=10).of(1)
    assert len(few.pool) == 10
    assert set(few.pool) < set(whole.pool)
    np.testing.assert_array_equal(few.test, whole.test)


def test_every_row_is_drawn_alike_often(data):
    counts = np.zeros(N)
    for seed in range(400):
        counts[Subsamples(data, 0.5).of(seed).pool] += 1
    assert np.abs(counts - 200).max() < 4.5 * np.sqrt(400 / 4)


@pytest.mark.parametrize("knobs", [{"share": 0.0}, {"share": 1.1}, {"rows": 0}, {"rows": N + 1}])
def test_impossible_parts_are_refused(data, knobs):
    with pytest.raises(ValueError, match=next(iter(knobs))):
        Subsamples(data, **knobs)


METHODS = {"skmm": {}, "herding": {}, "class_balanced": {}, "sensitivity": {}, "uniform": {}}
METHODS["wide"] = {"method": "max_herding", "sigma": 2.0}


def by_hand(data, *, share, seeds, draws, on="test", penalty=1e-3):
    """Score of every method, budget, seed and draw, each selected and fitted on its own."""
    found = {}
    for seed in range(seeds):
        seen = Subsamples(data, share).of(seed)
        for name, knobs in METHODS.items():
            knobs = {"method": name, **knobs}
            if name == "class_balanced":
                knobs["labels"] = data.pool_labels[seen.pool]
            for n in BUDGETS:
                for k in range(draws.get(name, 1)):
                    chosen = skmm.select(data.pool[seen.pool], n, rng=draw_seed(seed, k), **knobs)
                    order = np.argsort(chosen.indices)
                    S = seen.pool[chosen.indices[order]]
                    probe = LinearProbe.fit(
                        data.pool[S],
                        data.pool_labels[S],
                        rng=0,
                        alphas=[penalty],
                        weights=chosen.weights[order],
                    )
                    rows, labels = data.test[seen.test], data.test_labels[seen.test]
                    if on == "rest":
                        rows, labels = data.pool[seen.rest], data.pool_labels[seen.rest]
                    found[name, n, seed, k] = np.mean(probe.predict(rows) == labels)
    return found


@pytest.mark.parametrize(("on", "kept"), [("test", False), ("rest", True)])
def test_comparison_is_that_of_a_plain_loop(data, on, kept, tmp_path):
    """Weights, further draws, nested methods and knobs included; kept on disk or not."""
    running = {"folder": tmp_path, "workers": 2} if kept else {}
    draws, source = {"uniform": 3}, Subsamples(data, 0.75)
    compared = Comparison.of(source, METHODS, BUDGETS, seeds=2, draws=draws, **running)
    scores = compared.scores(ProbeFit(1e-3), on=on, **running)
    keys = scores[["method", "n", "seed", "draw"]].itertuples(index=False, name=None)
    made = dict(zip(keys, scores["score"], strict=True))
    assert made == by_hand(data, share=0.75, seeds=2, draws=draws, on=on)
    nested = compared.times[compared.times["method"].isin(["herding", "wide"])]
    assert set(nested["n"]) == {12}  # once a seed


def test_weights_are_used(data, monkeypatch):
    """The machinery hands them to the fit in the order of the rows."""
    seen = {}

    class Spy(ProbeFit):
        def __call__(self, rows, labels, others, truth, *, weights, rng):
            seen[len(rows)] = (rows, weights)
            return 0.0

    source = Subsamples(data, 0.75)
    compared = Comparison.of(source, ["sensitivity"], [12], seeds=1)
    compared.scores(Spy(1e-3))
    pool = source.of(0).pool
    chosen = skmm.select(data.pool[pool], 12, method="sensitivity", rng=0)
    assert np.ptp(chosen.weights) > 0
    rows, weights = seen[12]
    for index, weight in zip(pool[chosen.indices], chosen.weights, strict=True):
        (place,) = np.flatnonzero((rows == data.pool[index]).all(axis=1))
        assert weights[place] == weight


def test_slow_methods_get_the_first_seeds_alone(data):
    few = {"herding": 1}
    compared = Comparison.of(Subsamples(data), ["uniform", "herding"], [6], seeds=3, few=few)
    seeds = {(row, seed) for row, _, seed in compared.subsets}
    assert seeds == {("uniform", 0), ("uniform", 1), ("uniform", 2), ("herding", 0)}
    assert set(compared.scores(ProbeFit(1e-3), seeds=1)["seed"]) == {0}


def test_draws_of_a_seed_differ_and_begin_with_the_seed():
    seeds = [draw_seed(7, k) for k in range(6)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 6
    assert seeds == [draw_seed(7, k) for k in range(6)]


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"methods": []}, "must not be empty"),
        ({"budgets": []}, "must not be empty"),
        ({"methods": ["entropy"]}, "look at rows and labels alone"),
        ({"methods": ["nobody"]}, "nobody"),
        ({"budgets": [49]}, "n"),
        ({"seeds": 0}, "seeds"),
        ({"few": {"skmm": 1}}, "few or draws"),
        ({"draws": {"uniform": 0}}, "few or draws"),
    ],
)
def test_what_cannot_be_compared_is_refused(data, knobs, words):
    given = {"methods": ["uniform"], "budgets": [6], "seeds": 1, **knobs}
    with pytest.raises(ValueError, match=words):
        Comparison.of(Subsamples(data), given.pop("methods"), given.pop("budgets"), **given)


def test_scores_need_rows_outside_the_pool(data):
    compared = Comparison.of(Subsamples(data, 1.0), ["uniform"], [6], seeds=1)
    with pytest.raises(ValueError, match="on must be 'test'"):
        compared.scores(ProbeFit(1e-3), on="rest")
    with pytest.raises(ValueError, match="on must be one of"):
        compared.scores(ProbeFit(1e-3), on="train")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [15, 60])
def test_ridge_error_is_that_of_scikit_learn(n, weighted):
    """With fewer and with more rows than features; the fit has an intercept without a penalty."""
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(2)
    rows, others = rng.standard_normal((n, 20)) + 3, rng.standard_normal((30, 20)) + 3
    theta = rng.standard_normal(20)
    labels, truth = np.rint(50 + 9 * rows @ theta), np.rint(50 + 9 * others @ theta)
    weights = rng.uniform(0.5, 2, n) if weighted else None
    given = {"weights": weights, "rng": evaluation_rng(0)}
    found = RidgeFit()(rows, labels, others, truth, **given)
    masses = np.ones(n) if weights is None else n * weights / weights.sum()
    centre, level = masses @ rows / n, masses @ labels / n
    penalties = PENALTIES * np.mean(((rows - centre) ** 2).sum(axis=1))
    parts = np.array_split(evaluation_rng(0).permutation(n), 5)
    squares = np.zeros(len(penalties))
    for out in parts:
        kept = np.setdiff1d(np.arange(n), out)
        for a, penalty in enumerate(penalties):
            model = Ridge(alpha=masses[kept].sum() * penalty, fit_intercept=False)
            model.fit(rows[kept] - centre, labels[kept] - level, sample_weight=masses[kept])
            left = model.predict(rows[out] - centre) - (labels[out] - level)
            squares[a] += masses[out] @ left**2
    model = Ridge(alpha=n * penalties[np.argmin(squares)])
    model.fit(rows, labels, sample_weight=masses)
    assert found == pytest.approx(np.mean(np.abs(model.predict(others) - truth)), rel=1e-7)


def test_probe_without_a_penalty_chooses_one(data):
    given = data.pool, data.pool_labels, data.test, data.test_labels
    score = ProbeFit()(*given, weights=None, rng=evaluation_rng(4))
    probe = LinearProbe.fit(*given[:2], rng=evaluation_rng(4))
    assert score == skmm.probe_scores(probe, *given[2:]).accuracy


def test_balance_is_read_off_rows_held_out_of_the_pool(data):
    """Each weight is c n/N of the seed's pool, and no test row is looked at."""
    source = Subsamples(data, 0.75)
    blind = CompactPool(
        "Toy", data.pool, data.pool_labels, np.full_like(data.test, 9.0), data.test_labels, (), {}
    )
    knobs = {"factors": [0.0, 10.0], "widths": [0.7], "seeds": 2, "fit": ProbeFit(1e-3)}
    found = balance_trials(source, BUDGETS, **knobs)
    assert found.equals(balance_trials(Subsamples(blind, 0.75), BUDGETS, **knobs))
    assert len(found) == 2 * len(BUDGETS) * 2
    for row in found.itertuples():
        seen = source.of(row.seed)
        asked = {"criterion": "balanced", "sigma": row.sigma, "weight": row.c * row.n / 45}
        chosen = skmm.select(data.pool[seen.pool], row.n, rng=row.seed, **asked)
        S = np.sort(seen.pool[chosen.indices])
        probe = LinearProbe.fit(data.pool[S], data.pool_labels[S], rng=0, alphas=[1e-3])
        guesses = probe.predict(data.pool[seen.rest])
        assert row.score == np.mean(guesses == data.pool_labels[seen.rest])


def test_part_of_a_pool_is_judged_by_the_whole(data):
    """A pool beyond what the default compares is that default on a random part of it."""
    found = part_trials(data, 12, [30, N], seeds=2, fit=ProbeFit(1e-3))
    G = data.pool.astype(np.float64)
    G /= np.linalg.norm(G, axis=1, keepdims=True)
    for row in found.itertuples():
        part = Subsamples(data, rows=row.looked_at).of(row.seed).pool
        S = part[skmm.select(data.pool[part], 12, rng=row.seed).indices]
        nearest = np.exp(-((G[:, None] - G[S]) ** 2).sum(axis=2)).max(axis=1)
        far = np.exp(-((G[:, None] - G) ** 2).sum(axis=2))
        draws = [np.random.default_rng(k).choice(N, 12, replace=False) for k in range(4000)]
        chance = np.mean([1 - far[:, draw].max(axis=1).mean() for draw in draws])
        assert row.coverage == pytest.approx((1 - nearest.mean()) / chance, rel=5e-3)
        moment = skmm.FourthMoment(G, 12)
        moment.start(np.sort(S))
        assert row.fourth == pytest.approx(moment.value(), rel=1e-9)
    whole = found[found["looked_at"] == N]
    assert whole["coverage"].nunique() == 1  # no part is drawn of it, and so no seed counts


def test_directions_beyond_the_elbow_cost_variance():
    """On clusters with a spread tail: of the eight directions above it, the default covers all."""
    mixture = skmm_mixture()
    view = skmm.select(mixture.features, 90, method="uniform", rng=0).view
    assert view.spectrum.elbow == 6 < view.spectrum.intrinsic_dimension
    found = elbow_trials(mixture, 90, [6, 40], seeds=[0, 1])
    means = found.groupby("method")["constant"].mean()
    assert means["k = 6"] < means["k = 40"]
    assert means["skmm"] <= means["k = 6"] * (1 + 1e-9)
    assert (found.loc[found["method"] == "skmm", "lost"] == 0).all()
    assert len(np.unique(v_optimal(view, 90, 6))) == 90


def skmm_mixture():
    from skmm_study.pools.synthetic import gaussian_mixture

    return gaussian_mixture(500, 120, 6, rng=3, tail_energy=0.01)


def test_stand_ins_have_the_shape_of_the_pools():
    classes, targets = stand_in_pools()
    for pool in (classes, targets):
        assert pool.pool.dtype == pool.test.dtype == np.float32
        assert len(pool.pool) == len(pool.pool_labels)
        assert len(pool.test) == len(pool.test_labels)
        assert np.issubdtype(pool.pool_labels.dtype, np.integer)
    assert set(classes.pool_labels) == set(range(len(classes.class_names)))
    assert targets.class_names == ()
    assert len(np.unique(targets.pool_labels)) > 10

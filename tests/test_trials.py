"""Trials are those that `select` gives one by one, paired by seed; tables compare to published."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmm.selection.select import select
from skmm_study.report.published import compare_published, read_published, side_by_side
from skmm_study.trials.selections import run_selections
from skmm_study.trials.trials import run_trials

TABLE_1 = Path(__file__).resolve().parent.parent / "data" / "published_table1.csv"


@pytest.fixture(scope="module")
def features():
    """Three clusters, one of them small, in fewer and in more dimensions than samples."""
    rng = np.random.default_rng(3)
    centres = 5 * np.eye(3, 60)
    return centres[rng.choice(3, 50, p=[0.5, 0.4, 0.1])] + 0.3 * rng.standard_normal((50, 60))


def size(indices, rng):
    return {"size": len(indices)}


@pytest.mark.parametrize("method", ["uniform", "skmm", "leverage", "herding"])
def test_trials_are_those_of_select(features, method):
    """Whether run at every budget or at the largest alone."""
    trials = run_trials(features, [method], [9, 4], seeds=[5, 2], m=12, measure=size)
    for n in (9, 4):
        for seed in (5, 2):
            alone = select(features, n, method=method, rng=seed, m=12).indices
            np.testing.assert_array_equal(trials.subsets[method, n, seed], alone)
    runs = {"herding": 1, "leverage": 2}.get(method, 4)
    assert list(trials.times) == ["method", "n", "seed", "seconds", "peak_mb"]
    assert len(trials.times) == runs


def test_trials_and_selections_are_one(features, tmp_path):
    """Kept or not, in this process or in others, measured or not: the same subsets."""
    labels = np.arange(50) % 3
    methods = {"skmm": {"m": 12}, "herding": {}, "margin": {}, "class_balanced": {}}
    flat = np.full((50, 3), 1 / 3)  # a knob may be an array
    methods["given"] = {"method": "entropy", "probabilities": flat}
    given = {"seeds": [5, 2], "labels": labels, "initial": 20}
    measured = run_trials(features, methods, [9, 4], measure=size, **given).subsets
    kept = {"folder": tmp_path, "workers": 2}
    selected, _ = run_selections(features, given.pop("labels"), methods, [9, 4], **given, **kept)
    assert list(measured) == list(selected)
    for at, S in measured.items():
        np.testing.assert_array_equal(S, selected[at])


def test_results_are_tidy_and_ordered(features):
    methods = {"uniform": {}, "top": {"method": "skmm_paper", "rounding": "top"}}
    results = run_trials(features, methods, [3, 8], seeds=[1, 0], measure=size).results
    expected = [(k, n, s) for k in methods for n in (3, 8) for s in (1, 0)]
    assert list(results[["method", "n", "seed"]].itertuples(index=False, name=None)) == expected
    assert (results["size"] == results["n"]).all()


def test_knobs_reach_the_selector_under_its_name(features):
    """Own knobs go before common ones, and a row bears the name given, not the selector's."""
    methods = {"matched": {"method": "skmm_paper", "rounding": "sample", "m": 5}}
    trials = run_trials(features, methods, [6], seeds=[4], m=12, measure=size)
    alone = select(features, 6, method="skmm_paper", rounding="sample", rng=4, m=5).indices
    np.testing.assert_array_equal(trials.subsets["matched", 6, 4], alone)


def test_measures_are_paired(features):
    """Within a seed all methods get the same noise, which is another one in the next seed."""

    def noise(indices, rng):
        return {"noise": rng.standard_normal()}

    results = run_trials(
        features, ["uniform", "herding"], [4, 6], seeds=[0, 1], measure=noise
    ).results
    assert (results.groupby("seed")["noise"].nunique() == 1).all()
    assert results["noise"].nunique() == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"methods": ["magic"]}, "method must be one of"),
        ({"budgets": [51]}, r"n must be a whole number in \[1, 50\]"),
        ({"seeds": [-1]}, "seed must be a whole number at least 0"),
        ({"seeds": []}, "must not be empty"),
    ],
)
def test_bad_trials_are_refused_before_any_work(features, changed, words):
    arguments = {"methods": ["uniform"], "budgets": [4], "seeds": [0]} | changed
    measured = []
    with pytest.raises(ValueError, match=words):
        run_trials(features, **arguments, measure=lambda S, rng: measured.append(S) or {})
    assert not measured


def test_published_table_is_whole():
    """7 methods by 7 budgets; only herding, which is deterministic, has no deviation."""
    table = read_published(TABLE_1)
    assert (table.groupby("n")["method"].nunique() == 7).all()
    assert len(table) == 49
    assert set(table[table["std"].isna()].method) == {"herding_farthest"}


def test_comparison_of_a_table_with_itself():
    """Trials that have the published mean and deviation have ratio 1."""
    table = read_published(TABLE_1)
    up, down = (
        table.assign(risk=table["mean"] + sign * table["std"].fillna(0) / np.sqrt(2))
        for sign in (1, -1)
    )
    comparison = compare_published(pd.concat([up, down]), table, values="risk")
    np.testing.assert_allclose(comparison["ratio"], 1)
    np.testing.assert_allclose(comparison["std"], comparison["published_std"].fillna(0), atol=1e-12)
    text = side_by_side(comparison)
    assert len(text.splitlines()) == 2 + 2 * 7
    assert text.count("(3.54 ± 0.51)e-3") == 2


def test_what_was_not_published_is_a_dash():
    ours = pd.DataFrame({"method": ["magic"] * 2, "n": [48, 48], "risk": [1.0, 2.0]})
    comparison = compare_published(ours, read_published(TABLE_1), values="risk")
    assert comparison["ratio"].isna().all()
    assert "| magic | published | – |" in side_by_side(comparison)


def test_two_methods_may_be_put_beside_one_published_row():
    """Each has the ratio it would have under the published name; other rows stay as they are."""
    table = read_published(TABLE_1)
    ours = table[table["method"] == "skmm"].assign(risk=lambda rows: 2 * rows["mean"])
    trials = pd.concat([table.assign(risk=table["mean"]), ours.assign(method="as published")])
    comparison = compare_published(trials, table, values="risk", rows={"as published": "skmm"})
    second = comparison["method"] == "as published"
    assert second.sum() == len(ours)
    np.testing.assert_allclose(comparison["ratio"], np.where(second, 2, 1))
    assert list(comparison) == list(compare_published(trials, table, values="risk"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"skmm_paper": "skmm"}, "a method of rows must be one of uniform, got 'skmm_paper'"),
        ({"uniform": "random"}, r"rows\['uniform'\] must be one of .*, got 'random'"),
    ],
)
def test_rows_that_nothing_has_are_refused(rows, words):
    ours = pd.DataFrame({"method": ["uniform"], "n": [48], "risk": [1.0]})
    with pytest.raises(ValueError, match=words):
        compare_published(ours, read_published(TABLE_1), values="risk", rows=rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method,n,mean\nskmm,48,1.0\n", "must have the columns"),
        ("method,n,mean,std\nskmm,48,1.0,\nskmm,48,2.0,\n", "got skmm n=48 twice"),
    ],
)
def test_bad_published_table_is_refused(tmp_path, text, words):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_published(path)

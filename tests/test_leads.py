"""Leads over rivals: per-seed means, intervals and Holm's procedure, each against a plain loop."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skmm_study.figures.leads import plot_leads
from skmm_study.figures.methods import method_label
from skmm_study.report.leads import (
    gains,
    holm,
    lead_table,
    leads,
    means_of_draws,
    seed_means,
    standing,
)

METHODS, BUDGETS, SEEDS = ("skmm", "uniform", "herding", "class_balanced"), (8, 4, 16), range(7)
MEANS = {"skmm": 2.0, "uniform": 0.0, "herding": 2.1, "class_balanced": 9.0}


@pytest.fixture
def frame(rng):
    draws = {"uniform": 3}
    rows = [
        (k, n, t, d, MEANS[k] + np.log(n) + rng.standard_normal() / 2)
        for k in METHODS
        for n in BUDGETS
        for t in SEEDS
        for d in range(draws.get(k, 1))
    ]
    return pd.DataFrame(rows, columns=["method", "n", "seed", "draw", "score"])


def rejected_by_steps(p, level):
    """Holm's procedure as it is stated: from the least p-value on, until one is too large."""
    left, rejected = list(np.argsort(p)), set()
    while left and p[left[0]] <= level / len(left):
        rejected.add(left.pop(0))
    return rejected


def test_adjusted_values_reject_what_the_steps_reject(rng):
    for size in (1, 2, 9):
        for _ in range(40):
            p = rng.random(size) ** 3
            adjusted = holm(p)
            assert (adjusted >= p).all()
            assert (adjusted <= 1).all()
            for level in (0.01, 0.05, 0.2):
                expected = rejected_by_steps(p, level)
                assert set(np.flatnonzero(adjusted <= level)) == expected


def test_a_test_that_was_not_made_counts_and_stays_unknown():
    adjusted = holm([0.01, np.nan, 0.04])
    np.testing.assert_allclose(adjusted, [0.03, np.nan, 0.08])


def test_seed_means_are_of_draws_first_then_of_budgets(frame):
    means = seed_means(frame)
    for method in METHODS:
        for seed in SEEDS:
            budgets = []
            for n in BUDGETS:
                at = (frame["method"] == method) & (frame["n"] == n) & (frame["seed"] == seed)
                budgets.append(frame.loc[at, "score"].mean())
            assert means.at[seed, method] == pytest.approx(np.mean(budgets), rel=1e-14)
    draws = means_of_draws(frame)
    assert len(draws) == len(METHODS) * len(BUDGETS) * len(SEEDS)


def test_leads_are_paired_t_tests_adjusted_over_all_pools(frame):
    """In both directions of a score; references are compared, but neither tested nor counted."""
    errors = frame.assign(score=20 - frame["score"] ** 2)
    pools = {"a": frame, "b": errors}
    best = {"a": "max", "b": "min"}
    table = leads(pools, best=best, references=["class_balanced"]).set_index(["pool", "method"])
    p_values = {}
    for pool, part in pools.items():
        means, sign = seed_means(part), 1 if best[pool] == "max" else -1
        for method in METHODS:
            row, values = table.loc[pool, method], means[method]
            half = stats.t.ppf(0.975, 6) * values.std() / np.sqrt(7)
            assert row["mean"] == pytest.approx(values.mean())
            assert (row["low"], row["high"]) == pytest.approx(
                (values.mean() - half, values.mean() + half)
            )
            if method == "skmm":
                assert np.isnan(row["lead"])
                continue
            gaps = sign * (means["skmm"] - values)
            half = stats.t.ppf(0.975, 6) * gaps.std() / np.sqrt(7)
            assert row["lead"] == pytest.approx(gaps.mean())
            assert (row["lead_low"], row["lead_high"]) == pytest.approx(
                (gaps.mean() - half, gaps.mean() + half)
            )
            if method != "class_balanced":
                t = gaps.mean() / gaps.std() * np.sqrt(7)
                p_values[pool, method] = 2 * stats.t.sf(abs(t), 6)
    adjusted = holm(list(p_values.values()))
    for (pool, method), value in zip(p_values, adjusted, strict=True):
        row = table.loc[pool, method]
        assert row["holm"] == pytest.approx(value)
        direction = "ahead" if row["lead"] > 0 else "behind"
        assert row["verdict"] == (direction if value < 0.05 else "level")
    assert table["holm"].notna().sum() == 4
    assert set(table.xs("class_balanced", level="method")["verdict"]) == {"reference"}
    assert next(iter(table.loc["a"].index)) == "class_balanced"  # best first


def pools_of(rng, lead):
    """Two methods apart by ``lead`` standard deviations, on five seeds."""
    rows = [
        (method, 5, t, 0, rng.standard_normal() + (lead if method == "skmm" else 0))
        for method in ("skmm", "uniform")
        for t in range(5)
    ]
    return {"a": pd.DataFrame(rows, columns=["method", "n", "seed", "draw", "score"])}


@pytest.mark.parametrize(("lead", "expected"), [(50, "first"), (-50, "behind")])
def test_standing_goes_by_the_verdicts(rng, lead, expected):
    (row,) = standing(leads(pools_of(rng, lead), best={"a": "max"})).to_dict("records")
    assert row["standing"] == expected
    assert row["closest"] == "uniform"
    assert row["ahead" if lead > 0 else "behind"] == 1


def test_a_lead_that_is_not_sure_is_level():
    rows = [("skmm", 5, t, 0, 1.0 + t / 100) for t in range(4)]
    rows += [("uniform", 5, t, 0, v) for t, v in enumerate([0.0, 2.1, 0.1, 2.0])]
    pools = {"a": pd.DataFrame(rows, columns=["method", "n", "seed", "draw", "score"])}
    (row,) = standing(leads(pools, best={"a": "max"})).to_dict("records")
    assert (row["standing"], row["level"]) == ("level", 1)


def test_methods_of_few_seeds_are_compared_on_these(frame):
    few = frame[(frame["method"] != "herding") | (frame["seed"] < 3)]
    table = leads({"a": few}, best={"a": "max"}).set_index("method")
    means = seed_means(few)
    assert table.at["herding", "seeds"] == 3
    gaps = (means["skmm"] - means["herding"])[:3]
    assert table.at["herding", "lead"] == pytest.approx(gaps.mean())


def test_one_seed_has_no_interval(frame):
    table = leads({"a": frame[frame["seed"] == 0]}, best={"a": "max"})
    assert table[["low", "high", "lead_low", "lead_high", "p", "holm"]].isna().all(axis=None)
    assert set(table["verdict"]) == {"ours", "level"}


def test_printed_table_holds_scores_and_intervals(frame):
    table = leads({"a": frame}, best={"a": "max"})
    printed = lead_table(table, frame, unit=100, digits=1).set_index("method")
    assert list(printed.index) == [method_label(name) for name in table["method"]]
    assert list(printed.columns[1:4]) == ["n = 4", "n = 8", "n = 16"]
    row = table.set_index("method").loc["herding"]
    low, high = 100 * row["lead_low"], 100 * row["lead_high"]
    assert (
        printed.at["Herding (Welling)", "lead"]
        == f"{100 * row['lead']:+.1f} [{low:+.1f}, {high:+.1f}]"
    )
    assert printed.at["SkMM", "lead"] == ""


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: f.drop(columns="draw"), "draw"),
        (lambda f: f[f["method"] != "skmm"], "ours"),
        (lambda f: f[f["method"] == "skmm"], "rival"),
        (lambda f: f.drop(f.index[(f["n"] == 8) & (f["method"] == "herding")][0]), "every budget"),
    ],
)
def test_scores_that_do_not_compare_are_refused(frame, spoil, words):
    with pytest.raises(ValueError, match=words):
        leads({"a": spoil(frame)}, best={"a": "max"})


@pytest.mark.parametrize(("best", "sign"), [("max", 1), ("min", -1)])
def test_gains_are_over_the_mean_of_uniform(frame, best, sign):
    """At each budget; that of uniform sampling itself is zero on average."""
    found = gains(frame, best=best)
    for n in BUDGETS:
        part = found[found["n"] == n]
        at = frame["n"] == n
        chance = frame.loc[at & (frame["method"] == "uniform"), "score"].mean()
        own = frame.loc[at & (frame["method"] == "skmm")].sort_values("seed")["score"]
        seen = part[part["method"] == "skmm"].sort_values("seed")["gain"]
        np.testing.assert_allclose(seen, sign * (own - chance), rtol=1e-12)
        assert abs(part.loc[part["method"] == "uniform", "gain"].mean()) < 1e-12


def test_best_must_be_told(frame):
    with pytest.raises(ValueError, match="best of 'a'"):
        leads({"a": frame}, best={})


def test_leads_are_drawn_where_they_are(frame):
    """Closest rival on top, in the unit asked for; sure ones filled, references crossed."""
    table = leads({"a": frame}, best={"a": "max"}, references=["class_balanced"])
    _, ax = plt.subplots()
    plot_leads(ax, table, unit=100)
    rows = table.dropna(subset="lead").sort_values("lead").reset_index(drop=True)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        method_label(name) for name in rows["method"]
    ]
    points = {line.get_ydata()[0]: line for line in ax.lines if line.get_marker() in "ox"}
    for place, row in rows.iterrows():
        point = points[place]
        assert point.get_xdata()[0] == pytest.approx(100 * row["lead"])
        assert (point.get_marker() == "x") == (row["method"] == "class_balanced")
        assert (point.get_markerfacecolor() == "white") == (row["verdict"] == "level")
    assert {"ahead", "level"} <= set(rows["verdict"])  # both are on the figure
    plt.close("all")


def test_leads_beyond_the_end_are_printed(frame):
    table = leads({"a": frame}, best={"a": "max"})
    _, ax = plt.subplots()
    plot_leads(ax, table, farthest=1.0)
    (text,) = [text.get_text() for text in ax.texts]
    lead = table.set_index("method").at["uniform", "lead"]
    assert text == f"{lead:.1f} →"
    with pytest.raises(ValueError, match="verdict"):
        plot_leads(ax, table.drop(columns="verdict"))
    plt.close("all")

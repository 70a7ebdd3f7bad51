"""Differences paired by seed, their intervals, and average ranks, against SciPy and by symmetry."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skmm_study.report.differences import average_ranks, paired_differences

METHODS, BUDGETS, SEEDS = ("uniform", "skmm", "herding"), (8, 4), range(6)


@pytest.fixture
def frame(rng):
    rows = [(k, n, t, rng.standard_normal()) for k in METHODS for n in BUDGETS for t in SEEDS]
    return pd.DataFrame(rows, columns=["method", "n", "seed", "accuracy"])


def trials(frame, method, n):
    return frame[(frame["method"] == method) & (frame["n"] == n)].sort_values("seed")["accuracy"]


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_interval_is_that_of_the_paired_t_test(frame, level):
    table = paired_differences(frame, values="accuracy", level=level)
    assert [*zip(table["method"], table["n"], strict=True)] == [
        (method, n) for method in ("herding", "skmm") for n in (4, 8)
    ]
    for row in table.itertuples():
        pair = (trials(frame, name, row.n).to_numpy() for name in (row.method, "uniform"))
        interval = stats.ttest_rel(*pair).confidence_interval(level)
        np.testing.assert_allclose((row.low, row.high), interval, rtol=1e-12)
        assert row.low < row.mean < row.high
        assert row.trials == len(SEEDS)


def test_what_seeds_share_cancels(frame):
    """Noise that all methods get in a seed changes no interval; unpaired ones would grow by it."""
    shared = frame["seed"].map(dict(enumerate(100 * np.arange(6.0) ** 2)))
    noisy = frame.assign(accuracy=frame["accuracy"] + shared)
    pair = [paired_differences(table, values="accuracy") for table in (frame, noisy)]
    pd.testing.assert_frame_equal(*pair, rtol=1e-9)


def test_order_of_rows_does_not_matter(frame):
    mixed = frame.sample(frac=1, random_state=0)
    for compare in (paired_differences, average_ranks):
        pair = [compare(table, values="accuracy") for table in (frame, mixed)]
        pd.testing.assert_frame_equal(*pair)


def test_swapping_the_baseline_flips_the_interval(frame):
    there = paired_differences(frame, values="accuracy", baseline="uniform")
    back = paired_differences(frame, values="accuracy", baseline="skmm")
    there, back = there[there["method"] == "skmm"], back[back["method"] == "uniform"]
    np.testing.assert_allclose(there["low"], -back["high"].to_numpy(), rtol=1e-12)


def test_interval_covers_as_often_as_it_says():
    """Of T independent intervals at 80 %, the share that covers lies within 4 sigma of 80 %."""
    T, rng = 1500, np.random.default_rng(0)
    frame = pd.DataFrame(
        [(k, t, s, rng.normal()) for k in ("a", "b") for t in range(T) for s in range(5)],
        columns=["method", "n", "seed", "gap"],
    )
    table = paired_differences(frame, values="gap", baseline="a", level=0.8)
    covered = np.mean((table["low"] < 0) & (table["high"] > 0))
    assert abs(covered - 0.8) < 4 * np.sqrt(0.8 * 0.2 / T)


def test_one_trial_has_a_mean_and_no_interval(frame):
    table = paired_differences(frame[frame["seed"] == 0], values="accuracy")
    assert table["mean"].notna().all()
    assert table[["low", "high"]].isna().all(axis=None)


def test_seeds_that_a_method_lacks_are_left_out(frame):
    """A method may have fewer trials than the baseline, not more."""
    fewer = frame[(frame["method"] != "skmm") | (frame["seed"] < 4)]
    table = paired_differences(fewer, values="accuracy")
    assert set(table.loc[table["method"] == "skmm", "trials"]) == {4}
    with pytest.raises(ValueError, match=r"got none at n=4, seed=4"):
        paired_differences(fewer, values="accuracy", baseline="skmm")


def test_ranks_average_over_budgets():
    means = {"a": (3.0, 1.0, 2.0), "b": (2.0, 3.0, 2.0), "c": (1.0, 2.0, 0.0)}
    rows = [(k, n, 0, v) for k, values in means.items() for n, v in enumerate(values, 1)]
    frame = pd.DataFrame(rows, columns=["method", "n", "seed", "accuracy"])
    table = average_ranks(frame, values="accuracy")
    assert table["method"].tolist() == ["b", "a", "c"]
    np.testing.assert_allclose(table["accuracy"], [4.5 / 3, 5.5 / 3, 8 / 3])
    down = average_ranks(frame, values="accuracy", best="min").set_index("method")["accuracy"]
    np.testing.assert_allclose(down[table["method"]], 4 - table["accuracy"])


def test_several_values_are_ranked_apart(frame):
    """The same ranks as of each alone, and the rows in the order of the first."""
    both = frame.assign(loss=-(frame["accuracy"] ** 3))
    table = average_ranks(both, values=["accuracy", "loss"])
    assert list(table) == ["method", "accuracy", "loss"]
    for name in ("accuracy", "loss"):
        alone = average_ranks(both, values=name).set_index("method")[name]
        np.testing.assert_array_equal(table[name], alone[table["method"]])
    assert table["accuracy"].is_monotonic_increasing


def test_ranks_sum_to_what_they_must(frame):
    ranks = average_ranks(frame, values="accuracy")["accuracy"]
    assert ranks.sum() == pytest.approx(1 + 2 + 3)


@pytest.mark.parametrize("compare", [paired_differences, average_ranks])
def test_bad_frames_are_refused(frame, compare):
    with pytest.raises(ValueError, match="must have a column 'seed'"):
        compare(frame.drop(columns="seed"), values="accuracy")
    with pytest.raises(ValueError, match="must have a column 'f1'"):
        compare(frame, values="f1")
    with pytest.raises(ValueError, match="uniform n=8 seed=0 twice"):
        compare(pd.concat([frame, frame[:1]]), values="accuracy")


def test_bad_knobs_are_refused(frame):
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 95"):
        paired_differences(frame, values="accuracy", level=95)
    with pytest.raises(ValueError, match="baseline must be one of herding, skmm, uniform"):
        paired_differences(frame, values="accuracy", baseline="magic")
    with pytest.raises(ValueError, match=r"got none of 'skmm' at n=4"):
        average_ranks(frame[(frame["method"] != "skmm") | (frame["n"] > 4)], values="accuracy")
    with pytest.raises(ValueError, match="values must name at least one column"):
        average_ranks(frame, values=[])

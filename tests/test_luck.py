"""Reporting that finds gains where there are none: slow loops, and the law of one draw."""

import numpy as np
import pandas as pd
import pytest

from skmm_study.report.differences import paired_differences
from skmm_study.report.luck import best_of_each, mean_interval, one_draw_gaps, points
from skmm_study.theory.departures import expected_best, one_draw_error


def test_one_draw_is_clear_of_zero_as_often_as_the_law_says(rng):
    """4,000 normal scores are as good as fresh ones; 4 standard errors of 4,000 trials are 0.03."""
    scores = rng.standard_normal(4000)
    found = one_draw_gaps(scores, 5, trials=4000, rng=rng)
    assert found["clear"].mean() == pytest.approx(one_draw_error(5), abs=0.03)
    assert found["gap"].std() == pytest.approx(np.sqrt(1 + 1 / 5), rel=0.05)


def test_one_trial_is_the_paired_difference(rng):
    """The interval is that of the study's own comparison, with the one score repeated."""
    scores = rng.standard_normal(12)
    found = one_draw_gaps(scores, 4, trials=1, rng=np.random.default_rng(3)).iloc[0]
    dealt = np.random.default_rng(3).permutation(scores)[:5]
    rows = [
        {"method": name, "n": 1, "seed": k, "score": dealt[0] if name == "one" else dealt[1 + k]}
        for name in ("one", "uniform")
        for k in range(4)
    ]
    gap = paired_differences(pd.DataFrame(rows), values="score").iloc[0]
    assert found["gap"] == pytest.approx(gap["mean"])
    assert found["clear"] == ((gap["low"] > 0) or (gap["high"] < 0))
    with pytest.raises(ValueError, match="repeats"):
        one_draw_gaps(scores, 12, trials=1, rng=rng)


def test_best_of_each_group_by_hand():
    frame = pd.DataFrame(
        {"set": [0, 0, 0, 1, 1], "first": [3, 1, 2, 0, 5], "second": [1.0, 9.0, 4.0, 2.0, 6.0]}
    )
    found = best_of_each(frame, "set").set_index("set")
    assert found["on_test"].tolist() == [9.0, 6.0]
    assert found["held_out"].tolist() == [1.0, 6.0]
    assert found["candidates"].tolist() == [3, 2]
    assert found.loc[0, "mean"] == pytest.approx(14 / 3)
    with pytest.raises(ValueError, match="second"):
        best_of_each(frame.drop(columns="second"), "set")


def test_best_of_independent_scores_is_luck_that_another_half_does_not_see(rng):
    scores = rng.standard_normal((500, 28, 2)).reshape(-1, 2)
    frame = pd.DataFrame(scores, columns=["first", "second"]).assign(set=np.arange(14_000) // 28)
    found = best_of_each(frame, "set")
    gained = found["on_test"] - found["mean"]
    assert gained.mean() == pytest.approx(expected_best(28), abs=4 * gained.sem())
    carried = found["held_out"] - found["mean"]
    assert abs(carried.mean()) < 4 * carried.sem()


def test_interval_covers_the_mean_as_often_as_it_says(rng):
    drawn = [mean_interval(row) for row in rng.standard_normal((2000, 5))]
    covered = np.mean([one["low"] <= 0 <= one["high"] for one in drawn])
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 2000))
    assert np.isnan(mean_interval([1.0])["low"])


def test_points_are_written_with_their_interval():
    assert points(0.004, -0.0012, 0.0091) == "+0.4 [−0.1, 0.9]"
    assert points(-0.02, np.nan, np.nan) == "−2.0"

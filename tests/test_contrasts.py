"""Contrasts: the interval of a paired t-test, Holm over all, no pair without its partner."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skmm_study.report.contrasts import contrasts
from skmm_study.report.differences import paired_differences
from skmm_study.report.leads import holm


@pytest.fixture
def frame(rng):
    rows = [
        (method, n, seed, rng.normal(shift))
        for method, shift in {"uniform": 0.0, "a": 0.5, "b": 3.0}.items()
        for n in (10, 20)
        for seed in range(6)
    ]
    table = pd.DataFrame(rows, columns=["method", "n", "seed", "accuracy"])
    return table.sample(frac=1, random_state=0)  # the order of the rows is nothing to go by


def test_contrast_with_the_baseline_is_its_paired_difference(frame):
    pairs = {"gain of a": ("uniform", "a"), "gain of b": ("uniform", "b")}
    found = contrasts(frame, pairs, values="accuracy")
    known = paired_differences(frame, values="accuracy")
    merged = found.merge(known, left_on=["after", "n"], right_on=["method", "n"])
    for column in ("mean", "low", "high"):
        np.testing.assert_allclose(merged[f"{column}_x"], merged[f"{column}_y"], rtol=1e-12)


def test_p_values_are_of_one_test_on_differences_and_adjusted_together(frame):
    found = contrasts(frame, {"one": ("a", "b"), "other": ("uniform", "a")}, values="accuracy")
    table = frame.pivot(index=["n", "seed"], columns="method", values="accuracy")
    for row in found.itertuples():
        gaps = table.loc[row.n, row.after] - table.loc[row.n, row.before]
        assert row.p == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)
    np.testing.assert_allclose(found["holm"], holm(found["p"]))
    assert (found["holm"] >= found["p"]).all()
    assert (found["trials"] == 6).all()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame[frame["method"] != "b"],
        lambda frame: frame[(frame["method"] != "b") | (frame["seed"] < 5)],
        lambda frame: frame[frame["seed"] == 0],
    ],
)
def test_pairs_without_partners_are_refused(frame, spoil):
    with pytest.raises(ValueError, match="two seeds or more in common"):
        contrasts(spoil(frame), {"one": ("a", "b")}, values="accuracy")

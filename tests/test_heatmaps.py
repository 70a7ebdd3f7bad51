"""Tables of colours: numbers in points with stars where clear of zero, risks with what is lost."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from skmm_study.figures.heatmaps import plot_differences, plot_grades
from skmm_study.report.differences import paired_differences


@pytest.fixture
def gaps():
    """Two methods, two budgets: "herding" is clearly better at n = 20, "skmm" nowhere clearly."""
    gains = {("herding", 10): (0.2, -0.1), ("herding", 20): (0.089, 0.091)}
    gains |= {("skmm", 10): (0.1, -0.1), ("skmm", 20): (0.05, -0.1)}
    rows = [("uniform", n, seed, 0.5) for n in (10, 20) for seed in (0, 1)]
    rows += [
        (*at, seed, 0.5 + gain) for at, pair in gains.items() for seed, gain in enumerate(pair)
    ]
    frame = pd.DataFrame(rows, columns=["method", "n", "seed", "accuracy"])
    return paired_differences(frame, values="accuracy")


def test_numbers_are_points_and_stars_are_clear_intervals(gaps):
    fig, ax = plt.subplots()
    assert plot_differences(ax, gaps) == ["herding", "skmm"]
    fig.canvas.draw()
    assert [text.get_text() for text in ax.texts] == ["+5.0", "+9.0*", "+0.0", "-2.5"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Herding (Welling)", "SkMM"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10", "20"]
    low, high = ax.collections[0].get_clim()
    assert low == -high == pytest.approx(-2 * (5 + 2.5) / 2)  # of 9, 5, 2.5 and 0
    plt.close(fig)


def test_one_failure_leaves_the_colours_of_the_others(gaps):
    """The middle decides the scale: a difference of 60 points does not change it."""
    limits = []
    for failure in (-0.09, -0.6):
        fig, ax = plt.subplots()
        failed = (gaps["method"] == "herding") & (gaps["n"] == 20)
        plot_differences(ax, gaps.assign(mean=gaps["mean"].mask(failed, failure)))
        limits.append(ax.collections[0].get_clim())
        plt.close(fig)
    assert limits[0] == limits[1]


def test_methods_that_see_labels_stand_apart(gaps):
    """Below a rule, however good they are; without one of them there is no rule."""
    for name, order, rules in (
        ("margin", ["skmm", "margin"], 1),
        ("uniform", ["uniform", "skmm"], 0),
    ):
        fig, ax = plt.subplots()
        assert plot_differences(ax, gaps.replace({"method": {"herding": name}})) == order
        assert len(ax.get_lines()) == rules
        plt.close(fig)


def test_order_is_the_callers(gaps):
    fig, ax = plt.subplots()
    assert plot_differences(ax, gaps, order=["skmm"]) == ["skmm"]
    assert [text.get_text() for text in ax.texts] == ["+0.0", "-2.5"]
    plt.close(fig)


def test_what_is_missing_is_named(gaps):
    fig, ax = plt.subplots()
    with pytest.raises(ValueError, match="'low'"):
        plot_differences(ax, gaps.drop(columns="low"))
    with pytest.raises(ValueError, match="'entropy'"):
        plot_differences(ax, gaps, order=["entropy"])
    plt.close(fig)


def test_methods_are_ordered_by_budgets_that_all_have(gaps):
    """At n = 10 "skmm" leads, over all budgets it would not; a cell without trials is empty."""
    fig, ax = plt.subplots()
    part = gaps[(gaps["method"] != "skmm") | (gaps["n"] == 10)]
    raised = part.assign(mean=part["mean"].where(part["method"] != "skmm", 0.06))
    assert plot_differences(ax, raised) == ["skmm", "herding"]
    assert [text.get_text() for text in ax.texts] == ["+6.0", "+5.0", "+9.0*"]
    plt.close(fig)


def test_grades_tell_values_and_losses():
    values = pd.DataFrame([[0.5, 1.234], [25.0, 1e5]], index=["a", "b"])
    fig, ax = plt.subplots()
    plot_grades(ax, values, values.map(lambda v: v > 20), edges=[0, 1, 2, 3], label="risk")
    assert [text.get_text() for text in ax.texts] == ["0.50", "1.23", "25 (−1)", ">999 (−1)"]
    assert ax.images[0].get_array().tolist() == [[0, 1], [2, 2]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    plt.close(fig)

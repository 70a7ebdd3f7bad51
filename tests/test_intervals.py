"""Means with intervals: what is drawn is what the table says, on either axis."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skmm_study.figures.intervals import plot_intervals

FRAME = pd.DataFrame({"mean": [0.01, 0.02], "low": [0.0, np.nan], "high": [0.04, np.nan]})


@pytest.mark.parametrize("across", [False, True])
def test_dots_and_bars_are_the_tables(across):
    fig, ax = plt.subplots()
    plot_intervals(ax, [3, 4], FRAME, across=across, color="black")
    line = ax.lines[0]
    data = [np.asarray(part, float) for part in line.get_data()]
    values, places = data if across else data[::-1]
    np.testing.assert_allclose(values, [1, 2])
    np.testing.assert_allclose(places, [3, 4])
    (bars,) = ax.collections
    first, second = (np.asarray(part)[:, 0 if across else 1] for part in bars.get_segments())
    np.testing.assert_allclose(first, [0, 4])
    np.testing.assert_allclose(second, [2, 2])  # no interval, no bar
    plt.close(fig)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="high"):
        plot_intervals(plt.figure().subplots(), [1], pd.DataFrame({"mean": [1], "low": [0]}))

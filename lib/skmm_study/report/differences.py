"""Comparing methods over repeats: differences paired by seed with intervals, and average ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from skmm.numerics.inputs import check_choice

if TYPE_CHECKING:
    import pandas as pd


def paired_differences(
    frame: pd.DataFrame, *, values: str, baseline: str = "uniform", level: float = 0.95
) -> pd.DataFrame:
    r"""Compares every method with a baseline, seed by seed.

    .. math:: d_t = v_t - v^{\text{base}}_t, \qquad
              \bar d \pm t_{T-1}\,\frac{\operatorname{std}(d)}{\sqrt T}

    The seeds share what they share (sketch, split, order of the rows), which the pairing removes.
    The interval is Student's, exact for normal differences; it is of one comparison, not of all of
    them at once.

    Args:
        frame: tidy, columns ``method``, ``n``, ``seed`` and ``values``, one row a trial.
        values: the column that is compared.
        baseline: the method that is subtracted.
        level: confidence level.

    Returns:
        One row a method (the baseline left out) and budget, sorted: ``method``, ``n``, ``mean``,
        ``low``, ``high``, ``trials``. With one trial the interval is NaN.

    Raises:
        ValueError: a column or the baseline is missing, or the baseline lacks a trial of another
            method.
    """
    _check(frame, values)
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level!r}; 0.95 is usual")
    check_choice(baseline, "baseline", set(frame["method"]))
    table = frame.pivot(index=["n", "seed"], columns="method", values=values)
    if (unpaired := table[baseline].isna()).any():
        n, seed = table.index[unpaired][0]
        raise ValueError(
            f"frame must have a trial of {baseline!r} for each other one, got none at n={n}, "
            f"seed={seed}; run it, or leave these trials out"
        )
    gaps = table.drop(columns=baseline).sub(table[baseline], axis=0)
    gaps = gaps.melt(ignore_index=False, value_name="gap").dropna(subset="gap")
    moments = gaps.groupby(["method", "n"])["gap"].agg(["mean", "std", "count"]).reset_index()
    T = moments["count"]
    with np.errstate(invalid="ignore"):
        half = stats.t.ppf((1 + level) / 2, T - 1) * moments["std"] / np.sqrt(T)
    columns = ["method", "n", "mean", "low", "high", "trials"]
    return moments.assign(low=moments["mean"] - half, high=moments["mean"] + half, trials=T)[
        columns
    ]


def average_ranks(
    frame: pd.DataFrame, *, values: str | Sequence[str], best: str = "max"
) -> pd.DataFrame:
    r"""Ranks methods by their mean at each budget, 1 for the best, and averages over budgets.

    Args:
        frame: tidy, columns ``method``, ``n``, ``seed`` and ``values``; every method at every n.
        values: the column to rank by, or several.
        best: ``"max"`` or ``"min"``; equals share the mean of their ranks.

    Returns:
        ``method`` and a column of ranks for each of ``values``, under its name; sorted by the
        first of them, best on top, of equals by name.

    Raises:
        ValueError: no column is named or one is missing, or a method lacks a budget.
    """
    import pandas as pd

    values = [values] if isinstance(values, str) else list(values)
    if not values:
        raise ValueError("values must name at least one column of frame, got none")
    check_choice(best, "best", ("max", "min"))
    ranks = {}
    for name in values:
        _check(frame, name)
        means = frame.groupby(["n", "method"])[name].mean().unstack()
        if (missing := means.isna()).any(axis=None):
            n, method = missing.stack().loc[lambda gap: gap].index[0]
            raise ValueError(
                f"frame must have every method at every n to rank them, got none of {method!r} at "
                f"n={n}; run it, or leave the method out"
            )
        ranks[name] = means.rank(axis=1, ascending=best == "min").mean()
    return pd.DataFrame(ranks).reset_index().sort_values([values[0], "method"], ignore_index=True)


def _check(frame: pd.DataFrame, values: str) -> None:
    if missing := [name for name in ("method", "n", "seed", values) if name not in frame]:
        raise ValueError(f"frame must have a column {missing[0]!r}, got {list(frame)}")
    keys = ["method", "n", "seed"]
    if (twice := frame.duplicated(keys)).any():
        method, n, seed = frame.loc[twice, keys].iloc[0]
        raise ValueError(f"frame must have one row a trial, got {method} n={n} seed={seed} twice")

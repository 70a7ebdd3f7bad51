"""Interventions: pairs of methods that differ in one thing, compared seed by seed, with Holm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scipy import stats

from skmm_study.report.leads import holm

if TYPE_CHECKING:
    import pandas as pd


def contrasts(
    frame: pd.DataFrame,
    pairs: Mapping[str, tuple[str, str]],
    *,
    values: str,
) -> pd.DataFrame:
    r"""Compares pairs of methods seed by seed at every budget.

    .. math:: d_t = v^{\text{after}}_t - v^{\text{before}}_t, \qquad
              \bar d \pm t_{T-1}\,\frac{\operatorname{std}(d)}{\sqrt T}

    Intervals, of 95 %, are of one comparison each; p-values, of the paired t-test, are adjusted by
    `holm` over all pairs and budgets.

    Args:
        frame: tidy, columns ``method``, ``n``, ``seed`` and ``values``, one row a trial.
        pairs: name of the contrast -> methods before and after.
        values: the column that is compared.

    Returns:
        One row a pair and budget: ``contrast``, ``before``, ``after``, ``n``, ``trials``, ``mean``,
        ``low``, ``high``, ``p`` and ``holm``.

    Raises:
        ValueError: a method has no trials, or not the seeds of its partner, or fewer than two.
    """
    import pandas as pd

    rows = []
    for name, (before, after) in pairs.items():
        for n, part in frame.groupby("n"):
            trials = part[part["method"].isin([before, after])]
            both = trials.pivot(index="seed", columns="method", values=values)
            both = both.reindex(columns=[before, after])
            if len(both) < 2 or both.isna().any(axis=None):
                raise ValueError(
                    f"pairs must have two seeds or more in common, got {both[before].count()} of "
                    f"{before!r} and {both[after].count()} of {after!r} at n={n}; run the others, "
                    "or leave the pair out"
                )
            test = stats.ttest_rel(both[after], both[before])
            low, high = test.confidence_interval()
            row = {"contrast": name, "before": before, "after": after, "n": n}
            row |= {"trials": len(both), "mean": (both[after] - both[before]).mean()}
            rows.append(row | {"low": low, "high": high, "p": test.pvalue})
    table = pd.DataFrame(rows)
    return table.assign(holm=holm(table["p"]))

"""Claims about one method against all others, on several pools at once: per-seed means, Holm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from skmm.numerics.inputs import check_choice
from skmm_study.figures.methods import method_label

if TYPE_CHECKING:
    import pandas as pd

SURE = 0.05
"""Adjusted p-values below this are called sure."""

VERDICTS = ("ahead", "level", "behind")
"""Of ours against a rival."""

OURS = "ours"
"""In place of a verdict, for the method that others are compared with."""


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    r"""Adjusts p-values so that the chance of any false rejection among all is controlled.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\{1, (m - j + 1)\, p_{(j)}\}

    for the ascending :math:`p_{(1)} \le \dots \le p_{(m)}`; valid whatever their dependence.

    Args:
        p_values: shape ``[m]``; NaN, of a test that could not be made, stays NaN and counts.

    References:
        A simple sequentially rejective multiple test procedure (Holm, 1979)

    Example:
        >>> from skmm_study.report.leads import holm
        >>> holm([0.04, 0.01, 0.03]).round(6).tolist()
        [0.06, 0.03, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")  # NaN last
    scaled = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def seed_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Averages over the draws of a seed, then over its budgets: one number a seed, the unit.

    Args:
        scores: ``method``, ``n``, ``seed``, ``draw`` and ``score``; see `Comparison.scores`.

    Returns:
        ``seed`` x ``method`` of means; NaN where a method has no trial of a seed.

    Raises:
        ValueError: a column is missing, or a method lacks a budget in a seed that it has others in.
    """
    table = _means_of_draws(scores)
    present = table.notna().groupby("seed")
    if (partial := present.any() & ~present.all()).any(axis=None):
        seed, method = partial.stack().loc[lambda some: some].index[0]
        raise ValueError(
            f"scores must have every budget of a seed to be averaged, got only some of {method!r} "
            f"in seed={seed}; run the others, or leave these trials out"
        )
    return table.groupby("seed").mean()


def leads(
    scores: Mapping[str, pd.DataFrame],
    *,
    best: Mapping[str, str],
    ours: str = "skmm",
    references: Iterable[str] = (),
) -> pd.DataFrame:
    r"""Compares one method with all others on several pools, by the means over budgets of seeds.

    .. math:: d_t = \pm\bigl(\bar v^{\text{ours}}_t - \bar v^{\text{other}}_t\bigr), \qquad
              \bar d \pm t_{T-1}\,\frac{\operatorname{std}(d)}{\sqrt T}

    positive where ours is better. p-values are of the paired t-test, two-sided, and adjusted by
    `holm` over all rivals of all pools together. Intervals, of 95 %, are of one comparison each.

    Args:
        scores: pool -> scores; see `seed_means`.
        best: pool -> ``"max"`` or ``"min"``.
        ours: the method that others are compared with.
        references: methods that are no rivals, such as those that see labels: compared, but
            without a p-value and a verdict.

    Returns:
        One row a pool and method, best first: ``pool``, ``method``, ``seeds``, ``mean``, ``low``,
        ``high``; ``lead``, ``lead_low``, ``lead_high`` over the method in the seeds of both;
        ``p``, ``holm`` and ``verdict``: ``ahead``, ``level`` or ``behind`` of ours against that
        rival, by ``holm``; ``ours`` and ``reference`` for those that are none.

    Raises:
        ValueError: a pool lacks ours, or a knob has none of its values.
    """
    import pandas as pd

    references, rows = set(references), []
    for pool, frame in scores.items():
        means = seed_means(frame)
        check_choice(ours, "ours", set(means))
        check_choice(best.get(pool), f"best of {pool!r}", ("max", "min"))
        sign = 1.0 if best[pool] == "max" else -1.0
        order = (sign * means.mean()).sort_values(ascending=False, kind="stable").index
        for method in order:
            values = means[method].dropna()
            test = stats.ttest_1samp(values, 0.0) if len(values) > 1 else None
            row = {"pool": pool, "method": method, "seeds": len(values), "mean": values.mean()}
            row |= dict(zip(("low", "high"), _interval(test), strict=True))
            if method != ours:
                pairs = means[[ours, method]].dropna()
                row |= _lead(sign * pairs[ours], sign * pairs[method])
            if method in references:
                row["p"] = np.nan
            rows.append(row)
    frame = pd.DataFrame(rows)
    rivals = (frame["method"] != ours) & ~frame["method"].isin(references)
    if not rivals.any():
        raise ValueError(
            f"scores must hold a rival of {ours!r}, got {sorted(set(frame['method']))}"
        )
    frame.loc[rivals, "holm"] = holm(frame.loc[rivals, "p"])
    frame["verdict"] = "reference"
    frame.loc[frame["method"] == ours, "verdict"] = OURS
    frame.loc[rivals, "verdict"] = "level"
    sure = rivals & (frame["holm"] < SURE)
    frame.loc[sure & (frame["lead"] > 0), "verdict"] = "ahead"
    frame.loc[sure & (frame["lead"] < 0), "verdict"] = "behind"
    return frame


def gains(scores: pd.DataFrame, *, best: str) -> pd.DataFrame:
    """Returns what methods gain over the mean of uniform draws at each budget, for figures.

    Args:
        scores: of one pool; see `seed_means`.
        best: ``"max"`` or ``"min"``; gains are positive either way.

    Returns:
        ``method``, ``n``, ``seed`` and ``gain``, draws of a seed averaged.
    """
    check_choice(best, "best", ("max", "min"))
    check_choice("uniform", "a method of scores", set(scores["method"]))
    table = means_of_draws(scores)
    chance = table[table["method"] == "uniform"].groupby("n")["score"].mean()
    sign = 1.0 if best == "max" else -1.0
    gain = sign * (table["score"] - table["n"].map(chance))
    return table.drop(columns="score").assign(gain=gain)


def standing(table: pd.DataFrame) -> pd.DataFrame:
    """Says where ours stands on each pool among its rivals.

    Args:
        table: of `leads`.

    Returns:
        One row a pool: ``pool``; ``standing``: ``first`` (no rival's mean is better), ``level``
        (one is, but none surely) or ``behind``; ``closest``, the rival with the best mean; the
        numbers of rivals that ours is ``ahead`` of, ``level`` with and ``behind``, surely.
    """
    import pandas as pd

    rows = []
    for pool, part in table.groupby("pool", sort=False):
        rivals = part[part["verdict"].isin(VERDICTS)]
        closest = rivals.loc[rivals["lead"].idxmin()]
        counts = {name: int((rivals["verdict"] == name).sum()) for name in VERDICTS}
        place = "behind" if counts["behind"] else "first" if closest["lead"] >= 0 else "level"
        rows.append({"pool": pool, "standing": place, "closest": closest["method"]} | counts)
    return pd.DataFrame(rows)


def lead_table(
    table: pd.DataFrame, scores: pd.DataFrame, *, unit: float = 1.0, digits: int = 1
) -> pd.DataFrame:
    """Returns the rows of one pool as they are printed: scores, mean and lead with intervals.

    Args:
        table: of `leads`, of one pool alone.
        scores: the pool's; see `seed_means`.
        unit: factor of all scores, 100 for percent.
        digits: digits after the point.
    """
    import pandas as pd

    means = _means_of_draws(scores).groupby("n").mean()
    rows = []
    for row in table.itertuples():
        printed = {"method": method_label(row.method), "seeds": row.seeds}
        printed |= {f"n = {n}": f"{unit * means.at[n, row.method]:.{digits}f}" for n in means.index}
        printed["mean"] = _with_interval(unit, row.mean, row.low, row.high, f".{digits}f")
        signed = f"+.{digits}f"
        printed["lead"] = _with_interval(unit, row.lead, row.lead_low, row.lead_high, signed)
        printed["Holm"] = "" if np.isnan(row.holm) else f"{row.holm:.2g}"
        rows.append(printed | {"verdict": "" if row.verdict == OURS else row.verdict})
    return pd.DataFrame(rows)


def _with_interval(unit: float, mean: float, low: float, high: float, form: str) -> str:
    if np.isnan(mean):
        return ""
    if np.isnan(low):
        return f"{unit * mean:{form}}"
    return f"{unit * mean:{form}} [{unit * low:{form}}, {unit * high:{form}}]"


def _lead(ours: pd.Series, other: pd.Series) -> dict[str, float]:
    test = stats.ttest_rel(ours, other) if len(ours) > 1 else None
    low, high = _interval(test)
    p = np.nan if test is None else float(test.pvalue)
    return {"lead": (ours - other).mean(), "lead_low": low, "lead_high": high, "p": p}


def _interval(test: object | None) -> tuple[float, float]:
    if test is None:  # a single seed tells no spread
        return np.nan, np.nan
    interval = test.confidence_interval()
    return float(interval.low), float(interval.high)


def means_of_draws(scores: pd.DataFrame) -> pd.DataFrame:
    """Averages over the draws of a seed: one row a method, budget and seed, for paired tables."""
    long = _means_of_draws(scores).melt(ignore_index=False, value_name="score")
    return long.dropna(subset="score").reset_index()[["method", "n", "seed", "score"]]


def _means_of_draws(scores: pd.DataFrame) -> pd.DataFrame:
    needed = ("method", "n", "seed", "draw", "score")
    if missing := [name for name in needed if name not in scores]:
        raise ValueError(f"scores must have a column {missing[0]!r}, got {list(scores)}")
    return scores.groupby(["seed", "n", "method"])["score"].mean().unstack("method")

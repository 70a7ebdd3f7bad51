"""Reporting that finds something in nothing: one draw for all seeds, the best of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from skmm.numerics.inputs import check_integer

if TYPE_CHECKING:
    import pandas as pd


def one_draw_gaps(
    scores: ArrayLike, repeats: int, *, trials: int, rng: np.random.Generator
) -> pd.DataFrame:
    r"""Compares one uniform draw, as if it were a method, with others, many times over.

    In each trial one of the scores stands for a method whose seeds share one subset, and
    ``repeats`` others for uniform sampling with a draw a seed; all of them are of uniform draws.

    Args:
        scores: of independent uniform draws, shape ``[T]``, more than ``repeats``.
        repeats: seeds that are compared.
        trials: how often.
        rng: deals the scores.

    Returns:
        One row a trial: ``gap``, the mean difference, and ``clear``, whether its 95 % interval
        (`skmm_study.paired_differences`) leaves out zero.

    Raises:
        ValueError: there are too few scores.
    """
    import pandas as pd

    scores = np.asarray(scores, dtype=np.float64)
    hint = "one more stands for the method"
    check_integer(repeats, "repeats", low=2, high=len(scores) - 1, hint=hint)
    check_integer(trials, "trials", low=1, hint="10,000 are quick")
    dealt = np.stack([rng.permutation(scores)[: repeats + 1] for _ in range(trials)])
    gaps = dealt[:, :1] - dealt[:, 1:]
    means = gaps.mean(axis=1)
    half = stats.t.ppf(0.975, repeats - 1) * gaps.std(axis=1, ddof=1) / np.sqrt(repeats)
    return pd.DataFrame({"gap": means, "clear": np.abs(means) > half})


def best_of_each(frame: pd.DataFrame, group: str) -> pd.DataFrame:
    """Takes the best of every group, once by the very score that is reported and once by another.

    Args:
        frame: one row a subset, with ``first`` and ``second``, its scores on two halves of a test
            set, and ``group``.
        group: column that tells apart the sets of candidates.

    Returns:
        One row a group: ``group``, ``candidates``, ``mean`` (of ``second``), ``on_test`` (its
        largest) and ``held_out`` (``second`` of the candidate with the largest ``first``).

    Raises:
        ValueError: a column is missing.
    """
    import pandas as pd

    if missing := [name for name in (group, "first", "second") if name not in frame]:
        raise ValueError(f"frame must have a column {missing[0]!r}, got {list(frame)}")
    rows = []
    for name, part in frame.groupby(group):
        second = part["second"].to_numpy()
        row = {group: name, "candidates": len(part), "mean": float(second.mean())}
        row |= {"on_test": float(second.max())}
        rows.append(row | {"held_out": float(second[int(np.argmax(part["first"]))])})
    return pd.DataFrame(rows)


def mean_interval(values: ArrayLike) -> dict[str, float]:
    """Returns ``mean``, ``low`` and ``high`` of Student's 95 % interval; NaN ends of one value."""
    values = np.asarray(values, dtype=np.float64)
    T, mean = len(values), float(values.mean())
    if T < 2:
        return {"mean": mean, "low": np.nan, "high": np.nan}
    half = float(stats.t.ppf(0.975, T - 1) * values.std(ddof=1) / np.sqrt(T))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def points(mean: float, low: float, high: float, *, unit: float = 100.0, digits: int = 1) -> str:
    """Writes a difference as ``+0.4 [−0.1, 0.9]``, the mean alone if it has no interval."""
    text = f"{unit * mean:+.{digits}f}"
    if not np.isnan(low):
        text += f" [{unit * low:.{digits}f}, {unit * high:.{digits}f}]"
    return text.replace("-", "−")

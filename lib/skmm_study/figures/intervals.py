"""Means with their intervals, as dots with bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def plot_intervals(
    ax: Axes,
    at: ArrayLike,
    frame: pd.DataFrame,
    *,
    unit: float = 100.0,
    across: bool = False,
    **look: Any,
) -> None:
    """Draws a dot at every mean and a bar from low to high; a mean without an interval has no bar.

    Args:
        ax: axes to draw on.
        at: positions, shape ``[K]``, on the horizontal axis.
        frame: K rows with ``mean``, ``low`` and ``high``.
        unit: factor on all of them: 100 for points.
        across: whether values are on the horizontal axis and positions on the vertical one.
        **look: colour, marker and the like, as for ``ax.errorbar``; no line unless told.

    Raises:
        ValueError: a column is missing.
    """
    if missing := [name for name in ("mean", "low", "high") if name not in frame]:
        raise ValueError(f"frame must have a column {missing[0]!r}, got {list(frame)}")
    mean, low, high = (unit * frame[name].to_numpy(float) for name in ("mean", "low", "high"))
    bars = np.nan_to_num([mean - low, high - mean])
    look = {"linestyle": "", "marker": "o", "elinewidth": 1} | look
    if across:
        ax.errorbar(mean, at, xerr=bars, **look)
    else:
        ax.errorbar(at, mean, yerr=bars, **look)

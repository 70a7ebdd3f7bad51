"""One method against all others at a glance: the lead over each, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skmm_study.figures.methods import method_label, method_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_NEEDED = ("method", "lead", "lead_low", "lead_high", "verdict")


def plot_leads(
    ax: Axes, table: pd.DataFrame, *, unit: float = 1.0, farthest: float | None = None
) -> None:
    """Draws a row a method, the closest rival on top: the lead over it, and its interval.

    A filled marker is a verdict that is sure after Holm, an open one is not; a cross is a
    reference.

    Args:
        ax: axes to draw on; title and label of the horizontal axis stay yours.
        table: the rows of one pool of `skmm_study.leads`.
        unit: factor of what is drawn: 100 for points of percent.
        farthest: where the horizontal axis ends; what is beyond is printed at the end.

    Raises:
        ValueError: ``table`` lacks a column.
    """
    if missing := [name for name in _NEEDED if name not in table]:
        raise ValueError(f"table must have a column {missing[0]!r}, got {list(table)}")
    others = table.dropna(subset="lead").sort_values("lead", kind="stable", ignore_index=True)
    styles = method_styles(others["method"])
    for place, row in others.iterrows():
        style, lead = styles[row["method"]], unit * row["lead"]
        if farthest is not None and lead > farthest:
            ax.text(farthest, place, f"{lead:.1f} →", ha="right", va="center", fontsize=7)
            continue
        if np.isfinite(row["lead_low"]):
            ends = [unit * row["lead_low"], unit * row["lead_high"]]
            ax.plot(ends, [place, place], color=style.color, linewidth=1.3)
        marker = "x" if row["verdict"] == "reference" else "o"
        face = "white" if row["verdict"] == "level" else style.color
        ax.plot(lead, place, marker, color=style.color, markerfacecolor=face, markersize=4.5)
    ax.axvline(0.0, color="#D55E00", linewidth=1)
    ax.set_yticks(range(len(others)), [method_label(name) for name in others["method"]])
    ax.set_ylim(len(others) - 0.5, -0.5)
    if farthest is not None:
        ax.set_xlim(right=farthest)
    ax.grid(axis="y", visible=False)

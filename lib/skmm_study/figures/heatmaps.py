"""Many methods at a glance: differences to a baseline, or risks, as a table of colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from skmm_study.figures.methods import method_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def plot_differences(
    ax: Axes, gaps: pd.DataFrame, *, order: Sequence[str] | None = None
) -> list[str]:
    """Draws mean differences to a baseline, methods x budgets; stars mark intervals clear of zero.

    The middle decides the colours: full strength is at twice the median size of a difference, so
    that one method that fails does not pale all others. Methods that look at labels or at a
    trained model stand below a rule.

    Args:
        ax: axes to draw on; the title stays yours.
        gaps: of `skmm_study.paired_differences`, in shares: drawn and printed as points, times 100.
        order: methods from the top; unless told, by their mean over the budgets that all of them
            have, best first. Those that see labels come last in any case.

    Returns:
        The methods in the order drawn, for the panel beside this one.

    Raises:
        ValueError: ``gaps`` lacks a column, or ``order`` names a method that it lacks.
    """
    import seaborn as sns

    if missing := [name for name in ("method", "n", "mean", "low", "high") if name not in gaps]:
        raise ValueError(f"gaps must have a column {missing[0]!r}, got {list(gaps)}")
    means = 100 * gaps.pivot(index="method", columns="n", values="mean")
    if order is None:
        shared = means.dropna(axis=1) if means.notna().all().any() else means
        order = list(shared.mean(axis=1).sort_values(ascending=False, kind="stable").index)
    if unknown := [name for name in order if name not in means.index]:
        raise ValueError(f"order names {unknown[0]!r}, but gaps has only {list(means.index)}")
    free = [name for name in order if not _sees_labels(name)]
    order = free + [name for name in order if _sees_labels(name)]
    clear = ((gaps["low"] > 0) | (gaps["high"] < 0)).map({True: "*", False: ""})
    texts = gaps.assign(text=(100 * gaps["mean"]).map("{:+.1f}".format) + clear)
    texts = texts.pivot(index="method", columns="n", values="text")
    # The baseline is white; differences beyond the reach share the strongest colour.
    reach = 2 * np.nanmedian(means.loc[order].abs()) or 1.0
    scale = {"cmap": "PuOr_r", "vmin": -reach, "vmax": reach, "cbar": False}
    marks = {"annot": texts.loc[order], "fmt": "", "annot_kws": {"size": 7}}
    names = [method_label(name) for name in order]
    sns.heatmap(means.loc[order], ax=ax, yticklabels=names, **scale, **marks)
    if 0 < len(free) < len(order):
        ax.axhline(len(free), color="black", linewidth=1.5)
    ax.grid(False)
    ax.set(xlabel="budget $n$", ylabel="")
    return list(order)


def _sees_labels(name: str) -> bool:
    from skmm.selection.selectors import SELECTORS

    return name in SELECTORS and bool(SELECTORS[name].needs)


def plot_grades(
    ax: Axes,
    values: pd.DataFrame,
    lost: pd.DataFrame,
    *,
    edges: Sequence[float],
    label: str,
) -> None:
    """Draws a table of risks in grades of colour, with the number of clusters lost in brackets.

    Args:
        ax: Axes to draw on.
        values: A row a method, a column a case.
        lost: Clusters lost, same shape.
        edges: Where grades end, ascending; values beyond the last ones are in the outer grades.
        label: Of the colour bar.
    """
    import matplotlib.pyplot as plt

    grades = len(edges) - 1
    shade = ax.imshow(
        np.digitize(values, edges[1:-1]),
        cmap=plt.get_cmap("cividis_r", grades),
        vmin=-0.5,
        vmax=grades - 0.5,
        aspect="auto",
    )
    for i, j in np.ndindex(values.shape):
        value, missing = values.iat[i, j], int(lost.iat[i, j])
        text = f"{value:.2f}" if value < 10 else f"{value:.0f}" if value < 1000 else ">999"
        text += f" (−{missing})" if missing else ""
        color = "white" if value > edges[grades // 2] else "black"
        ax.text(j, i, text, ha="center", va="center", color=color, fontsize=6.5)
    ax.set_yticks(range(len(values)), list(values.index))
    ax.grid(visible=False)
    bar = ax.figure.colorbar(shade, ax=ax, ticks=np.arange(grades + 1) - 0.5, aspect=40, pad=0.015)
    bar.ax.set_yticklabels([*(f"{edge:g}" for edge in edges[:-1]), "more"])
    bar.set_label(label)

"""Figures of the published code's departures, and of the paper's bounds beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from skmm_study.figures.intervals import plot_intervals
from skmm_study.figures.methods import method_label, method_styles
from skmm_study.figures.style import plain_log

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SLACKS = [("#882255", "p"), ("#0173B2", "D"), ("#CC78BC", "^"), ("#DE8F05", "s")]
"""Colour and marker of one slack after the other; the first are those of SkMM (paper)."""


def plot_departures(axes: Sequence[Axes], weights: pd.DataFrame, gaps: pd.DataFrame) -> None:
    """Draws where weights and subset lie, and the difference to uniform sampling, a row each.

    Args:
        axes: two panels that share the vertical axis.
        weights: by method, with ``to_uniform`` and ``kept``.
        gaps: by method, from the top, with ``mean``, ``low`` and ``high``.
    """
    left, right = axes
    y = np.arange(len(gaps))[::-1]
    marks = {"to_uniform": ("#0173B2", "o", "weights to uniform (total variation)")}
    marks |= {"kept": ("#DE8F05", "^", "random start in the subset (share)")}
    for value, (color, marker, label) in marks.items():
        look = {"color": color, "marker": marker, "linestyle": "", "label": label}
        left.plot(weights.loc[gaps.index, value], y, **look)
    left.set(xlim=(-0.03, 1.03), xlabel="mean of the seeds")
    left.set_yticks(y, [method_label(name) for name in gaps.index])
    plot_intervals(right, y, gaps, across=True, color="black")
    right.axvline(0, color="#949494", linewidth=1)
    right.set(xlabel="points of accuracy minus Uniform, 95 %")


def plot_sweep(ax: Axes, gaps: pd.DataFrame) -> None:
    """Draws differences to uniform sampling against the sketch size, a line a slack.

    Args:
        ax: axes to draw on.
        gaps: ``m``, ``floor`` (:math:`1/c_S`), ``mean``, ``low`` and ``high``.
    """
    floors = sorted(gaps["floor"].unique(), reverse=True)
    for k, (floor, (color, marker)) in enumerate(zip(floors, _SLACKS, strict=False)):
        part = gaps[gaps["floor"] == floor]
        x = part["m"] * 1.06 ** (k - (len(floors) - 1) / 2)  # beside one another
        look = {"color": color, "marker": marker, "linestyle": "-", "linewidth": 1}
        plot_intervals(ax, x, part, label=f"$c_S$ = 1/{floor}", **look)
    ax.axhline(0, color="#949494", linewidth=1)
    plain_log(ax.xaxis, sorted(gaps["m"].unique()))
    ax.set(xlabel="sketch size $m$", ylabel="points above Uniform, 95 %")


def plot_reports(
    axes: Sequence[Axes], dealt: pd.DataFrame, moved: pd.DataFrame, best: pd.DataFrame
) -> None:
    """Draws what one draw for all seeds, permuted rows and the best of many find.

    Args:
        axes: three panels.
        dealt: ``gap`` and ``clear``, of `skmm_study.one_draw_gaps`.
        moved: by method, with ``mean``, ``low`` and ``high``; a row "name, permuted" for each.
        best: by ``candidates`` and ``chosen``, with the same columns.
    """
    bins = np.linspace(*(100 * dealt["gap"].abs().max() * np.array([-1, 1])), 41)
    for clear, color, name in [(False, "#BBBBBB", "not"), (True, "#D55E00", "clear of zero")]:
        part = dealt[dealt["clear"] == clear]
        label = f"{name}, {len(part) / len(dealt):.0%}"
        axes[0].hist(100 * part["gap"], bins, color=color, alpha=0.8, label=label)
    axes[0].set(yticks=[], xlabel="points of accuracy")
    of_baselines = moved[[f"{name}, permuted" in moved.index for name in moved.index]]
    permuted = moved.loc[[f"{name}, permuted" for name in of_baselines.index]]
    tops = [best.xs(way, level="chosen") for way in ("held_out", "on_test")]
    words = [("own rows", "permuted rows"), ("on the other half", "on the test images")]
    pairs = [[of_baselines, permuted], tops]
    for ax, parts, labels in zip(axes[1:], pairs, words, strict=True):
        looks = [("#000000", "o"), ("#D55E00", "s")]
        for k, (part, label, look) in enumerate(zip(parts, labels, looks, strict=True)):
            style = {"color": look[0], "marker": look[1], "label": label}
            plot_intervals(ax, np.arange(len(part)) + 0.2 * k - 0.1, part, **style)
        names = [method_label(name).replace(" ", "\n") for name in parts[0].index]
        ax.set_xticks(range(len(names)), names, fontsize=7)
        ax.set_xlim(-0.5, len(names) - 0.5)
        ax.axhline(0, color="#949494", linewidth=1)
    axes[1].set_ylabel("points of accuracy, 95 %")
    for ax in axes:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))


def plot_pipeline(ax: Axes, gaps: pd.DataFrame, budgets: Sequence[int]) -> None:
    """Draws differences to uniform sampling at every budget, the methods beside one another.

    Args:
        ax: axes to draw on.
        gaps: of `skmm_study.paired_differences`; "recipe" comes last.
        budgets: from the left, evenly spaced.
    """
    names = sorted(set(gaps["method"]) - {"recipe"}, reverse=True)
    looks = dict(zip(names, _SLACKS, strict=False)) | {"recipe": ("#000000", "x")}
    places = {count: k for k, count in enumerate(budgets)}
    for k, (name, (color, marker)) in enumerate(looks.items()):
        part = gaps[(gaps["method"] == name) & gaps["n"].isin(budgets)]
        x = part["n"].map(places) + 0.1 * (k - (len(looks) - 1) / 2)
        label = name.replace("SkMM (paper), ", "$c_S$ = ")
        label = label.replace("recipe", "recipe, $c_S$ = 1/0.9")
        plot_intervals(ax, x, part, color=color, marker=marker, label=label)
    ax.axhline(0, color="#949494", linewidth=1)
    ax.set_xticks(range(len(budgets)), budgets)
    ax.set(xlabel="budget $n$", ylabel="points above Uniform, 95 %")


def plot_bounds(axes: Sequence[Axes], slacks: pd.DataFrame, sketched: pd.DataFrame) -> None:
    """Draws risk and bounds against slack, and risk over Theorem 3.1's bound against m.

    Args:
        axes: two panels.
        slacks: of `skmm_study.slack_trials`.
        sketched: of `skmm_study.sketch_bound_trials`, of one or two levels of noise.
    """
    left, right = axes
    dots = {"corollary": ("#BBBBBB", "v", "corollary"), "theorem": ("#56B4E9", "^", "Theorem 2.2")}
    dots |= {"constant": ("#000000", ".", "excess risk")}
    for value, (color, marker, label) in dots.items():
        left.scatter(slacks["slack"], slacks[value], s=16, color=color, marker=marker, label=label)
    mine = slacks[slacks["spread"].isna()]
    label = "excess risk, SkMM"
    left.scatter(mine["slack"], mine["constant"], s=20, color="#D55E00", label=label)
    left.set(xlabel="slack $c_S$", ylabel=r"in units of $\sigma^2\bar r/n$")
    plain_log(left.xaxis, [1, 2, 5, 10, 20])
    plain_log(left.yaxis, [1, 2, 5, 10, 20, 50])
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=2)
    levels = sketched["noise_variance"].unique()
    for level, line in zip(levels, ["-", "--"], strict=False):
        for name, style in method_styles(sketched["method"].unique()).items():
            part = sketched[(sketched["method"] == name) & (sketched["noise_variance"] == level)]
            look = {"color": style.color, "marker": style.marker, "linestyle": line}
            label = style.label if line == "-" else None
            right.plot(part.groupby("m")["ratio"].mean(), label=label, **look)
    right.axhline(1, color="black", linestyle=":", linewidth=1)
    plain_log(right.xaxis, sorted(sketched["m"].unique()))
    right.set(yscale="log", xlabel="sketch size $m$", ylabel="risk over Theorem 3.1's bound")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=3)

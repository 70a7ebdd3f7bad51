"""Figures of one look: readable in print, colour-blind-safe, the spread drawn and named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from skmm.numerics.inputs import check_choice
from skmm_study.figures.methods import LOOKS, method_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WIDTH = 6.75
"""Width in inches of a figure over the full text width: print it unscaled."""

_LOOK = {
    "figure.figsize": (WIDTH, 3.2),
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E0E0E0",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
}
_BANDS = {
    "range": ("median", "min", "max", "median and range"),
    "quartiles": ("median", "low", "high", "median and quartiles"),
    "std": ("mean", "below", "above", "mean ± std"),
    "error": ("mean", "least", "most", "mean ± standard error"),
}


def set_style() -> None:
    """Gives all later figures the project's look; fonts are 8-9 pt at the printed width."""
    mpl.rcdefaults()
    mpl.rcParams.update(_LOOK)
    mpl.rcParams["axes.prop_cycle"] = mpl.cycler(
        color=dict.fromkeys(color for color, _ in LOOKS.values())
    )


def plain_log(axis: Axis, ticks: Sequence[float] | None = None) -> None:
    """Makes ``axis`` (``ax.xaxis`` or ``ax.yaxis``) logarithmic, labelled with plain numbers.

    Args:
        axis: the axis.
        ticks: where to put ticks, such as the budgets; by default at powers of ten, and at
            2 and 5 times these if the axis spans less than two of them.
    """
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if ticks is not None:
        axis.set_major_locator(FixedLocator(list(ticks)))
        axis.set_minor_locator(NullLocator())
        return

    def between(value: float, _: int) -> str:
        # A narrow axis may hold one power of ten or none: 2 and 5 are then labelled as well.
        low, high = axis.get_view_interval()
        leading = round(value / 10.0 ** math.floor(math.log10(value)))
        return f"{value:g}" if high < 100 * low and leading in (2, 5) else ""

    axis.set_minor_formatter(FuncFormatter(between))


def plot_bands(
    ax: Axes,
    frame: pd.DataFrame,
    *,
    x: str = "n",
    y: str,
    hue: str = "method",
    band: str = "range",
    legend: bool = True,
) -> str:
    """Draws a line a method through the centre of its trials, and a band over their spread.

    Args:
        ax: axes to draw on; scales and labels stay yours.
        frame: tidy, one row a trial.
        x: column of the horizontal axis.
        y: column of the vertical axis.
        hue: column that tells lines apart; methods keep one look in all figures.
        band: ``"range"`` (median, minimum to maximum), ``"quartiles"`` (median, 25 to 75 %),
            ``"std"`` (mean ± sample standard deviation) or ``"error"`` (mean ± its standard error).
        legend: whether to draw a legend, titled by what line and band are.

    Returns:
        What line and band are, for the caption: ``"median and range of 8 trials"``.

    Raises:
        ValueError: ``band`` is none of the four, or ``frame`` lacks a column.
    """
    check_choice(band, "band", _BANDS)
    if missing := [name for name in (x, y, hue) if name not in frame]:
        raise ValueError(f"frame must have a column {missing[0]!r}, got {list(frame)}")
    center, low, high, words = _BANDS[band]
    for name, style in method_styles(frame[hue]).items():
        trials = frame[frame[hue] == name].groupby(x)[y]
        spread = trials.agg(["mean", "median", "min", "max", "std"])
        spread["low"], spread["high"] = trials.quantile(0.25), trials.quantile(0.75)
        spread["below"] = spread["mean"] - spread["std"].fillna(0)
        spread["above"] = spread["mean"] + spread["std"].fillna(0)
        error = trials.sem().fillna(0)
        spread["least"], spread["most"] = spread["mean"] - error, spread["mean"] + error
        first = name == "skmm"
        ax.fill_between(
            spread.index, spread[low], spread[high], color=style.color, alpha=0.15, linewidth=0
        )
        ax.plot(
            spread.index,
            spread[center],
            color=style.color,
            marker=style.marker,
            linestyle=style.line,
            label=style.label,
            linewidth=2 if first else None,
            zorder=3 if first else 2,
        )
    counts = frame.groupby([hue, x]).size()
    number = f"{counts.max()}" if counts.nunique() == 1 else f"{counts.min()}–{counts.max()}"
    caption = f"{words} of {number} trial{'s' if counts.max() > 1 else ''}"
    if legend:
        ax.legend(title=caption)
    return caption


def mark_clipped(ax: Axes) -> None:
    """Marks the points of lines that lie above or below the frame by a triangle at its edge.

    Several at one place are stacked towards the middle, in the order of the lines. Call it last,
    when the limits are set.
    """
    low, high = ax.get_ylim()
    stacked: dict[tuple[float, bool], int] = {}
    for line in ax.get_lines():
        if line.get_marker() in ("None", "", None) or line.get_transform() != ax.transData:
            continue
        for x, y in zip(*line.get_data(orig=False), strict=True):
            if not np.isfinite(y) or low <= y <= high:
                continue
            place = stacked.setdefault((x, y > high), 0)
            stacked[x, y > high] += 1
            ax.plot(
                *(x, 0.975 - 0.05 * place if y > high else 0.025 + 0.05 * place),
                marker="^" if y > high else "v",
                color=line.get_color(),
                markeredgecolor="white",
                markersize=6,
                transform=ax.get_xaxis_transform(),
                zorder=5,
            )

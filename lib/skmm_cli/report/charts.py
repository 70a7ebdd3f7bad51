"""The charts of the page: the spectrum, a map of the pool, and what of each cluster was taken."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

import skmm
from skmm_cli.judging import Judge
from skmm_cli.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Drawing, linear

_MARKED, _DECADES = 48, 8
"""Directions at which subsets are marked at most, and powers of ten below the largest drawn."""

_POINTS, _MARKS = 3000, 800
"""Points of the pool and of a subset that a map draws at most."""

_LINES = 30
"""Clusters or classes that are listed at most."""


def spectrum_chart(
    view: skmm.PoolView, subset: NDArray[np.intp], uniform: NDArray[np.intp]
) -> Drawing:
    r"""Draws the pool's eigenvalues, and :math:`v_j^\top\Sigma_S v_j` of two subsets."""
    spectrum = view.spectrum
    r_bar = spectrum.intrinsic_dimension
    shown = min(max(8, 2 * r_bar if r_bar < 20 else r_bar + 8), len(spectrum.eigenvalues))
    vectors = spectrum.eigenvectors[:, :shown]
    energies = [spectrum.eigenvalues[:shown]]
    energies += [np.mean((view.rows[s] @ vectors) ** 2, axis=0) for s in (subset, uniform)]
    shares = np.array(energies) / max(spectrum.trace, np.finfo(float).tiny)
    top = np.ceil(np.log10(max(shares.max(), 1e-300)))
    bottom = max(top - _DECADES, np.floor(np.log10(max(shares[0].min(), 1e-300))))
    bottom = min(bottom, top - 1)
    levels = np.clip(np.log10(np.maximum(shares, 1e-300)), bottom, top)
    across = linear(0.5, shown + 0.5, LEFT, WIDTH - RIGHT)
    up = linear(bottom, top, HEIGHT - BOTTOM, TOP)
    chart = Drawing(
        f"Share of energy in each of the {shown} leading directions, for the pool, the subset "
        f"and a uniform draw; the intrinsic dimension is {r_bar}"
    )
    step = 1 if top - bottom <= 5 else 2
    for level in np.arange(top, bottom - 0.5, -step):
        y = float(up(level))
        chart.add(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        percent = 100 * 10.0**level
        words = f"{percent:.3g} %" if percent >= 1e-3 else f"1e{level + 2:.0f} %"
        chart.text(LEFT - 6, y + 4, words, anchor="end")
    for j in sorted({1, *np.linspace(1, shown, 5).round().astype(int).tolist()}):
        chart.text(float(across(j)), HEIGHT - BOTTOM + 17, str(j))
    j = np.arange(1, shown + 1)
    if r_bar <= shown:
        x = float(across(r_bar + 0.5))
        chart.add(f'<path class="rule" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        side, anchor = (5, "start") if x < WIDTH / 2 else (-5, "end")
        chart.text(x + side, TOP + 10, f"r\u0304 = {r_bar}", anchor=anchor, kind="strong")
    chart.line(across(j), up(levels[0]), "pool")
    marked = np.unique(np.linspace(0, shown - 1, min(shown, _MARKED)).round().astype(int))
    for level, kind, size in ((levels[2], "uniform", 3.0), (levels[1], "chosen", 3.0)):
        who = {"uniform": "uniform draw", "chosen": "subset"}[kind]
        names = [f"direction {i}: {who}" for i in j[marked]]
        chart.marks(across(j[marked]), up(level[marked]), kind, names, size=size)
    chart.frame("direction, the pool's strongest first", "share of energy")
    return chart


class Map:
    """The pool in its two principal coordinates, for any number of subsets.

    Args:
        judge: The pool, whose unit rows are mapped.
        seed: Of the points that are drawn, where there are too many.
    """

    def __init__(self, judge: Judge, seed: int):
        self._judge = judge
        self._rng = skmm.as_generator(seed, "map")
        rows = judge.unit(self._thin(np.arange(judge.N), _POINTS))
        self._mean = rows.mean(axis=0)
        _, values, axes = np.linalg.svd(rows - self._mean, full_matrices=False)
        self._axes = np.zeros((rows.shape[1], 2))
        self._axes[:, : len(axes[:2])] = axes[:2].T
        energies = np.append(values**2, [0.0, 0.0])
        self._shares = energies[:2] / max(energies.sum(), np.finfo(float).tiny)
        self._pool = (rows - self._mean) @ self._axes
        low, high = self._pool.min(axis=0), self._pool.max(axis=0)
        margin = 0.04 * (high - low)
        self._x = linear(low[0] - margin[0], high[0] + margin[0], LEFT - 44, WIDTH - RIGHT)
        self._y = linear(low[1] - margin[1], high[1] + margin[1], HEIGHT - BOTTOM + 12, TOP)

    def _thin(self, indices: NDArray[np.intp], most: int) -> NDArray[np.intp]:
        if len(indices) <= most:
            return indices
        return indices[np.sort(self._rng.choice(len(indices), most, replace=False))]

    def draw(
        self, indices: NDArray[np.intp], kind: str, names: Sequence[str], label: str
    ) -> Drawing:
        """Draws the pool with a subset on top; ``names`` are those of all samples of the pool."""
        drawn = self._thin(indices, _MARKS)
        places = (self._judge.unit(drawn) - self._mean) @ self._axes
        picture = Drawing(label)
        picture.dots(self._x(self._pool[:, 0]), self._y(self._pool[:, 1]), "pool", size=2.6)
        size = 4.0 if len(drawn) <= 120 else 3.2 if len(drawn) <= 400 else 2.4
        x, y = self._x(places[:, 0]), self._y(places[:, 1])
        x, y = np.clip(x, 2, WIDTH - 2), np.clip(y, 2, HEIGHT - 2)
        picture.marks(x, y, kind, [names[i] for i in drawn], size=size)
        first, second = (f"{100 * share:.0f} %" for share in self._shares)
        picture.frame(f"1st principal coordinate, {first} of the spread", f"2nd, {second}")
        return picture


def shares_chart(
    of: NDArray[np.intp], names: Sequence[str], subset: NDArray[np.intp], uniform: NDArray[np.intp]
) -> str:
    """Returns lines of HTML, a class each: taken, taken by a uniform draw, and a fair share.

    Args:
        of: Class of each sample of the pool, ``[N]``.
        names: Of the classes.
        subset: The subset.
        uniform: A uniform draw of as many.
    """
    counts = [np.bincount(of[s], minlength=len(names)) for s in (slice(None), subset, uniform)]
    size, taken, drawn = counts
    fair = size * (len(subset) / len(of))
    order = np.argsort(-size, kind="stable")
    listed = order if len(order) <= _LINES else np.append(order[: _LINES - 8], order[-8:])
    most = max(float(np.max([taken[listed], drawn[listed]])), float(fair[listed].max()), 1.0)
    lines = []
    for place, k in enumerate(listed):
        if len(listed) < len(order) and place == _LINES - 8:
            rest = len(order) - len(listed)
            lines.append(f'<p class="more">… {rest} more between these and the smallest …</p>')
        missing = ' class="none"' if taken[k] == 0 else ""
        lines.append(
            f'<div class="share"><span class="name">{escape(names[k])}</span>'
            f'<span class="size">{size[k]:,}</span>'
            f'<span class="track"><i class="bar" style="width:{100 * taken[k] / most:.1f}%"></i>'
            f'<i class="fair" style="left:{100 * fair[k] / most:.1f}%"></i>'
            f'<i class="ring" style="left:{100 * drawn[k] / most:.1f}%"></i></span>'
            f"<b{missing}>{taken[k]}</b><em>{drawn[k]}</em></div>"
        )
    head = (
        '<div class="share head"><span class="name"></span><span class="size">pool</span>'
        "<span></span><b>subset</b><em>uniform</em></div>"
    )
    return head + "".join(lines)

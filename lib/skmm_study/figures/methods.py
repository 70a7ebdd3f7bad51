"""How each method and sketch looks: one name, colour and marker in all tables and figures."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class MethodStyle:
    """Display name, colour, marker and line of a method."""

    label: str
    color: str
    marker: str
    line: str = "-"


# Seaborn's colour-blind-safe palette; markers and lines tell methods apart in grey print.
LOOKS = {
    "skmm": ("#D55E00", "o"),
    "skmm_paper": ("#882255", "p"),
    "uniform": ("#949494", "s"),
    "herding": ("#0173B2", "^"),
    "herding_farthest": ("#56B4E9", "v"),
    "k_center": ("#DE8F05", "D"),
    "adaptive": ("#029E73", "P"),
    "leverage": ("#CC78BC", "<"),
    "ridge_leverage": ("#CA9161", ">"),
    "facility_location": ("#FBAFE4", "X"),
    "k_means": ("#000000", "*"),
    "max_herding": ("#029E73", "o"),
    "k_medoids": ("#332288", "D"),
    "kernel_herding": ("#CA9161", "v"),
    "log_det": ("#000000", "P"),
    "typiclust": ("#DE8F05", "P"),
    "prob_cover": ("#CC78BC", "X"),
    "active_ft": ("#56B4E9", "D"),
    "covariance_matching": ("#CA9161", "*"),
    "sensitivity": ("#FBAFE4", "h"),
    "kernel_thinning": ("#949494", "^"),
    "class_balanced": ("#949494", "d"),
    "contextual_diversity": ("#DE8F05", "h"),
    "glister": ("#CC78BC", "p"),
    "grand": ("#0173B2", "X"),
    "el2n": ("#56B4E9", "*"),
    "forgetting": ("#CA9161", "8"),
    "deepfool": ("#029E73", "H"),
    "entropy": ("#D55E00", "s"),
    "margin": ("#FBAFE4", "v"),
    "least_confidence": ("#000000", "^"),
}
"""Colour and marker of the methods of the library, by name; their labels are in the registry."""

# Tol's muted palette: none of these is the colour of a method.
CASE_COLORS = ["#44AA99", "#999933", "#AA4499", "#CC6677", "#117733", "#DDCC77", "#000000"]
"""Colours of what is no method: budgets, pools, sketches, roundings."""

MAPS = {
    "gaussian": MethodStyle("Gaussian", CASE_COLORS[0], "o"),
    "rademacher": MethodStyle("Signs", CASE_COLORS[3], "s"),
    "sparse-sign": MethodStyle("Sparse signs", CASE_COLORS[4], "^"),
    "srht": MethodStyle("SRHT", CASE_COLORS[2], "D"),
    "count": MethodStyle("CountSketch", CASE_COLORS[1], "v"),
}
"""The sketches by name; a CountSketch is a sparse sign map with one nonzero a row."""

# One hue for SkMM whatever it matches: dark, middle and light stay apart in grey print.
_CRITERIA = {
    "SkMM, fourth": MethodStyle("SkMM, fourth", "#7A2E00", "v", ":"),
    "SkMM, full": MethodStyle("SkMM, full", "#F2A477", "D", ":"),
    "SkMM, combined": MethodStyle("SkMM, combined", "#F2A477", "s", ":"),
}

_OTHERS = MAPS | _CRITERIA
_SPARE = list(zip(CASE_COLORS, "os^DvPX", strict=True))


def method_label(name: object) -> str:
    """Returns the display name of a method, any other value as it prints."""
    if name in _OTHERS:
        return _OTHERS[name].label
    # Imported here: a notebook that draws need not run again whenever a selector changes.
    from skmm.selection.selectors import SELECTORS

    return SELECTORS[name].label if name in SELECTORS else str(name)


def method_styles(names: Iterable[str]) -> dict[str, MethodStyle]:
    """Returns a style for each of ``names``; those unknown here get spare ones in turn.

    Methods that look at features alone have solid lines, those that need more dashed ones. Spare
    colours that no other of ``names`` has come first.
    """
    names = list(dict.fromkeys(names))
    styles = {name: _style(name) for name in names}
    taken = {style.color for style in styles.values() if style is not None}
    looks = itertools.cycle(sorted(_SPARE, key=lambda look: look[0] in taken))
    return {
        name: MethodStyle(method_label(name), *next(looks), ":") if style is None else style
        for name, style in styles.items()
    }


def _style(name: str) -> MethodStyle | None:
    if name not in LOOKS:
        return _OTHERS.get(name)
    from skmm.selection.selectors import SELECTORS

    one = SELECTORS[name]
    return MethodStyle(one.label, *LOOKS[name], "--" if one.needs else "-")

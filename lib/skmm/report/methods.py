"""How each method looks: one name, colour and marker in all tables and figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class MethodStyle:
    """Display name, colour and marker of a method."""

    label: str
    color: str
    marker: str


# Seaborn's colour-blind-safe palette; markers tell the lines apart in grey print.
STYLES = {
    "skmm": MethodStyle("SkMM", "#D55E00", "o"),
    "uniform": MethodStyle("Uniform", "#949494", "s"),
    "herding": MethodStyle("Herding (Welling)", "#0173B2", "^"),
    "herding_farthest": MethodStyle("Herding (farthest)", "#56B4E9", "v"),
    "k_center": MethodStyle("K-center", "#DE8F05", "D"),
    "adaptive": MethodStyle("Adaptive", "#029E73", "P"),
    "leverage": MethodStyle("T-leverage", "#CC78BC", "<"),
    "ridge_leverage": MethodStyle("R-leverage", "#CA9161", ">"),
}
"""The methods of the library by name."""

_SPARE = [
    ("#000000", "X"),
    ("#ECE133", "h"),
    ("#FBAFE4", "*"),
    ("#0173B2", "p"),
    ("#029E73", "d"),
    ("#DE8F05", "8"),
]


def method_label(name: object) -> str:
    """Returns the display name of a method, any other value as it prints."""
    return STYLES[name].label if name in STYLES else str(name)


def method_styles(names: Iterable[str]) -> dict[str, MethodStyle]:
    """Returns a style for each of ``names``; those unknown here get the spare ones in turn."""
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in STYLES]
    spare = {
        name: MethodStyle(str(name), *_SPARE[k % len(_SPARE)]) for k, name in enumerate(unknown)
    }
    return {name: STYLES.get(name) or spare[name] for name in names}

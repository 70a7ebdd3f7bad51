"""How each method and sketch looks: one name, colour and marker in all tables and figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class MethodStyle:
    """Display name, colour, marker and line of a method."""

    label: str
    color: str
    marker: str
    line: str = "-"


# Seaborn's colour-blind-safe palette; markers and lines tell methods apart in grey print. Methods
# that look at features alone have solid lines, those that need more than features dashed ones.
STYLES = {
    "skmm": MethodStyle("SkMM", "#D55E00", "o"),
    "uniform": MethodStyle("Uniform", "#949494", "s"),
    "herding": MethodStyle("Herding (Welling)", "#0173B2", "^"),
    "herding_farthest": MethodStyle("Herding (farthest)", "#56B4E9", "v"),
    "k_center": MethodStyle("K-center", "#DE8F05", "D"),
    "adaptive": MethodStyle("Adaptive", "#029E73", "P"),
    "leverage": MethodStyle("T-leverage", "#CC78BC", "<"),
    "ridge_leverage": MethodStyle("R-leverage", "#CA9161", ">"),
    "facility_location": MethodStyle("Facility location", "#FBAFE4", "X"),
    "k_means": MethodStyle("K-means", "#000000", "*"),
    "class_balanced": MethodStyle("Class-balanced", "#949494", "d", "--"),
    "contextual_diversity": MethodStyle("Contextual diversity", "#DE8F05", "h", "--"),
    "glister": MethodStyle("GLISTER", "#CC78BC", "p", "--"),
    "grand": MethodStyle("GraNd", "#0173B2", "X", "--"),
    "el2n": MethodStyle("EL2N", "#56B4E9", "*", "--"),
    "forgetting": MethodStyle("Forgetting", "#CA9161", "8", "--"),
    "deepfool": MethodStyle("DeepFool", "#029E73", "H", "--"),
    "entropy": MethodStyle("Entropy", "#D55E00", "s", "--"),
    "margin": MethodStyle("Margin", "#FBAFE4", "v", "--"),
    "least_confidence": MethodStyle("Least confidence", "#000000", "^", "--"),
}
"""The methods of the library by name."""

MAPS = {
    "gaussian": MethodStyle("Gaussian", "#0173B2", "o"),
    "rademacher": MethodStyle("Signs", "#DE8F05", "s"),
    "sparse-sign": MethodStyle("Sparse signs", "#029E73", "^"),
    "srht": MethodStyle("SRHT", "#CC78BC", "D"),
    "count": MethodStyle("CountSketch", "#CA9161", "v"),
}
"""The sketches by name; a CountSketch is a sparse sign map with one nonzero a row."""

# One hue for SkMM whatever it matches: dark, middle and light stay apart in grey print.
_CRITERIA = {
    "SkMM, fourth": MethodStyle("SkMM, fourth", "#7A2E00", "v", ":"),
    "SkMM, full": MethodStyle("SkMM, full", "#F2A477", "D", ":"),
}

_KNOWN = STYLES | MAPS | _CRITERIA
_SPARE = [("#0173B2", "o"), ("#DE8F05", "s"), ("#029E73", "^"), ("#CC78BC", "D"), ("#000000", "v")]


def method_label(name: object) -> str:
    """Returns the display name of a method, any other value as it prints."""
    return _KNOWN[name].label if name in _KNOWN else str(name)


def method_styles(names: Iterable[str]) -> dict[str, MethodStyle]:
    """Returns a style for each of ``names``; those unknown here get spare ones in turn.

    Spare colours that no other of ``names`` has come first.
    """
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in _KNOWN]
    taken = {_KNOWN[name].color for name in names if name in _KNOWN}
    looks = sorted(_SPARE, key=lambda look: look[0] in taken)
    spare = {
        name: MethodStyle(str(name), *looks[k % len(looks)], ":") for k, name in enumerate(unknown)
    }
    return {name: _KNOWN.get(name) or spare[name] for name in names}

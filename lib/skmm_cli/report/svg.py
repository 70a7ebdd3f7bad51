"""Drawings as SVG that follows the page's colours, for light and dark alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 460.0, 330.0
"""Of a drawing, in its own units: its letters stay readable at the width of a phone."""

LEFT, RIGHT, TOP, BOTTOM = 74.0, 14.0, 14.0, 44.0
"""Margins around what is plotted."""


def linear(low: float, high: float, start: float, stop: float) -> Callable[[NDArray], NDArray]:
    """Returns the map of ``[low, high]`` to ``[start, stop]``."""
    span = (high - low) or 1.0
    return lambda x: start + (np.asarray(x, dtype=np.float64) - low) / span * (stop - start)


@dataclass
class Drawing:
    """One drawing with its description, built from the back to the front."""

    label: str
    _parts: list[str] = field(default_factory=list)

    def add(self, part: str) -> None:
        """Adds an element."""
        self._parts.append(part)

    def dots(self, x: NDArray, y: NDArray, kind: str, *, size: float) -> None:
        """Adds many points as one element."""
        steps = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True))
        self.add(f'<path class="dots {kind}" stroke-width="{size}" d="{steps}"/>')

    def marks(
        self, x: NDArray, y: NDArray, kind: str, names: Sequence[str], *, size: float
    ) -> None:
        """Adds points that tell their name when pointed at."""
        for a, b, name in zip(x, y, names, strict=True):
            self.add(
                f'<circle class="mark {kind}" cx="{a:.1f}" cy="{b:.1f}" r="{size}">'
                f"<title>{escape(name)}</title></circle>"
            )

    def line(self, x: NDArray, y: NDArray, kind: str) -> None:
        """Adds a line through points."""
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        self.add(f'<polyline class="line {kind}" points="{points}"/>')

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "middle", kind: str = ""
    ) -> None:
        """Adds words."""
        self.add(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def frame(self, across: str, up: str) -> None:
        """Adds what the two axes say."""
        middle = (LEFT + WIDTH - RIGHT) / 2
        self.text(middle, HEIGHT - 8, across, kind="axis")
        height = (TOP + HEIGHT - BOTTOM) / 2
        self.add(
            f'<text class="axis" text-anchor="middle" '
            f'transform="translate(14 {height:.1f}) rotate(-90)">{escape(up)}</text>'
        )

    def __str__(self) -> str:
        return (
            f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
            f'aria-label="{escape(self.label, quote=True)}">{"".join(self._parts)}</svg>'
        )

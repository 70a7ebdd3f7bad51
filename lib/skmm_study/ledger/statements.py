"""What a statement is: its words, what it was tested by, and a rule that judges it by numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from skmm_study.ledger.evidence import Evidence
from skmm_study.report.luck import mean_interval

if TYPE_CHECKING:
    import pandas as pd

HOLDS, FAILS, NOT_TESTED = "holds", "fails", "not tested"
ONLY_IF = "holds only if "
"""Followed by the condition."""

EARLIER = "of an earlier version"

Judged = tuple[str, str]
"""Verdict and figure."""


@dataclass(frozen=True)
class Finding:
    """What the numbers say.

    Attributes:
        verdict: ``"holds"``, ``"fails"``, ``"not tested"`` or ``"holds only if ..."``.
        figure: the numbers, with intervals in square brackets; a range is written with "to". The
            first clause, up to a semicolon, can stand alone.
        tables: that it was read from, paths below the root of the project.
        earlier: whether these are of an earlier version of their notebook.
    """

    verdict: str
    figure: str
    tables: tuple[str, ...] = ()
    earlier: bool = False


@dataclass(frozen=True)
class Statement:
    """One statement, and where it is decided.

    It is decided by ``judge`` where that is given, else by the test that ``test`` names, which
    holds or the suite does not pass; without either it is not tested.

    Attributes:
        name: unique, lower case with hyphens.
        text: what is stated.
        tested: what was done about it.
        source: of whom: ``"Theorem 2.2"``; the library's own unless told.
        tables: that ``judge`` takes, in its order, of one notebook; see `Evidence.find`.
        judge: tables -> verdict and figure.
        heading: of the section of that notebook in which it is shown.
        test: ``"tests/file.py::name"``.
        headline: whether the README has it, too.
        run: the one that says something about it, ``"full"`` or ``"default"``, if not both do.
    """

    name: str
    text: str
    tested: str
    source: str = "library"
    tables: tuple[str, ...] = ()
    judge: Callable[..., Judged] | None = None
    heading: str = ""
    test: str = ""
    headline: bool = False
    run: str = ""

    @property
    def notebook(self) -> str:
        """The notebook that wrote the tables and shows the statement; empty without tables."""
        return self.tables[0].partition("/")[0] if self.tables else ""

    def settle(self, evidence: Evidence) -> Finding:
        """Judges the statement by the best tables there are."""
        if self.judge is None:
            if not self.test:
                return Finding(NOT_TESTED, "")
            file, _, name = self.test.partition("::")
            return Finding(HOLDS, f"by a test, `{name}`", (file,))
        source = evidence.find(self.tables, run=self.run)
        if source is None:
            return Finding(NOT_TESTED, "no table yet")
        verdict, figure = self.judge(*source.frames)
        return Finding(verdict, figure, source.paths, source.earlier)


def decide(true: bool, condition: str = "") -> str:
    """Returns ``"holds"``; of what is not true, under which condition it holds or that it fails."""
    return HOLDS if true else ONLY_IF + condition if condition else FAILS


def where(good: Mapping[int, bool], letter: str = "n") -> str:
    """Returns the verdict on a statement that is good at some budgets and not at others."""
    budgets = sorted(good)
    yes = [n for n in budgets if good[n]]
    if len(yes) in (0, len(budgets)):
        return decide(bool(yes))
    first, last = yes[0], yes[-1]
    if yes == [n for n in budgets if first <= n <= last]:
        above = f"{first} ≤ " * (first > budgets[0])
        below = f" ≤ {last}" * (last < budgets[-1])
        return ONLY_IF + (f"{above}{letter}{below}" if below else f"{letter} ≥ {first}")
    return ONLY_IF + f"{letter} = {', '.join(map(str, yes))}"


def number(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """Returns a number with so many digits after the point, and a true minus sign."""
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    # What rounds to zero has no sign: −0.0 would read as a direction.
    zero = float(text) == 0
    return text.lstrip("+-") if zero else text.replace("-", "−")


def student(values: ArrayLike) -> tuple[float, float, float]:
    r"""Returns the mean and its 95 % interval, :math:`\bar v \pm t_{T-1} s / \sqrt T`."""
    mean, low, high = mean_interval(values).values()
    return mean, low, high


def interval(mean: float, low: float, high: float, digits: int = 2, *, signed: bool = False) -> str:
    """Returns a number with its interval, which a single trial does not have."""
    if np.isnan(low):
        return number(mean, digits, signed=signed)
    ends = (number(end, digits, signed=signed) for end in (low, high))
    return f"{number(mean, digits, signed=signed)} [{', '.join(ends)}]"


def points(row: pd.Series, digits: int = 1) -> str:
    """Returns the mean of a row with its interval, shares as points of percent, with signs."""
    ends = 100 * row[["mean", "low", "high"]].astype(float)
    return interval(*ends, digits, signed=True)


def proportion(count: int, total: int) -> str:
    """Returns a count with the exact 95 % interval of its share (Clopper and Pearson)."""
    ends = stats.binomtest(int(count), int(total)).proportion_ci()
    return f"{count:,} of {total:,} [{_percent(ends.low)}, {_percent(ends.high)}]"


def span(values: ArrayLike, digits: int = 2) -> str:
    """Returns the range of values; one number if both ends print alike."""
    values = np.asarray(values, dtype=np.float64)
    low, high = number(values.min(), digits), number(values.max(), digits)
    return low if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"

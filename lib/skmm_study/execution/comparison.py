"""Two tables of one name: the same bytes, the same up to rounding, or not the same."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

IDENTICAL, ROUNDED, OTHER = "identical", "equal to rounding", "other subsets"

_ROUNDING = 1e-7
"""Of equal subsets, ill-conditioned results differ by up to 4e-8 between kernels, as measured."""
_SMALL = 1e-4


@dataclass(frozen=True)
class Comparison:
    """What became of a table.

    Attributes:
        verdict: ``"identical"``, ``"equal to rounding"`` or ``"other subsets"``.
        detail: by how much, in words; empty where there is nothing to say.
    """

    verdict: str
    detail: str = ""


def compare_tables(committed: bytes, fresh: bytes) -> Comparison:
    r"""Compares two CSV files cell by cell.

    Numbers a and b agree up to rounding if

    .. math:: |a - b| \le 10^{-7} \max(|a|, |b|, 10^{-4} s),

    with s the median size of the column's numbers other than zero: far below it they are often what
    is left where large ones cancel. Whatever is not a number must be the same text.

    Args:
        committed: the table as it was found before.
        fresh: the table as it was found now.
    """
    if committed == fresh:
        return Comparison(IDENTICAL)
    before, now = ([*csv.reader(part.decode().splitlines())] for part in (committed, fresh))
    if before[:1] != now[:1]:
        columns, others = (", ".join(row) for rows in (now, before) for row in rows[:1])
        return Comparison(OTHER, f"columns {columns} in place of {others}")
    if len(before) != len(now):
        return Comparison(OTHER, f"{len(now) - 1} rows in place of {len(before) - 1}")
    columns = zip(zip(*before[1:], strict=True), zip(*now[1:], strict=True), strict=True)
    gaps = [gap for column in columns for gap in _gaps(*column)]
    if (largest := max(gaps)) <= _ROUNDING:
        return Comparison(ROUNDED, f"largest relative difference {largest:.1e}")
    return Comparison(OTHER, f"{sum(gap > _ROUNDING for gap in gaps)} of {len(gaps)} cells differ")


def _gaps(before: Sequence[str], now: Sequence[str]) -> list[float]:
    """Returns the relative differences of a column's cells; infinite where they are no numbers."""
    sizes = [abs(value) for value in map(_number, before) if value and math.isfinite(value)]
    floor = _SMALL * statistics.median(sizes) if sizes else 0.0
    return [_gap(*pair, floor) for pair in zip(before, now, strict=True)]


def _gap(before: str, now: str, floor: float) -> float:
    if before == now:
        return 0.0
    a, b = _number(before), _number(now)
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b), floor) if a != b else 0.0


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None

"""Markdown tables drawn from tidy frames: mean ± standard deviation, the best in bold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from skmm.numerics.inputs import check_choice
from skmm_study.figures.methods import method_label

if TYPE_CHECKING:
    import pandas as pd


def markdown(frame: pd.DataFrame) -> str:
    """Returns ``frame`` as a Markdown table, cell by cell, numbers aligned right."""
    numeric = [kind.kind in "fiu" for kind in frame.dtypes]
    rows = ([_cell(value) for value in row] for row in frame.itertuples(index=False))
    return _layout([str(column) for column in frame], rows, numeric)


def markdown_table(
    frame: pd.DataFrame,
    *,
    values: str,
    columns: str = "n",
    rows: str = "method",
    best: str = "min",
    notation: str = "scientific",
    digits: int = 2,
    scale: float = 1.0,
    order: Sequence[str] | None = None,
) -> str:
    r"""Returns the mean ± sample standard deviation over trials as a Markdown table.

    In each column the best mean is bold and the second best underlined; means that print alike
    rank alike.

    Args:
        frame: tidy, one row a trial.
        values: column that is averaged.
        columns: column whose values head the table's columns, ascending.
        rows: column whose values head the rows; methods appear under their display names.
        best: ``"min"``, ``"max"`` or ``"none"``.
        notation: ``"scientific"``, as in (3.54 ± 0.51)e-3, or ``"fixed"``.
        digits: digits after the point.
        scale: factor on all values, 100 for percent.
        order: the rows wanted, in this order; by default all, as they first appear.

    Raises:
        ValueError: a knob has none of its values, or ``frame`` lacks a column.
    """
    check_choice(best, "best", ("min", "max", "none"))
    check_choice(notation, "notation", ("scientific", "fixed"))
    if missing := [name for name in (rows, columns, values) if name not in frame]:
        raise ValueError(f"frame must have a column {missing[0]!r}, got {list(frame)}")
    groups = frame.groupby([rows, columns], sort=False)[values]
    moments = {key: (scale * part.mean(), scale * part.std()) for key, part in groups}
    heads = sorted(frame[columns].unique())
    names = list(order if order is not None else frame[rows].unique())
    table = [[method_label(name)] for name in names]
    for head in heads:
        cells = [moments.get((name, head)) for name in names]
        texts = [
            ("", "–") if pair is None else mean_and_spread(*pair, notation, digits)
            for pair in cells
        ]
        printed = {float(mean) for mean, _ in texts if mean and mean != "nan"}
        ranked = sorted(printed, reverse=best == "max") if best != "none" else []
        for row, (mean, text) in zip(table, texts, strict=True):
            place = ranked.index(float(mean)) if mean and float(mean) in ranked else None
            row.append({0: f"**{text}**", 1: f"<u>{text}</u>"}.get(place, text))
    titles = [rows, *(f"{columns} = {head}" for head in heads)]
    return _layout(titles, table, [False] + [True] * len(heads))


def mean_and_spread(mean: float, std: float, notation: str, digits: int) -> tuple[str, str]:
    """Returns the mean as printed, for ranking, and the cell's text; one trial has no spread."""
    if notation == "fixed" or not math.isfinite(mean):
        text = f"{mean:.{digits}f}"
        return text, text if math.isnan(std) else f"{text} ± {std:.{digits}f}"
    text = f"{mean:.{digits}e}"
    mantissa, exponent = text.split("e")
    power = int(exponent)
    if math.isnan(std):
        return text, f"{mantissa}e{power}"
    return text, f"({mantissa} ± {std / 10.0**power:.{digits}f})e{power}"


def _cell(value: object) -> str:
    """Returns four significant digits of a real number, any other value as it prints."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _layout(heads: list[str], rows: Iterable[list[str]], right: Sequence[object]) -> str:
    """Returns the pipes; a vertical bar inside a cell would end it and is escaped."""
    rule = ["---:" if number else "---" for number in right]
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in [heads, *rows])
    head, *body = (f"| {' | '.join(row)} |" for row in escaped)
    return "\n".join([head, f"| {' | '.join(rule)} |", *body])

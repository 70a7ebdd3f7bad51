"""Published tables beside our own: transcribed numbers, the comparison and its rendering."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from skmm.numerics.inputs import check_choice
from skmm_study.figures.methods import method_label
from skmm_study.report.tables import markdown, mean_and_spread

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ["method", "n", "mean", "std"]


def read_published(path: str | Path) -> pd.DataFrame:
    """Reads a transcribed table: a CSV whose comment lines, ``# ...``, say where it is from.

    Returns:
        Columns ``method``, ``n``, ``mean``, ``std``, one row a published number; ``std`` is
        ``nan`` where none was printed.

    Raises:
        ValueError: the file has other columns, or gives a method and budget twice.
    """
    import pandas as pd

    table = pd.read_csv(path, comment="#")
    if list(table) != _COLUMNS:
        raise ValueError(f"{path} must have the columns {_COLUMNS}, got {list(table)}")
    if (twice := table.duplicated(["method", "n"])).any():
        first = table[twice].iloc[0]
        raise ValueError(f"{path} must give each number once, got {first.method} n={first.n} twice")
    return table


def compare_published(
    trials: pd.DataFrame,
    published: pd.DataFrame,
    *,
    values: str,
    rows: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Puts the mean and deviation over trials beside the published ones.

    Args:
        trials: Tidy, one row a trial, with ``method`` and ``n``.
        published: As `read_published` returns it.
        values: Column of ``trials`` that is averaged.
        rows: The published method that a method is put beside, where it is not the one of its own
            name: ``{"skmm_paper": "skmm"}``.

    Returns:
        Columns ``method``, ``n``, ``mean``, ``std``, ``published_mean``, ``published_std`` and
        ``ratio``, our mean over the published one; in the order of ``trials``, ``nan`` for what
        was not published.

    Raises:
        ValueError: ``rows`` names a method that ``trials`` or ``published`` does not have.
    """
    rows = dict(rows or {})
    for method, row in rows.items():
        check_choice(method, "a method of rows", set(trials["method"]))
        check_choice(row, f"rows[{method!r}]", set(published["method"]))
    ours = trials.groupby(["method", "n"], sort=False)[values].agg(["mean", "std"]).reset_index()
    ours["row"] = [rows.get(method, method) for method in ours["method"]]
    names = {"method": "row", "mean": "published_mean", "std": "published_std"}
    theirs = published.rename(columns=names)
    both = ours.merge(theirs, on=["row", "n"], how="left", validate="many_to_one")
    return both.drop(columns="row").assign(ratio=both["mean"] / both["published_mean"])


def side_by_side(comparison: pd.DataFrame) -> str:
    """Renders what `compare_published` returns: two rows a method, a column a budget."""
    import pandas as pd

    rows = []
    for method, part in comparison.groupby("method", sort=False):
        for source, mean, std in [
            ("ours", part["mean"], part["std"]),
            ("published", part["published_mean"], part["published_std"]),
        ]:
            cells = {
                f"n = {n}": _cell(*pair) for n, *pair in zip(part["n"], mean, std, strict=True)
            }
            rows.append({"method": method_label(method), "": source, **cells})
    return markdown(pd.DataFrame(rows))


def _cell(mean: float, std: float) -> str:
    return "–" if math.isnan(mean) else mean_and_spread(mean, std, "scientific", 2)[1]

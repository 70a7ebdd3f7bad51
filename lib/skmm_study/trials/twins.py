"""Subsets that several rows of a seed have in common: measured once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skmm_study.storage.grid import Measure, run_grid
from skmm_study.storage.rows import Cell
from skmm_study.trials.subsets import Subsets, subset_digest

if TYPE_CHECKING:
    import pandas as pd


def run_distinct(measure: Measure, subsets: Subsets, **options: Any) -> pd.DataFrame:
    """Measures every subset, those of one seed that are the same subset by one cell.

    Args:
        measure: of a cell's subset; must not depend on its method and n but for the subset.
        subsets: ``(method, n, seed)`` -> subset.
        **options: of `run_grid`.

    Returns:
        One row a subset, in the order given: ``method``, ``n``, ``seed`` and what was measured.
    """
    import pandas as pd

    alike = {at: (subset_digest(S), at[2]) for at, S in subsets.items()}
    first: dict[tuple[str, int], tuple[str, int, int]] = {}
    for at, same in alike.items():
        first.setdefault(same, at)
    cells = [Cell(*at, digest) for (digest, _), at in first.items()]
    # Seed by seed: a process prepares a pool once, and an interrupted run has whole seeds.
    cells.sort(key=lambda cell: cell.seed)
    found = run_grid(measure, cells, **options).results.set_index(["method", "n", "seed"])
    measured = found.to_dict("index")
    return pd.DataFrame(
        {"method": at[0], "n": at[1], "seed": at[2], **measured[first[same]]}
        for at, same in alike.items()
    )

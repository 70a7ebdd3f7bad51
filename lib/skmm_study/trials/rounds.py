"""Labels in rounds: a few samples at a time, each round with or without the ones before."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import skmm.selection.select
from skmm.numerics.inputs import check_budget, check_integer
from skmm_study.storage.code import code_behind
from skmm_study.storage.grid import run_grid
from skmm_study.storage.keys import digest
from skmm_study.storage.rows import Cell, Outcome
from skmm_study.trials.comparisons import Comparison, data_key
from skmm_study.trials.costs import metered
from skmm_study.trials.selections import method_settings, selection_digest
from skmm_study.trials.subsamples import Subsamples

KEPT, DROPPED = "rounds", "rounds, others dropped"
"""Rounds in which what is labelled counts; and such that only leave it out of the pool."""


def select_in_rounds(
    source: Subsamples,
    sizes: Sequence[int],
    *,
    seeds: int,
    method: str = "skmm",
    folder: str | os.PathLike | None = None,
    workers: int = 1,
    **knobs: Any,
) -> Comparison:
    """Selects in rounds from the pool of every seed, by `skmm.select` with and without ``keep``.

    Args:
        source: the data set and its parts.
        sizes: samples of each round.
        seeds: number of repeats, counted from 0; all rounds of one see the same sketch.
        method: a method that takes ``keep``.
        folder: keeps finished selections; see `run_grid`.
        workers: processes, where there is a folder.
        **knobs: further arguments of `skmm.select`.

    Returns:
        The rows ``"rounds"``, in which what is labelled counts, and ``"rounds, others dropped"``,
        in which it is left out of the pool and forgotten, with all that is labelled after each
        round.

    Raises:
        ValueError: an unknown selector, or more samples than the pool has.
    """
    sizes = [check_integer(n, "sizes", low=1, hint="one a round") for n in sizes]
    total = check_budget(sum(sizes), source.size)
    check_integer(seeds, "seeds", low=1, hint="10 are usual")
    (setting,) = method_settings({method: {}}, knobs).values()
    key, depends = {}, ""
    if folder is not None:
        key = data_key(source) | {"sizes": sizes, "code of the rounds": code_behind(__name__)}
        depends = digest(selection_digest(setting))
    grid = run_grid(
        _Rounds(source, sizes, setting),
        [Cell(row, total, seed, depends) for seed in range(seeds) for row in (KEPT, DROPPED)],
        folder=folder,
        name="rounds",
        key=key,
        workers=workers,
    )
    subsets = {}
    for row in grid.results.itertuples():
        labelled = source.of(row.seed).pool[np.array(row.indices, dtype=np.intp)]
        subsets |= {(row.method, int(n), row.seed): labelled[:n] for n in np.cumsum(sizes)}
    return Comparison(source, subsets, grid.costs)


@dataclass(frozen=True, eq=False)
class _Rounds:
    """Selects all rounds of a cell, as positions in the pool of its seed."""

    source: Subsamples
    sizes: Sequence[int]
    setting: Mapping[str, Any]

    def __call__(self, cell: Cell) -> Outcome:
        rows = self.source.data.pool[self.source.of(cell.seed).pool]
        labelled = np.zeros(0, dtype=np.intp)
        with metered() as costs:
            for n in self.sizes:
                new = self._round(rows, labelled, n, cell)
                labelled = np.concatenate([labelled, new])
        return Outcome({"indices": labelled.tolist()}, {"seconds": costs.seconds})

    def _round(
        self, rows: NDArray[np.floating], labelled: NDArray[np.intp], n: int, cell: Cell
    ) -> NDArray[np.intp]:
        given = {"rng": cell.seed, **self.setting}
        if cell.method == KEPT:
            return skmm.selection.select.select(rows, n, keep=labelled, **given).indices
        left = np.setdiff1d(np.arange(len(rows)), labelled)
        return left[skmm.selection.select.select(rows[left], n, **given).indices]

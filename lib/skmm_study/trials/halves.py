"""Linear probes scored on two halves of a test set: one to choose by, one to report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skmm.training.probing import LinearProbe, probe_scores
from skmm_study.pools.compact import CompactPool
from skmm_study.storage.code import code_behind
from skmm_study.storage.keys import arithmetic, array_digest
from skmm_study.storage.rows import Cell, Outcome
from skmm_study.trials.pairing import evaluation_rng
from skmm_study.trials.subsets import Subsets, in_order
from skmm_study.trials.twins import run_distinct

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class _Halving:
    """Fits a probe on the subset of a cell and scores it on either half of the test rows."""

    data: CompactPool
    subsets: Subsets
    penalty: float

    def __call__(self, cell: Cell) -> Outcome:
        S, weights = in_order(self.subsets[cell.method, cell.n, cell.seed])
        data, alphas = self.data, [self.penalty]
        rows, labels, rng = data.pool[S], data.pool_labels[S], evaluation_rng(cell.seed)
        probe = LinearProbe.fit(rows, labels, rng=rng, alphas=alphas, weights=weights)
        accuracy = [
            probe_scores(probe, data.test[half::2], data.test_labels[half::2]).accuracy
            for half in range(2)
        ]
        tests = [len(data.test_labels[half::2]) for half in range(2)]
        whole = float(np.average(accuracy, weights=tests))
        return Outcome({"first": accuracy[0], "second": accuracy[1], "score": whole}, {})


def half_scores(
    data: CompactPool,
    subsets: Subsets,
    *,
    penalty: float,
    folder: str | os.PathLike | None = None,
    workers: int = 1,
) -> pd.DataFrame:
    """Scores every subset on the even and on the odd rows of the test set, by one fit.

    What several rows of a seed have in common is fitted once.

    Args:
        data: pool and test set.
        subsets: ``(method, n, seed)`` -> positions in the pool.
        penalty: of the probe, the same for all.
        folder: keeps finished cells; see `run_grid`.
        workers: processes, where there is a folder.

    Returns:
        One row a subset: ``method``, ``n``, ``seed``, and the accuracies ``first`` (even rows),
        ``second`` (odd rows) and ``score`` (all of them); in the order of ``subsets``.
    """
    key = {}
    if folder is not None:
        parts = ("pool", "pool_labels", "test", "test_labels")
        key = {part: array_digest(getattr(data, part)) for part in parts}
        key |= {"penalty": penalty, "code": code_behind(__name__), "arithmetic": arithmetic()}
    measure, named = _Halving(data, subsets, penalty), {"name": "halves", "key": key}
    return run_distinct(measure, subsets, folder=folder, workers=workers, **named)

"""Selectors on real data: each seed has a pool and a test set of its own, the same for them all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_budget, check_choice, check_integer
from skmm.selection.selectors import SELECTORS
from skmm_study.storage.code import code_behind
from skmm_study.storage.grid import run_grid
from skmm_study.storage.keys import arithmetic, array_digest
from skmm_study.storage.rows import Cell, Outcome
from skmm_study.trials.costs import metered
from skmm_study.trials.pairing import evaluation_rng
from skmm_study.trials.selections import Selecting, method_settings, selection_digest, subset_of
from skmm_study.trials.subsamples import Subsamples, draw_seed
from skmm_study.trials.subsets import Subset, WeightedSubset, in_order
from skmm_study.trials.twins import run_distinct

if TYPE_CHECKING:
    import pandas as pd

    from skmm_study.trials.fits import Fit

PARTS = ("test", "rest")
_DRAW = ", draw "
"""Between the name of a method and the number of a further draw of the same seed."""


@dataclass(frozen=True, eq=False)
class Comparison:
    r"""What methods select from a data set of which every seed sees a part, the same for them all.

    Attributes:
        source: the data set and its parts.
        subsets: ``(row, n, seed)`` -> positions in all training rows of the data set; ``row`` is
            the method's name, ``"name, draw k"`` for the further draws of a seed.
        times: one row a selection that was made, with ``seconds`` and ``peak_mb``.
    """

    source: Subsamples
    subsets: Mapping[tuple[str, int, int], Subset]
    times: pd.DataFrame

    @classmethod
    def of(
        cls,
        source: Subsamples,
        methods: Iterable[str] | Mapping[str, Mapping[str, Any]],
        budgets: Iterable[int],
        *,
        seeds: int,
        few: Mapping[str, int] | None = None,
        draws: Mapping[str, int] | None = None,
        folder: str | os.PathLike | None = None,
        workers: int = 1,
        **common: Any,
    ) -> Comparison:
        """Selects with every method at every budget and seed; what is on disk is not repeated.

        A nested method, whose smaller subsets are the beginnings of larger ones, selects once a
        seed, at the largest budget.

        Args:
            source: the data set and its parts.
            methods: as in `run_selections`.
            budgets: sizes of the subsets.
            seeds: number of repeats, counted from 0.
            few: method -> number of its repeats, the first ones, where it takes too long for all.
            draws: method -> subsets that it draws from the pool of one seed; 1 unless told.
            folder: keeps finished selections; see `run_grid`.
            workers: processes, where there is a folder.
            **common: arguments of `skmm.select` for all methods.

        Raises:
            ValueError: an unknown selector, one that needs a trained model, a budget outside the
                pool, a name in ``few`` or ``draws`` that is no method, or nothing to do.
        """
        settings = method_settings(methods, common)
        budgets = [check_budget(n, source.size) for n in budgets]
        check_integer(seeds, "seeds", low=1, hint="20 are usual")
        few, draws = dict(few or {}), dict(draws or {})
        if not (settings and budgets):
            raise ValueError(
                f"methods and budgets must not be empty, got {len(settings)} and {len(budgets)}"
            )
        for name, number in (*few.items(), *draws.items()):
            check_choice(name, "a name in few or draws", settings)
            check_integer(number, f"few or draws of {name!r}", low=1, hint="leave the method out")
        for name, setting in settings.items():
            if modelled := set(SELECTORS[setting["method"]].needs) - {"labels"}:
                raise ValueError(
                    f"methods must look at rows and labels alone, but {name!r} needs "
                    f"{sorted(modelled)}; use run_selections"
                )
        origins = {}
        for name, setting in settings.items():
            nested = SELECTORS[setting["method"]].nested
            for k in range(draws.get(name, 1)):
                row = f"{name}{_DRAW}{k}" if k else name
                for seed in range(min(seeds, few.get(name, seeds))):
                    for n in budgets:
                        origins[row, n, seed] = (row, max(budgets) if nested else n, seed)
        depends, key = dict.fromkeys(settings, ""), {}
        if folder is not None:
            depends = {name: selection_digest(setting) for name, setting in settings.items()}
            key = data_key(source)
        cells = [Cell(*at, depends[_method(at[0])]) for at in dict.fromkeys(origins.values())]
        # Seed by seed: a process prepares a pool once, and an interrupted run has whole seeds.
        cells.sort(key=lambda cell: cell.seed)
        grid = run_grid(
            _Drawing(source, settings), cells, folder=folder, name="drawn", key=key, workers=workers
        )
        made = {(row.method, row.n, row.seed): subset_of(row) for row in grid.results.itertuples()}
        pools = {seed: source.of(seed).pool for seed in {at[2] for at in origins}}
        subsets = {at: _placed(made[origin], at[1], pools[at[2]]) for at, origin in origins.items()}
        return cls(source, subsets, grid.costs)

    def scores(
        self,
        fit: Fit,
        *,
        on: str = "test",
        seeds: int | None = None,
        folder: str | os.PathLike | None = None,
        workers: int = 1,
    ) -> pd.DataFrame:
        """Trains on every subset, with its weights, and scores; finished cells are kept.

        What several rows of a seed have in common is scored once.

        Args:
            fit: what is trained, and its score; see `Fit`.
            on: ``"test"``, the seed's test rows; or ``"rest"``, the training rows outside the
                seed's pool, for choices, which must not be made on a test set.
            seeds: number of repeats to score, the first ones; unless told, all.
            folder: keeps finished cells; see `run_grid`.
            workers: processes, where there is a folder.

        Returns:
            One row a subset: ``method``, ``n``, ``seed``, ``draw`` and ``score``.

        Raises:
            ValueError: ``on`` is neither of the two, or there are no rows outside the pool.
        """
        check_choice(on, "on", PARTS)
        if on == "rest" and self.source.size == len(self.source.data.pool):
            raise ValueError("on must be 'test' where pools hold all training rows, got 'rest'")
        scored = {at: S for at, S in self.subsets.items() if seeds is None or at[2] < seeds}
        scoring = _Scoring(self.source, fit, on, scored)
        key = {}
        if folder is not None:
            code = code_behind("skmm_study.trials.fits")
            key = data_key(self.source) | {"fit": fit.key, "on": on, "code of the fit": code}
        grid = {"folder": folder, "name": "scores", "key": key, "workers": workers}
        found = run_distinct(scoring, scored, **grid).sort_values(["method", "n", "seed"])
        rows = found["method"]
        results = found.assign(method=rows.map(_method), draw=rows.map(_draw))
        return results[["method", "n", "seed", "draw", "score"]].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class _Drawing:
    """Selects the subset of a cell from its seed's pool, as positions in that pool."""

    source: Subsamples
    settings: Mapping[str, Mapping[str, Any]]
    _pool: dict[int, Selecting] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, cell: Cell) -> Outcome:
        if cell.seed not in self._pool:
            self._pool.clear()
            pool, data = self.source.of(cell.seed).pool, self.source.data
            given = data.pool[pool], data.pool_labels[pool]
            self._pool[cell.seed] = Selecting(*given, self.settings, initial=0)
        seed = draw_seed(cell.seed, _draw(cell.method))
        return self._pool[cell.seed](replace(cell, method=_method(cell.method), seed=seed))


@dataclass(frozen=True, eq=False)
class _Scoring:
    """Trains on the subset of a cell and scores on other rows of its seed."""

    source: Subsamples
    fit: Fit
    on: str
    subsets: Mapping[tuple[str, int, int], Subset]

    def __call__(self, cell: Cell) -> Outcome:
        seen, data = self.source.of(cell.seed), self.source.data
        if self.on == "test":
            others = data.test[seen.test], data.test_labels[seen.test]
        else:
            others = data.pool[seen.rest], data.pool_labels[seen.rest]
        S, weights = in_order(self.subsets[cell.method, cell.n, cell.seed])
        with metered() as costs:
            score = self.fit(
                data.pool[S],
                data.pool_labels[S],
                *others,
                weights=weights,
                rng=evaluation_rng(cell.seed),
            )
        return Outcome({"score": score}, {"seconds": costs.seconds})


def _method(row: str) -> str:
    return row.partition(_DRAW)[0]


def _draw(row: str) -> int:
    return int(row.partition(_DRAW)[2] or 0)


def _placed(subset: Subset, n: int, pool: NDArray[np.intp]) -> Subset:
    """Returns the first n of a subset of a seed's pool, as positions in the whole data set."""
    if isinstance(subset, WeightedSubset):
        return replace(subset, indices=pool[subset.indices])
    return pool[subset[:n]]


def data_key(source: Subsamples) -> dict[str, Any]:
    """Returns what a stored grid on parts of a data set depends on, as JSON values."""
    parts = ("pool", "pool_labels", "test", "test_labels")
    return {
        "data": {part: array_digest(getattr(source.data, part)) for part in parts},
        "share": source.share,
        "rows": source.rows,
        "code": code_behind("skmm_study.trials.subsamples"),
        "arithmetic": arithmetic(),
    }

"""The subsets of a study: methods x budgets x seeds, each selected once and kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import skmm.selection.select
from skmm.numerics.inputs import check_budget, check_integer, check_labels, check_rows
from skmm.selection.selectors import SELECTORS
from skmm_study.storage.arrays import code_version
from skmm_study.storage.grid import Cell, Outcome, digest, run_grid
from skmm_study.storage.keys import array_digest, code_behind, versions
from skmm_study.training.proxies import FirstModel, TrainingHistory, first_model, training_history
from skmm_study.trials.costs import metered
from skmm_study.trials.trials import NESTED, method_settings

if TYPE_CHECKING:
    import pandas as pd

Subsets = Mapping[tuple[str, int, int], NDArray[np.intp]]

EARLY = ("el2n", "grand")
"""Selectors whose probabilities are those of early epochs on the labelled pool."""


@dataclass(frozen=True, eq=False)
class Selecting:
    """Selects the subset of a cell, with what its method needs beyond features.

    Attributes:
        features: pool rows, shape ``[N, r]``.
        labels: classes of the pool, for the methods that need them or a model, shape ``[N]``.
        settings: row name -> arguments of `skmm.select`, ``method`` among them.
        initial: labels that the first model is fitted on; see `first_model`.
    """

    features: NDArray[np.floating]
    labels: NDArray[np.int64]
    settings: Mapping[str, Mapping[str, Any]]
    initial: int
    _made: dict = field(default_factory=dict, init=False, repr=False)

    def __call__(self, cell: Cell) -> Outcome:
        """Selects; `Outcome.values` holds the ``indices``."""
        setting = dict(self.settings[cell.method])
        needs = self._needs(setting["method"], cell.seed)
        with metered() as costs:
            selection = skmm.selection.select.select(
                self.features, cell.n, rng=cell.seed, **(needs | setting)
            )
        measured = {"seconds": selection.seconds, "peak_mb": costs.peak_mb}
        return Outcome({"indices": selection.indices.tolist()}, measured)

    def _needs(self, method: str, seed: int) -> dict[str, Any]:
        knobs = SELECTORS[method].knobs
        needs: dict[str, Any] = {}
        if "labels" in knobs:
            needs["labels"] = self.labels
        if "correctness" in knobs:
            needs["correctness"] = self._history(seed).correctness
        if method in EARLY:
            return needs | {"probabilities": self._history(seed).early}
        for name in {"probabilities", "logits", "weights"} & set(knobs):
            needs[name] = getattr(self._first(seed), name)
        return needs

    # select() spawns the first two children of a seed, the evaluation the third.
    def _first(self, seed: int) -> FirstModel:
        if ("first", seed) not in self._made:
            rng = np.random.default_rng(seed).spawn(5)[3]
            self._made["first", seed] = first_model(
                self.features, self.labels, initial=self.initial, rng=rng
            )
        return self._made["first", seed]

    def _history(self, seed: int) -> TrainingHistory:
        if ("history", seed) not in self._made:
            rng = np.random.default_rng(seed).spawn(5)[4]
            self._made["history", seed] = training_history(self.features, self.labels, rng=rng)
        return self._made["history", seed]


def run_selections(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    methods: Iterable[str] | Mapping[str, Mapping[str, Any]],
    budgets: Sequence[int],
    *,
    seeds: Sequence[int],
    folder: str | os.PathLike,
    initial: int = 500,
    workers: int = 1,
    **common: Any,
) -> tuple[dict[tuple[str, int, int], NDArray[np.intp]], pd.DataFrame]:
    r"""Selects with every method, budget and seed; selections that are on disk are not repeated.

    The rows go to all methods as they are: standardise them by the pool first. A method whose
    smaller subsets are the beginnings of larger ones (`NESTED`) selects once, at the largest
    budget, and, if it is deterministic, for the first seed alone. Methods that need a trained
    model get the outputs of `first_model`; forgetting, EL2N and GraNd those of `training_history`.

    Args:
        features: pool rows, shape ``[N, r]``.
        labels: classes ``0..C-1`` of the pool; methods that need none never see them.
        methods: selectors by name, or row name -> knobs, as in `skmm_study.run_trials`.
        budgets: sizes of the subsets.
        seeds: repeats; the ``rng`` of `skmm.select`.
        folder: keeps finished selections; see `run_grid`.
        initial: labels of the first model, on top of the budget.
        workers: processes.
        **common: arguments of `skmm.select` for all methods, such as ``m``.

    Returns:
        ``(method, n, seed)`` -> indices, in the order chosen; and one row a selection that was made
        with its ``seconds`` and ``peak_mb``, the models of methods that need one not counted, and
        the certificate in the memory alone.
    """
    features = check_rows(features)
    labels = check_labels(labels, len(features))
    settings = method_settings(methods, common)
    budgets = [check_budget(n, len(features)) for n in budgets]
    seeds = [check_integer(s, "seed", low=0, hint="it seeds a generator") for s in seeds]
    sources = {}
    for name, setting in settings.items():
        chosen = SELECTORS[setting["method"]]
        for n in budgets:
            for seed in seeds:
                nested = setting["method"] in NESTED
                same = nested and chosen.deterministic and not chosen.needs
                at = (name, max(budgets) if nested else n, seeds[0] if same else seed)
                sources[name, n, seed] = at
    depends = {name: _depends(setting, initial) for name, setting in settings.items()}
    cells = [Cell(*at, depends[at[0]]) for at in dict.fromkeys(sources.values())]
    key = {"features": array_digest(features), "labels": array_digest(labels)}
    grid = run_grid(
        Selecting(features, labels, settings, initial),
        cells,
        folder=folder,
        name="selections",
        key=key | {"versions": versions()},
        workers=workers,
    )
    made = {
        (row.method, row.n, row.seed): np.array(row.indices, dtype=np.intp)
        for row in grid.results.itertuples()
    }
    return {at: made[source][: at[1]] for at, source in sources.items()}, grid.costs


def _depends(setting: Mapping[str, Any], initial: int) -> str:
    """Digest of what the selections of one method depend on beside the pool."""
    chosen = SELECTORS[setting["method"]]
    modules = [chosen.choose.__module__, "skmm.sketching", "skmm.spectrum"]
    modelled = set(chosen.knobs) & {"probabilities", "logits", "weights", "correctness"}
    if modelled:
        modules.append("skmm_study.training.proxies")
    code = [code_behind(*modules), code_version(skmm.selection.select)]
    return digest({**setting, "initial": initial if modelled else None, "code": code})


def class_coverage(
    labels: NDArray[np.int64], subsets: Subsets, *, classes: int | None = None
) -> pd.DataFrame:
    r"""Counts the classes that subsets cover.

    Args:
        labels: classes of the pool, shape ``[N]``.
        subsets: ``(method, n, seed)`` -> indices.
        classes: number of classes C; unless told, those among ``labels``.

    Returns:
        One row a subset: ``method``, ``n``, ``seed``, ``coverage`` (share of the classes with at
        least one sample) and ``largest`` (samples of the most frequent class).
    """
    import pandas as pd

    C = len(np.unique(labels)) if classes is None else classes
    rows = []
    for (method, n, seed), S in subsets.items():
        counts = np.unique(labels[S], return_counts=True)[1]
        rows.append((method, n, seed, len(counts) / C, int(counts.max())))
    return pd.DataFrame(rows, columns=["method", "n", "seed", "coverage", "largest"])

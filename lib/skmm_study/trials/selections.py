"""The subsets of a study: methods x budgets x seeds, each selected once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import skmm.selection.select
from skmm.numerics.inputs import check_budget, check_choice, check_integer, check_labels, check_rows
from skmm.selection.selectors import SELECTORS
from skmm_study.storage.code import code_behind
from skmm_study.storage.grid import run_grid
from skmm_study.storage.keys import arithmetic, array_digest, digest, fingerprint
from skmm_study.storage.rows import Cell, Outcome
from skmm_study.training.proxies import FirstModel, TrainingHistory, first_model, training_history
from skmm_study.trials.costs import metered
from skmm_study.trials.subsets import Subset, Subsets, WeightedSubset

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Selecting:
    """Selects the subset of a cell, with what its method needs beyond features.

    Attributes:
        features: pool rows, shape ``[N, r]``.
        labels: classes of the pool, for the methods that need them or a model, shape ``[N]``;
            ``None`` leaves it to ``settings`` to hold what they need.
        settings: row name -> arguments of `skmm.select`, ``method`` among them.
        initial: labels that the first model is fitted on; see `first_model`.
    """

    features: NDArray[np.floating]
    labels: NDArray[np.int64] | None
    settings: Mapping[str, Mapping[str, Any]]
    initial: int
    _made: dict = field(default_factory=dict, init=False, repr=False)

    def __call__(self, cell: Cell) -> Outcome:
        """Selects; values are ``indices``, ``weights`` unless all alike, and whether it drew."""
        setting = dict(self.settings[cell.method])
        needs = {} if self.labels is None else self._needs(setting["method"], cell.seed)
        with metered() as costs:
            selection = skmm.selection.select.select(
                self.features, cell.n, rng=cell.seed, **(needs | setting)
            )
        measured = {"seconds": selection.seconds, "peak_mb": costs.peak_mb}
        weights = None if np.ptp(selection.weights) == 0 else selection.weights.tolist()
        values = {"indices": selection.indices.tolist(), "weights": weights}
        return Outcome(values | {"drawn": selection.drawn}, measured)

    def _needs(self, method: str, seed: int) -> dict[str, Any]:
        return {need: self._given(need, seed) for need in SELECTORS[method].needs}

    def _given(self, need: str, seed: int) -> Any:
        if need == "labels":
            return self.labels
        history = need in {field.name for field in fields(TrainingHistory)}
        return getattr(self._history(seed) if history else self._first(seed), need)

    def _first(self, seed: int) -> FirstModel:
        if ("first", seed) not in self._made:
            self._made["first", seed] = first_model(
                self.features, self.labels, initial=self.initial, rng=seed
            )
        return self._made["first", seed]

    def _history(self, seed: int) -> TrainingHistory:
        if ("history", seed) not in self._made:
            self._made["history", seed] = training_history(self.features, self.labels, rng=seed)
        return self._made["history", seed]


def method_settings(
    methods: Iterable[str] | Mapping[str, Mapping[str, Any]], common: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Returns the knobs of `skmm.select` by the name of the row; see `run_selections`."""
    named = methods if isinstance(methods, Mapping) else {name: {} for name in methods}
    settings = {name: {"method": name, **common, **knobs} for name, knobs in named.items()}
    for setting in settings.values():
        check_choice(setting["method"], "method", SELECTORS)
    return settings


def run_selections(
    features: ArrayLike,
    labels: ArrayLike | None,
    methods: Iterable[str] | Mapping[str, Mapping[str, Any]],
    budgets: Iterable[int],
    *,
    seeds: Iterable[int],
    folder: str | os.PathLike | None = None,
    initial: int = 500,
    workers: int = 1,
    **common: Any,
) -> tuple[dict[tuple[str, int, int], Subset], pd.DataFrame]:
    r"""Selects with every method, budget and seed; selections that are on disk are not repeated.

    The rows go to all methods as they are: standardise them by the pool first. A nested method,
    whose smaller subsets are the beginnings of larger ones, selects once, at the largest budget,
    and one that drew nothing for the first seed is not asked for the others. Methods that need a
    trained model get the outputs of `first_model`, those that need the course of its training
    `training_history`.

    Args:
        features: pool rows, shape ``[N, r]``.
        labels: classes ``0..C-1`` of the pool; methods that need none never see them. ``None``
            where no method needs any, or the knobs hold what they need.
        methods: selectors by name; or a mapping from the name that a row is to bear to the
            selector's knobs, where the knob ``method`` names the selector if the name does not:
            ``{"leverage": {"rank": 8}, "top": {"method": "skmm_paper", "rounding": "top"}}``.
        budgets: sizes of the subsets.
        seeds: repeats; the ``rng`` of `skmm.select`.
        folder: keeps finished selections; see `run_grid`.
        initial: labels of the first model, on top of the budget.
        workers: processes, where there is a folder.
        **common: arguments of `skmm.select` for all methods, such as ``m``.

    Returns:
        ``(method, n, seed)`` -> indices, in the order chosen, a `WeightedSubset` where the method
        gives training weights; and one row a selection that was made
        with its ``seconds`` and ``peak_mb``, the models of methods that need one not counted, and
        the certificate in the memory alone.

    Raises:
        ValueError: an unknown selector, a budget outside ``1..N``, or nothing to do.
    """
    import pandas as pd

    features = check_rows(features)
    labels = None if labels is None else check_labels(labels, len(features))
    settings = method_settings(methods, common)
    budgets = [check_budget(n, len(features)) for n in budgets]
    seeds = [check_integer(s, "seed", low=0, hint="it seeds a generator") for s in seeds]
    if not (settings and budgets and seeds):
        raise ValueError(
            f"methods, budgets and seeds must not be empty, got {len(settings)} methods, "
            f"{len(budgets)} budgets and {len(seeds)} seeds"
        )
    key, depends = {}, dict.fromkeys(settings, "")
    if folder is not None:
        key = {"features": array_digest(features), "arithmetic": arithmetic()}
        key["labels"] = None if labels is None else array_digest(labels)
        depends = {name: selection_digest(setting, initial) for name, setting in settings.items()}
    selecting = Selecting(features, labels, settings, initial)
    chosen = {name: SELECTORS[setting["method"]] for name, setting in settings.items()}
    sizes = {name: [max(budgets)] if one.nested else budgets for name, one in chosen.items()}
    drawn = [(name, n) for name in settings for n in dict.fromkeys(sizes[name])]
    made, costs = {}, []
    for some in (seeds[:1], list(dict.fromkeys(seeds[1:]))):
        cells = [Cell(*at, seed, depends[at[0]]) for at in drawn for seed in some]
        if not cells:
            break
        grid = run_grid(
            selecting, cells, folder=folder, name="selections", key=key, workers=workers
        )
        made |= {(row.method, row.n, row.seed): row for row in grid.results.itertuples()}
        costs.append(grid.costs)
        # A model is another for every seed, so that what is chosen by it is, too.
        drawn = [at for at in drawn if chosen[at[0]].needs or made[*at, seeds[0]].drawn]

    def subset(name: str, n: int, seed: int) -> Subset:
        size = max(budgets) if chosen[name].nested else n
        whole = subset_of(made.get((name, size, seed), made[name, size, seeds[0]]))
        return whole if size == n else whole[:n]

    ats = [(name, n, seed) for name in settings for n in budgets for seed in seeds]
    table = pd.concat(costs).sort_values(["method", "n", "seed"], ignore_index=True)
    return {at: subset(*at) for at in ats}, table


def subset_of(row: Any) -> Subset:
    """Returns the subset that a row of finished selections holds."""
    indices = np.array(row.indices, dtype=np.intp)
    return WeightedSubset(indices, np.array(row.weights)) if row.weights else indices


def selection_digest(setting: Mapping[str, Any], initial: int | None = None) -> str:
    """Digest of what the selections of one method depend on beside the pool: knobs and code."""
    chosen = SELECTORS[setting["method"]]
    modelled = set(chosen.needs) - {"labels"}
    # Of the other methods, which `select` reaches too, none has a part in these selections.
    others = {one.choose.__module__ for one in SELECTORS.values()}
    if not modelled:
        others.add("skmm_study.training.proxies")
    code = [code_behind(chosen.choose.__module__), code_behind(__name__, without=others)]
    knobs = fingerprint(sorted(setting.items()))
    return digest({"knobs": knobs, "initial": initial if modelled else None, "code": code})


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

"""The scores of a study's subsets: a linear probe or a finetuned tail on each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skmm.training.probing import LinearProbe, ProbeScores, probe_scores
from skmm_study.storage.code import code_behind
from skmm_study.storage.grid import Grid, run_grid
from skmm_study.storage.keys import arithmetic, array_digest, fingerprint
from skmm_study.storage.rows import Cell, Outcome
from skmm_study.training.finetuning import Recipe, classifier_of, finetune, pooled_inputs
from skmm_study.trials.costs import Costs, metered
from skmm_study.trials.pairing import evaluation_rng
from skmm_study.trials.subsets import Subsets, in_order, subset_digest

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Probing:
    """Fits a linear probe on the subset of a cell and scores it on the test rows."""

    pool: NDArray[np.floating]
    pool_labels: NDArray[np.int64]
    test: NDArray[np.floating]
    test_labels: NDArray[np.int64]
    subsets: Subsets

    def __call__(self, cell: Cell) -> Outcome:
        """Scores the cell."""
        S, weights, rng = _of_cell(self.subsets, cell)
        with metered() as costs:
            rows, labels = self.pool[S], self.pool_labels[S]
            probe = LinearProbe.fit(rows, labels, rng=rng, weights=weights)
        scores = probe_scores(probe, self.test, self.test_labels)
        return _outcome(scores, costs, penalty=probe.alpha)


@dataclass(frozen=True, eq=False)
class Finetuning:
    """Finetunes a tail on the subset of a cell and scores it on the test rows."""

    tail: nn.Module
    pool: NDArray[np.floating]
    pool_labels: NDArray[np.int64]
    test: NDArray[np.floating]
    test_labels: NDArray[np.int64]
    subsets: Subsets
    last: int
    recipe: Recipe
    device: str
    autocast: bool

    def __call__(self, cell: Cell) -> Outcome:
        """Scores the cell."""
        S, _, rng = _of_cell(self.subsets, cell)
        knobs = {"recipe": self.recipe, "device": self.device, "autocast": self.autocast}
        with metered() as costs:
            rows, labels = self.pool[S], self.pool_labels[S]
            trained = finetune(self.tail, rows, labels, rng=rng, last=self.last, **knobs)
        scores = probe_scores(trained, self.test, self.test_labels)
        return _outcome(scores, costs, epoch=trained.epoch)


def _of_cell(
    subsets: Subsets, cell: Cell
) -> tuple[NDArray[np.intp], NDArray[np.float64] | None, np.random.Generator]:
    """Returns a cell's rows in the pool's order, their weights, and the shared generator."""
    return *in_order(subsets[cell.method, cell.n, cell.seed]), evaluation_rng(cell.seed)


def _outcome(scores: ProbeScores, costs: Costs, **more: float) -> Outcome:
    return Outcome(asdict(scores) | more, asdict(costs))


def run_probes(
    pool: NDArray[np.floating],
    pool_labels: NDArray[np.int64],
    test: NDArray[np.floating],
    test_labels: NDArray[np.int64],
    subsets: Subsets,
    *,
    folder: str | os.PathLike,
    workers: int = 1,
) -> Grid:
    """Fits a linear probe on every subset; a subset that was scored before is not scored again.

    Args:
        pool: rows, shape ``[N, r]``.
        pool_labels: shape ``[N]``.
        test: rows, shape ``[M, r]``, in the pool's coordinates.
        test_labels: shape ``[M]``.
        subsets: of `run_selections`; the fit of a `WeightedSubset` is weighted.
        folder: keeps finished cells; see `run_grid`.
        workers: processes.

    Returns:
        ``results`` with ``accuracy``, ``macro_f1`` and ``penalty``; ``costs`` of the fit alone.
    """
    measure = Probing(pool, pool_labels, test, test_labels, subsets)
    # Finetuning lies beside probing and has no part in it.
    code = code_behind(__name__, without=["skmm_study.training.finetuning"])
    return _evaluate(measure, {"code": code}, "probes", folder, workers)


def run_finetuning(
    tail: nn.Module,
    pool: NDArray[np.floating],
    pool_labels: NDArray[np.int64],
    test: NDArray[np.floating],
    test_labels: NDArray[np.int64],
    subsets: Subsets,
    *,
    folder: str | os.PathLike,
    last: int = 2,
    recipe: Recipe | None = None,
    device: str = "cpu",
    autocast: bool = False,
    workers: int = 1,
) -> Grid:
    """Finetunes the last layers of ``tail`` on every subset; see `run_probes` and `finetune`.

    All rows of a subset count alike: training weights are not used here.

    With ``last=1`` the classifier of ``tail`` is trained on what enters it, computed once; see
    `pooled_inputs`.

    Returns:
        ``results`` with ``accuracy``, ``macro_f1`` and the ``epoch`` that was kept; ``costs`` of
        training alone.
    """
    recipe = recipe or Recipe()
    key = {"tail": fingerprint(tail), "recipe": asdict(recipe), "code": code_behind(__name__)}
    key |= {"last": last, "device": device, "autocast": autocast}
    if last == 1:
        classifier = classifier_of(tail, pool)
        pool, test = (pooled_inputs(tail, part) for part in (pool, test))
        tail = tail.get_submodule(classifier)
    data = (pool, pool_labels, test, test_labels, subsets)
    measure = Finetuning(tail, *data, last, recipe, device, autocast)
    return _evaluate(measure, key, f"finetuning_last{last}", folder, workers)


def _evaluate(
    measure: Probing | Finetuning,
    key: Mapping[str, Any],
    name: str,
    folder: str | os.PathLike,
    workers: int,
) -> Grid:
    parts = ("pool", "pool_labels", "test", "test_labels")
    data = {part: array_digest(getattr(measure, part)) for part in parts}
    cells = [Cell(*at, subset_digest(S)) for at, S in measure.subsets.items()]
    key = {**key, "data": data, "arithmetic": arithmetic()}
    return run_grid(measure, cells, folder=folder, name=name, key=key, workers=workers)

"""Why gradients at random labels lose: heads x labels x rows x criteria, each cell finetuned."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_choice
from skmm.numerics.streams import as_generator
from skmm_study.storage.arrays import ArrayCache
from skmm_study.storage.code import code_behind
from skmm_study.storage.keys import arithmetic, array_digest, fingerprint
from skmm_study.training.finetuning import Recipe, finetune, pooled_inputs
from skmm_study.training.label_gradients import LabelGradients
from skmm_study.training.tails import PointwiseTail, with_classifier
from skmm_study.trials.evaluations import run_finetuning
from skmm_study.trials.selections import run_selections

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]

HEADS = ("zero", "random", "clusters", "few labels")
"""The classifier that gradients are taken at: zeros; normal, of variance 1/r; fitted to k-means
clusters of its inputs, as many as there are classes; fitted to a few true labels."""

LABELS = ("own 1", "own 4", "own 16", "own 64", "shared", "expected")
"""Labels of the gradients, see `LabelGradients`; the number is that of draws averaged."""

ROWS = ("raw", "unit", "centred")
"""What is compared: gradients as they are; at unit norm; less the pool's mean, at unit norm."""

CRITERIA = {
    "diagonal": {"criterion": "diagonal"},
    "combined": {"criterion": "combined"},
    "coverage": {"criterion": "balanced", "weight": 0.0},
    "balanced": {"criterion": "balanced"},
}
"""What SkMM descends on: the paper's, both moments, coverage alone, the default."""

INPUTS = "inputs"
"""In place of a head's labels: what enters the classifier, no gradient at all."""

UNIFORM = "uniform"
_FEW = Recipe(epochs=30, batch=10, held_out=0.0)
_MANY = Recipe(epochs=8, batch=50, held_out=0.0)
"""Of a classifier alone: some 200 steps on 75 labels, and on the clusters of 1,275 rows."""

_ONE_SEED = 1000
"""Uniform draws of one seed are those of seeds this far apart."""


@dataclass(frozen=True, order=True)
class Way:
    """A way to select: one cell of the factorial.

    Attributes:
        head: one of `HEADS`, or ``"-"`` for the classifier's inputs.
        labels: one of `LABELS`, or ``"inputs"``.
        rows: one of `ROWS`; of the inputs also ``"standardised"``, by column, at unit norm.
        criterion: one of `CRITERIA`.
    """

    head: str
    labels: str
    rows: str
    criterion: str

    @property
    def name(self) -> str:
        """The name of its row in a grid."""
        return " | ".join(asdict(self).values())


def ways(
    heads: Iterable[str], labels: Iterable[str], rows: Iterable[str], criteria: Iterable[str]
) -> list[Way]:
    """Returns every combination of the levels.

    Raises:
        ValueError: a level is unknown.
    """
    heads, labels, rows, criteria = map(list, (heads, labels, rows, criteria))
    inputs = labels == [INPUTS]
    for values, known, what in (
        (heads, ("-",) if inputs else HEADS, "heads"),
        (labels, (INPUTS,) if inputs else LABELS, "labels"),
        (rows, (*ROWS, "standardised") if inputs else ROWS, "rows"),
        (criteria, CRITERIA, "criteria"),
    ):
        for value in values:
            check_choice(value, what, known)
    return [Way(*levels) for levels in itertools.product(heads, labels, rows, criteria)]


def single_changes(cells: Sequence[Way], factor: str, level: str) -> dict[str, tuple[str, str]]:
    """Pairs the ways at one level of a factor with those that differ from them in it alone.

    Args:
        cells: of `ways`.
        factor: ``"head"``, ``"labels"``, ``"rows"`` or ``"criterion"``.
        level: the level before the change.

    Returns:
        What is changed, and at which levels of the other factors -> names before and after; see
        `skmm_study.contrasts`.

    Raises:
        ValueError: the factor is unknown, or no way has its level.
    """
    check_choice(factor, "factor", tuple(asdict(cells[0])))
    check_choice(level, "level", {getattr(cell, factor) for cell in cells})
    pairs = {}
    for before in cells:
        if getattr(before, factor) != level:
            continue
        for after in cells:
            if after != before and replace(after, **{factor: level}) == before:
                others = (value for name, value in asdict(before).items() if name != factor)
                name = f"{level} → {getattr(after, factor)} ({', '.join(others)})"
                pairs[name] = (before.name, after.name)
    return pairs


def head_of(
    name: str,
    tail: PointwiseTail,
    inputs: Array,
    labels: NDArray[np.int64],
    *,
    seed: int,
    initial: int,
) -> PointwiseTail:
    """Returns ``tail`` with the classifier that gradients are taken at.

    Args:
        name: one of `HEADS`.
        tail: its classifier is replaced; stays as it is.
        inputs: what enters the classifier, shape ``[N, r]``.
        labels: shape ``[N]``; ``initial`` of them are looked at by ``"few labels"``, none else.
        seed: draws the weights, the clusters or the rows whose labels are looked at.
        initial: number of labels that ``"few labels"`` is fitted to.
    """
    check_choice(name, "name", HEADS)
    C, r = tail.fc.weight.shape
    if name == "zero":
        return with_classifier(tail, np.zeros((C, r)), np.zeros(C))
    if name == "random":
        rng = as_generator(seed, "head random")
        return with_classifier(tail, rng.standard_normal((C, r)) / np.sqrt(r), np.zeros(C))
    if name == "few labels":
        rng = as_generator(seed, "head few labels")
        looked_at = rng.choice(len(labels), initial, replace=False)
        inputs, labels = inputs[looked_at], labels[looked_at]
    else:
        rng = as_generator(seed, "head clusters")
        labels = _clusters(inputs, C, rng)
    recipe = _FEW if name == "few labels" else _MANY
    head = finetune(tail.fc, inputs, labels, rng=rng, last=1, recipe=recipe).tail
    return with_classifier(tail, head.weight.detach().numpy(), head.bias.detach().numpy())


def gradient_rows(
    tail: PointwiseTail, activations: Array, *, m: int, seed: int, cache: ArrayCache
) -> dict[str, Array]:
    """Returns the gradients of the last two layers, ``[N, m]``, for each of `LABELS`."""

    def compute(*_: int) -> Array:
        gradients, rows = LabelGradients.of(tail, activations, m=m, rng=seed), []
        for name in LABELS:
            kind, *count = name.split()
            draws = {"draws": int(count[0])} if count else {}
            rows.append(getattr(gradients, kind)(**draws, rng=seed))
        return np.stack(rows, axis=1)

    key = {"tail": fingerprint(tail), "activations": array_digest(activations), "m": m}
    key |= {"labels": list(LABELS), "seed": seed, "arithmetic": arithmetic()}
    key |= {"code": code_behind("skmm_study.training.label_gradients")}
    N = len(activations)
    stacked = cache.rows(compute, N, name="label-gradients", key=key, shard=N)
    return {name: stacked[:, place] for place, name in enumerate(LABELS)}


def transformed(rows: Array, kind: str) -> Array:
    """Returns rows as ``kind`` of `ROWS` compares them; norms are left to the selection."""
    rows = rows.astype(np.float64)
    if kind in ("centred", "standardised"):
        rows = rows - rows.mean(0)
    return rows / np.maximum(rows.std(0), 1e-6) if kind == "standardised" else rows


def run_label_draws(
    tail: PointwiseTail,
    pool: Array,
    pool_labels: NDArray[np.int64],
    test: Array,
    test_labels: NDArray[np.int64],
    cells: Sequence[Way],
    budgets: Sequence[int],
    *,
    seed: int,
    folder: str | os.PathLike,
    m: int = 256,
    initial: int = 75,
    uniform: int = 3,
    recipe: Recipe | None = None,
) -> pd.DataFrame:
    """Selects by each way with one seed, finetunes both layers of ``tail``, and scores.

    The seed draws heads, labels, sketches, subsets, and the order in which rows are trained on.

    Args:
        tail: where training starts; gradients are taken at heads of their own.
        pool: activations, shape ``[N, ...]``.
        pool_labels: shape ``[N]``; the selection looks at ``initial`` of them, with the head
            ``"few labels"`` alone.
        test: activations of the test set.
        test_labels: of the test set.
        cells: of `ways`.
        budgets: sizes of the subsets.
        seed: repeat.
        folder: keeps what is finished.
        m: sketch size.
        initial: see `head_of`.
        uniform: draws of uniform sampling, whose mean is the baseline.
        recipe: of the finetuning.

    Returns:
        One row a cell and budget: ``head``, ``labels``, ``rows``, ``criterion``, ``method``, ``n``,
        ``seed``, ``accuracy``, ``macro_f1`` and ``gain``, the accuracy minus the mean of the
        uniform draws; those have rows of their own, with the method ``"uniform"``.
    """
    import pandas as pd

    inputs = pooled_inputs(tail, pool)
    subsets = {}
    for head in dict.fromkeys(cell.head for cell in cells):
        wanted = [cell for cell in cells if cell.head == head]
        if head == "-":
            sources = {INPUTS: inputs}
        else:
            at = head_of(head, tail, inputs, pool_labels, seed=seed, initial=initial)
            sources = gradient_rows(at, pool, m=m, seed=seed, cache=ArrayCache(folder))
        for labels, kind in dict.fromkeys((cell.labels, cell.rows) for cell in wanted):
            rows = transformed(sources[labels], kind)
            matched = [cell for cell in wanted if (cell.labels, cell.rows) == (labels, kind)]
            knobs = {cell.name: _knobs(cell, m) for cell in matched}
            made, _ = run_selections(rows, None, knobs, budgets, seeds=[seed], folder=folder)
            subsets |= made
    for draw in range(uniform):
        at = seed + _ONE_SEED * draw
        made, _ = run_selections(inputs, None, [UNIFORM], budgets, seeds=[at], folder=folder)
        subsets |= {(f"{UNIFORM} {draw}", n, seed): S for (_, n, _), S in made.items()}
    data = (pool, pool_labels, test, test_labels)
    scores = run_finetuning(tail, *data, subsets, folder=folder, recipe=recipe).results
    chance = scores["method"].str.startswith(UNIFORM)
    base = scores[chance].groupby("n")["accuracy"].mean()
    levels = pd.DataFrame([{"method": cell.name, **asdict(cell)} for cell in cells])
    scores = scores.merge(levels, how="left").fillna({name: "-" for name in asdict(cells[0])})
    scores.loc[chance, "method"] = UNIFORM
    return scores.assign(gain=scores["accuracy"] - scores["n"].map(base))


def _knobs(cell: Way, m: int) -> dict[str, Any]:
    metric = "raw" if cell.rows == "raw" else "row"
    return {"method": "skmm", "m": m, "metric": metric, **CRITERIA[cell.criterion]}


def _clusters(inputs: Array, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    rows = transformed(inputs, "standardised")
    state = int(rng.integers(2**31))
    return KMeans(count, n_init=1, random_state=state).fit_predict(rows).astype(np.int64)

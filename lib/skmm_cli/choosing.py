"""A choice as the command line offers it: with samples kept, left out, and budgets by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import skmm
from skmm.selection.cells import apportion
from skmm_cli.errors import CommandError
from skmm_cli.knobs import of_part


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a subset is chosen: the arguments of `skmm.select` that do not depend on the pool.

    Attributes:
        method: One of `skmm.SELECTORS`.
        seed: Of the sketch and the method.
        m: Sketch size, or ``None``.
        sketch: One of `skmm.SKETCHES`.
        knobs: What the method takes beyond these.
    """

    method: str
    seed: int
    m: int | None
    sketch: str
    knobs: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Task:
    """A pool to choose from, with all that there is one entry a sample of.

    Attributes:
        rows: Features, shape ``[N, r]``.
        origin: Their places in the file, shape ``[N]``.
        kept: Rows that are labelled already: new ones complement them.
        groups: Group of each sample, ``[N]``, or ``None``: budgets are shared among groups.
        labels: Class of each sample, ``[N]``, or ``None``: for the report alone.
    """

    rows: NDArray[np.floating]
    origin: NDArray[np.intp]
    kept: NDArray[np.intp]
    groups: NDArray | None = None
    labels: NDArray | None = None

    @property
    def N(self) -> int:
        """Pool size."""
        return len(self.rows)

    @property
    def allowed(self) -> NDArray[np.intp]:
        """Rows that can be chosen: those not kept, ascending."""
        return np.setdiff1d(np.arange(self.N), self.kept)

    def without(self, dropped: NDArray[np.intp]) -> tuple[Task, NDArray[np.intp]]:
        """Returns the pool without some rows, and the rows that are left.

        Raises:
            CommandError: one of them is kept, or none is left.
        """
        if len(both := np.intersect1d(self.kept, dropped)):
            raise CommandError(f"row {self.origin[both[0]]} is both kept and excluded")
        left = np.setdiff1d(np.arange(self.N), dropped)
        if len(left) == 0:
            raise CommandError("all rows of the pool are excluded")
        groups, labels = (None if x is None else x[left] for x in (self.groups, self.labels))
        kept = np.searchsorted(left, self.kept)
        return Task(self.rows[left], self.origin[left], kept, groups, labels), left


@dataclass(frozen=True, eq=False)
class Chosen:
    """A subset of a pool, possibly beside samples that are labelled already.

    Attributes:
        indices: The new rows, shape ``[n]``, group by group, each in the order chosen.
        weights: Their training weights, shape ``[n]``, sum 1.
        labelled: All that will be labelled: what is kept, then what is new.
        budgets: Budget by group, if there are groups.
        settings: What the method chose where the user did not.
        seconds: Wall time of the selection.
        view: The pool as certificates see it.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]
    labelled: NDArray[np.intp]
    budgets: Mapping[str, int]
    settings: str
    seconds: float
    view: skmm.PoolView


def choose(task: Task, n: int, recipe: Recipe) -> Chosen:
    """Chooses ``n`` samples by `skmm.select`, once, or once a group.

    A group is a pool of its own; its budget is in proportion to what can be chosen from it.

    Args:
        task: The pool.
        n: Budget; what is kept is not part of it.
        recipe: How.

    Raises:
        ValueError: `skmm.select` refuses an argument.
        CommandError: fewer than ``n`` samples are left to choose from.
    """
    allowed = task.allowed
    if n < 1 or n > len(allowed):
        raise CommandError(
            f"-n must be in 1 to {len(allowed)}, the samples there are to choose from, got {n}"
        )
    if task.groups is None:
        selection = _select(task, None, n, recipe)
        labelled = np.concatenate([task.kept, selection.indices])
        return Chosen(
            selection.indices,
            selection.weights,
            labelled,
            {},
            selection.settings,
            selection.seconds,
            selection.view,
        )
    names, codes = np.unique(task.groups.astype(str), return_inverse=True)
    budgets = apportion(n, np.bincount(codes[allowed], minlength=len(names)))
    indices, weights, settings, seconds = [], [], {}, 0.0
    for code, budget in enumerate(budgets.tolist()):
        if budget == 0:
            continue
        part = np.flatnonzero(codes == code)
        selection = _select(task, part, budget, recipe)
        indices.append(part[selection.indices])
        weights.append(selection.weights * (budget / n))
        settings[selection.settings] = None  # each once, in order
        seconds += selection.seconds
    new = np.concatenate(indices)
    return Chosen(
        new,
        np.concatenate(weights),
        np.concatenate([task.kept, new]),
        dict(zip(names.tolist(), budgets.tolist(), strict=True)),
        "; ".join(filter(None, settings)),
        seconds,
        view_of(task.rows, recipe),
    )


def view_of(rows: NDArray[np.floating], recipe: Recipe) -> skmm.PoolView:
    """Returns the pool as `skmm.select` sees it under the same recipe."""
    return skmm.PoolView.of(rows, m=recipe.m, rng=recipe.seed, sketch=recipe.sketch)


def _select(task: Task, part: NDArray[np.intp] | None, n: int, recipe: Recipe) -> skmm.Selection:
    """Selects among the rows ``part``, or all; indices are places among them."""
    rows, kept, knobs = task.rows, task.kept, of_part(recipe.knobs, part, task.N)
    if part is not None:
        rows, kept = rows[part], np.flatnonzero(np.isin(part, kept))
    if len(kept):
        knobs["keep"] = kept
    return skmm.select(
        rows, n, method=recipe.method, rng=recipe.seed, m=recipe.m, sketch=recipe.sketch, **knobs
    )

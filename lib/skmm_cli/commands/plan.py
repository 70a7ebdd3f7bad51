"""``skmm plan``: what each budget buys, to choose one before paying for labels."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

import skmm
from skmm_cli.choosing import Recipe, Task, choose, view_of
from skmm_cli.commands.options import (
    BESIDES,
    CHOOSING,
    READING,
    TELLING,
    Besides,
    Choosing,
    Pool,
    Reading,
    Telling,
    bring,
    forecast,
)
from skmm_cli.errors import UsageError
from skmm_cli.judging import Judge
from skmm_cli.printing import as_json, table
from skmm_cli.progress import Progress

_BUDGETS, _MOST = 6, 2000
"""Budgets that are looked at unless told, each twice the last, and the largest of them."""


def plan(
    features: Pool,
    /,
    *,
    budgets: Annotated[
        str,
        Parameter(
            help="Budgets, separated by commas; unless given, six of them, up to half of the pool"
        ),
    ] = "",
    method: Annotated[str, Parameter(help="How; see skmm methods")] = "skmm",
    choosing: Annotated[Choosing, Parameter(name="*")] = CHOOSING,
    besides: Annotated[Besides, Parameter(name="*")] = BESIDES,
    reading: Annotated[Reading, Parameter(name="*")] = READING,
    telling: Annotated[Telling, Parameter(name="*")] = TELLING,
) -> None:
    """Shows what each budget buys, to choose one before paying for labels.

    For each n the certificate and the coverage of the subset that would be chosen, beside the
    median of nine uniform draws. risk: variance x k/n, the excess risk per unit of label noise.
    """
    asked = _numbers(budgets)
    recipe = choosing.recipe(method, besides.labels)
    pool = reading.read(features, besides, recipe)
    task, recipe = bring(pool, recipe, besides)
    free = len(task.allowed)
    top = min(free // 2, _MOST) or 1
    sizes = asked or sorted({max(1, top >> i) for i in range(_BUDGETS)})
    if max(sizes) > free:
        raise UsageError(f"--budgets must be at most {free}, what can be chosen, got {max(sizes)}")
    progress = telling.progress()
    subsets = _subsets(task, recipe, sizes, progress)
    progress.say(pool.told)
    judge = Judge(view_of(task.rows, recipe), recipe.seed)
    rows = [_row(judge, n, labelled, task) for n, labelled in subsets]
    if telling.json:
        print(as_json({"method": method, "N": task.N, "dimension": judge.dimension, "plan": rows}))
    else:
        print(table([_line(judge, row) for row in rows]))


def _row(judge: Judge, n: int, labelled: NDArray[np.intp], task: Task) -> dict[str, Any]:
    """Judges what a budget buys."""
    subset, (uniform, _) = judge.figures(labelled), judge.uniform(n, beside=task.kept)
    risk = subset.variance * judge.dimension / subset.n
    return {"n": n, "subset": subset, "uniform": uniform, "risk": risk}


def _line(judge: Judge, row: dict[str, Any]) -> dict[str, Any]:
    """Returns it as a line of a table."""
    chance = {f"uniform {x}": getattr(row["uniform"], x) for x in ("variance", "coverage")}
    return {"n": row["n"], **judge.row(row["subset"]), "risk": row["risk"], **chance}


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--budgets must be whole numbers above 0, as 100,200,400, got {text!r}")
    return sorted({int(word) for word in words})


def _subsets(
    task: Task, recipe: Recipe, sizes: list[int], progress: Progress
) -> list[tuple[int, NDArray[np.intp]]]:
    """Returns what is labelled at each budget; of a nested method one choice holds them all."""
    whole = sum(forecast(task, recipe, n) for n in sizes)
    nested = skmm.SELECTORS[recipe.method].nested and task.groups is None
    with progress.step(f"choosing at {len(sizes)} budgets", whole):
        if not nested:
            return [(n, choose(task, n, recipe).labelled) for n in sizes]
        chosen = choose(task, max(sizes), recipe).indices
    return [(n, np.concatenate([task.kept, chosen[:n]])) for n in sizes]

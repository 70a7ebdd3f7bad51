"""Options that several commands have, and how what they name is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from skmm import SELECTORS, SKETCHES
from skmm.selection.selectors.stratified import is_large
from skmm_cli.choosing import Recipe, Task
from skmm_cli.errors import UsageError
from skmm_cli.forecast import megabytes, seconds
from skmm_cli.knobs import of_part, parse_knobs, read_needs
from skmm_cli.progress import Progress
from skmm_cli.reading.pool import PoolFile, read_pool


def whole(_, tokens) -> int:
    """Reads a whole number as it is written: 1.5 is none, nor is 1e3."""
    return int(tokens[0].value)


Pool = Annotated[
    Path,
    Parameter(
        help="Features, one row a sample: .npy, .npz, .csv, .parquet, .arrow, .safetensors or .pt, "
        "or the folder of a store"
    ),
]
Budget = Annotated[
    int, Parameter(name=["-n", "--budget"], converter=whole, help="How many samples to choose")
]
SketchSize = Annotated[
    int | None,
    Parameter(
        name=["-m", "--sketch-size"],
        converter=whole,
        help="Dimensions to sketch to; unless given, at most 512",
    ),
]
Seed = Annotated[int, Parameter(converter=whole, help="Of all that is random")]
Kind = Annotated[str, Parameter(help="Kind of sketch")]
Force = Annotated[bool, Parameter(negative="", help="Replace outputs that exist")]


@dataclass(frozen=True)
class Reading:
    """What in the file is what."""

    columns: Annotated[
        str,
        Parameter(
            help="Columns, or the array, of features, separated by commas; unless given, "
            "the only matrix, or all columns of numbers"
        ),
    ] = ""
    id: Annotated[str, Parameter(help="Column of the samples' names; unless given, id")] = ""

    @property
    def names(self) -> list[str]:
        """The columns of features, as they were listed."""
        return [name.strip() for name in self.columns.split(",") if name.strip()]

    def read(self, path: Path, besides: Besides | None = None, *recipes: Recipe) -> PoolFile:
        """Reads the pool; columns that are named by another option, or a knob, are no features."""
        taken = [besides.group, besides.labels] if besides else []
        for recipe in recipes:
            taken += [recipe.knobs[need] for need in SELECTORS[recipe.method].needs]
        return read_pool(
            path, features=self.names, ident=self.id or None, taken=filter(None, taken)
        )


def check_sketch(kind: str, seed: int) -> None:
    """Refuses a kind of sketch that does not exist, and a seed below 0."""
    if seed < 0:
        raise UsageError(f"--seed must be 0 or more, got {seed}")
    if kind not in SKETCHES:
        raise UsageError(f"--sketch must be one of {', '.join(SKETCHES)}, got {kind!r}")


@dataclass(frozen=True)
class Choosing:
    """How samples are chosen."""

    set: Annotated[
        list[str] | None,
        Parameter(negative="", help="A knob of the method, knob=value; again for another"),
    ] = None
    seed: Seed = 0
    sketch_size: SketchSize = None
    sketch: Kind = "gaussian"

    def recipe(self, method: str, labels: str | None = None) -> Recipe:
        """Returns the recipe, whose needs are not read yet.

        Raises:
            UsageError: the method, a knob or a number makes no sense.
        """
        knobs = parse_knobs(method, self.set or [], labels=labels)
        check_sketch(self.sketch, self.seed)
        return Recipe(method, self.seed, self.sketch_size, self.sketch, knobs)


@dataclass(frozen=True)
class Telling:
    """What is printed."""

    json: Annotated[bool, Parameter(negative="", help="Print JSON for programs")] = False
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], negative="", help="No progress, no notes")
    ] = False

    def progress(self) -> Progress:
        """Returns what tells the user how far things are."""
        return Progress(quiet=self.quiet)


@dataclass(frozen=True)
class Besides:
    """What besides features a choice may depend on."""

    keep: Annotated[
        Path | None,
        Parameter(help="File of samples that are labelled already, which new ones complement"),
    ] = None
    exclude: Annotated[Path | None, Parameter(help="File of samples to leave out")] = None
    group: Annotated[
        str | None, Parameter(help="Column or file of groups: each gets its share of the budget")
    ] = None
    labels: Annotated[
        str | None,
        Parameter(
            help="Column or file of classes: for the report, and for methods that need labels"
        ),
    ] = None


CHOOSING, READING, TELLING, BESIDES = Choosing(), Reading(), Telling(), Besides()
"""All of them as they are unless a user says otherwise."""


def bring(pool: PoolFile, recipe: Recipe, besides: Besides) -> tuple[Task, Recipe]:
    """Reads what the options name; returns the pool to choose from, and the recipe for it.

    Raises:
        CommandError: a file or a column is not what it should be.
    """
    knobs = read_needs(recipe.method, recipe.knobs, pool)
    none = np.zeros(0, dtype=np.intp)
    task = Task(
        rows=pool.rows,
        origin=np.arange(pool.N),
        kept=none if besides.keep is None else pool.samples(besides.keep),
        groups=None if besides.group is None else pool.one_each(besides.group, "--group"),
        labels=None if besides.labels is None else pool.one_each(besides.labels, "--labels"),
    )
    if besides.exclude is not None:
        task, left = task.without(pool.samples(besides.exclude))
        knobs = of_part(knobs, left, pool.N)
    return task, replace(recipe, knobs=knobs)


def forecast(task: Task, recipe: Recipe, n: int) -> float:
    """Returns about how many seconds a choice takes."""
    N, r = task.rows.shape
    criterion = recipe.knobs.get("criterion", "auto")
    count = n + len(task.kept)
    return seconds(recipe.method, N, r, min(r, recipe.m or 512), count, criterion)


def forecast_memory(task: Task, recipe: Recipe, n: int) -> float | None:
    """Returns about how many megabytes the default takes for a large pool; else ``None``."""
    N, r = task.rows.shape
    if recipe.method != "skmm" or task.groups is not None or not is_large(N):
        return None
    count, criterion = n + len(task.kept), recipe.knobs.get("criterion", "auto")
    return megabytes(N, min(r, recipe.m or 512), count, criterion)

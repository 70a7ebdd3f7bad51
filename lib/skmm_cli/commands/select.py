"""``skmm select``: from a file of features to a file of samples to label."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from numpy.typing import NDArray

import skmm
from skmm_cli.choosing import Chosen, Recipe, Task, choose
from skmm_cli.commands.options import (
    BESIDES,
    CHOOSING,
    READING,
    TELLING,
    Besides,
    Budget,
    Choosing,
    Force,
    Pool,
    Reading,
    Telling,
    bring,
    forecast,
    forecast_memory,
)
from skmm_cli.errors import UsageError
from skmm_cli.judging import Judge
from skmm_cli.printing import as_json, show
from skmm_cli.reading.pool import ID, INDEX, PoolFile
from skmm_cli.report.page import report_page
from skmm_cli.writing import as_csv, check_suffix, encode, outputs

SUFFIXES = (".csv", ".parquet", ".npy")
"""Formats of a subset."""


def select(
    features: Pool,
    /,
    *,
    n: Budget,
    output: Annotated[
        Path | None,
        Parameter(
            name=["-o", "--output"],
            help="Where to write: .csv, .parquet or .npy; unless given, CSV is printed",
        ),
    ] = None,
    method: Annotated[str, Parameter(help="How; see skmm methods")] = "skmm",
    choosing: Annotated[Choosing, Parameter(name="*")] = CHOOSING,
    besides: Annotated[Besides, Parameter(name="*")] = BESIDES,
    weights: Annotated[
        bool,
        Parameter(
            negative="", help="Add the column weight: what each sample should weigh in training"
        ),
    ] = False,
    report: Annotated[Path | None, Parameter(help="Write a page about the choice, .html")] = None,
    force: Force = False,
    reading: Annotated[Reading, Parameter(name="*")] = READING,
    telling: Annotated[Telling, Parameter(name="*")] = TELLING,
) -> None:
    """Chooses the samples to label and finetune on.

    The output has a row for each sample chosen, in the order of choice: its row in the features
    from 0 (index), its name if the features have a column of names (id), its group if there are
    groups. The same seed chooses the same samples on every machine.
    """
    check_suffix(output, SUFFIXES)
    check_suffix(report, (".html", ".htm"))
    if weights and output is not None and output.suffix.lower() == ".npy":
        raise UsageError("--weights needs a .csv or .parquet output: .npy holds indices alone")
    recipe = choosing.recipe(method, besides.labels)
    progress = telling.progress()
    with outputs(output, report, force=force) as out:
        pool = reading.read(features, besides, recipe)
        task, recipe = bring(pool, recipe, besides)
        expected, memory = forecast(task, recipe, n), forecast_memory(task, recipe, n)
        if memory is not None:
            progress.say(f"choosing takes about {expected:.0f} s and {memory:.0f} MB of memory")
        with progress.step(f"choosing {n} of {task.N}", expected):
            chosen = choose(task, n, recipe)
        columns = _columns(chosen, task, pool, weights=weights)
        if output is not None:
            out.write(output, encode(columns, output.suffix.lower()))
        if report is not None:
            with progress.step("writing the report", 5.0):
                page = report_page(task, chosen, recipe, pool, columns)
            out.write(report, lambda file: file.write(page.encode()))
        progress.say(pool.told)
        # Before the outputs get their names: whoever cannot be told has no files either.
        _tell(chosen, task, recipe, columns, output, telling)
        sys.stdout.flush()


def _columns(chosen: Chosen, task: Task, pool: PoolFile, *, weights: bool) -> dict[str, NDArray]:
    """Returns the table of the samples chosen."""
    columns = {INDEX: task.origin[chosen.indices]}
    if pool.ids is not None:
        columns[ID] = pool.ids[columns[INDEX]]
    if task.groups is not None:
        columns["group"] = task.groups[chosen.indices]
    if weights:
        columns["weight"] = chosen.weights
    return columns


def _tell(
    chosen: Chosen,
    task: Task,
    recipe: Recipe,
    columns: dict[str, NDArray],
    output: Path | None,
    telling: Telling,
) -> None:
    """Prints the certificate, beside that of a uniform draw; and the samples, if nowhere else."""
    certificate = skmm.certify(chosen.view, chosen.labelled)
    uniform = Judge(chosen.view, recipe.seed).chance(len(chosen.indices), beside=task.kept)
    if telling.json:
        names = ("slack", "variance", "bias_share")
        facts = {
            "method": recipe.method,
            "settings": chosen.settings,
            "seed": recipe.seed,
            "N": task.N,
            "n": len(chosen.indices),
            "kept": len(task.kept),
            "m": chosen.view.rows.shape[1],
            "intrinsic_dimension": chosen.view.spectrum.intrinsic_dimension,
            "seconds": chosen.seconds,
            "budgets": chosen.budgets,
            "certificate": {name: getattr(certificate, name) for name in names},
            "uniform": uniform,
            "output": output and str(output),
        }
        print(as_json({**facts, **columns}))
        return
    r_bar, m = chosen.view.spectrum.intrinsic_dimension, chosen.view.rows.shape[1]
    beside = f" beside {len(task.kept)} kept" if len(task.kept) else ""
    lines = [
        f"{recipe.method}: {len(chosen.indices)} of {task.N} samples{beside} "
        f"in {chosen.seconds:.3g} s",
        f"  {chosen.settings}" if chosen.settings else "",
        f"  second moment in {m} dimensions, of intrinsic dimension {r_bar}",
        str(certificate),
        f"  uniform, median of 9: slack {show(uniform['slack'])}, "
        f"variance {show(uniform['variance'])}",
        "  budgets: " + ", ".join(f"{k} {v}" for k, v in chosen.budgets.items())
        if chosen.budgets
        else "",
    ]
    text = "\n".join(line for line in lines if line)
    if output is not None:
        print(text)
    else:
        print(as_csv(columns), end="")
        if not telling.quiet:
            print(text, file=sys.stderr)

"""``skmm certify``: how good a subset is, beside uniform draws of its size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from skmm_cli.choosing import view_of
from skmm_cli.commands.options import (
    CHOOSING,
    READING,
    TELLING,
    Choosing,
    Pool,
    Reading,
    Telling,
)
from skmm_cli.errors import CommandError
from skmm_cli.judging import Judge
from skmm_cli.printing import as_json, table


def certify(
    features: Pool,
    subset: Annotated[
        Path,
        Parameter(
            help="Samples, by a column id or index, or one row number a line: .csv, .parquet, .npy"
        ),
    ],
    /,
    *,
    choosing: Annotated[Choosing, Parameter(name="*")] = CHOOSING,
    reading: Annotated[Reading, Parameter(name="*")] = READING,
    telling: Annotated[Telling, Parameter(name="*")] = TELLING,
) -> None:
    """Says how good a subset is, whoever chose it, beside uniform draws of its size.

    slack: 1 is a perfect match of the pool's moments. variance: the price of a direction; excess
    risk is about variance x k/n per unit of noise. Both are inf where the subset lacks a direction.
    bias share: energy of the pool in directions that it lacks. coverage: mean cosine of a sample to
    the nearest one of the subset. clusters: how many of the pool's it has a sample of.
    """
    recipe = choosing.recipe("uniform")
    pool = reading.read(features)
    indices = pool.samples(subset)
    if len(indices) == 0:
        raise CommandError(f"{subset} lists no samples")
    progress = telling.progress()
    progress.say(pool.told)
    with progress.step("judging", 3.0):
        judge = Judge(view_of(pool.rows, recipe), recipe.seed)
        judged, (uniform, _) = judge.figures(indices), judge.uniform(len(indices))
    if telling.json:
        print(
            as_json(
                {
                    "N": pool.N,
                    "dimension": judge.dimension,
                    "clusters": int(np.max(judge.clusters)) + 1,
                    "subset": judged,
                    "uniform": uniform,
                }
            )
        )
        return
    names = {"subset": judged, "uniform, median of 9": uniform}
    print(table([{"": name, **judge.row(figures)} for name, figures in names.items()]))

"""``skmm compare``: several methods on one pool, by the same yardstick."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from cyclopts import Parameter

from skmm_cli.choosing import choose, view_of
from skmm_cli.commands.options import (
    BESIDES,
    CHOOSING,
    READING,
    TELLING,
    Besides,
    Budget,
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


def compare(
    features: Pool,
    /,
    *,
    n: Budget,
    methods: Annotated[
        str, Parameter(help="Methods, separated by commas; see skmm methods")
    ] = "skmm,k_means,k_center,leverage,uniform",
    choosing: Annotated[Choosing, Parameter(name="*")] = CHOOSING,
    besides: Annotated[Besides, Parameter(name="*")] = BESIDES,
    reading: Annotated[Reading, Parameter(name="*")] = READING,
    telling: Annotated[Telling, Parameter(name="*")] = TELLING,
) -> None:
    """Runs several methods on one pool: certificates, times, and what they have in common.

    The second table has the share of samples that two methods both chose.
    """
    names = list(dict.fromkeys(word.strip() for word in methods.split(",") if word.strip()))
    if not names:
        raise UsageError("--methods is empty; see skmm methods")
    if choosing.set:
        raise UsageError("compare takes methods as they are: --set has no meaning here")
    recipes = [choosing.recipe(name, besides.labels) for name in names]
    pool = reading.read(features, besides, *recipes)
    progress, subsets, rows, judge = telling.progress(), [], [], None
    for recipe in recipes:
        task, brought = bring(pool, recipe, besides)
        judge = judge or Judge(view_of(task.rows, recipe), recipe.seed)
        with progress.step(f"{recipe.method}: {n} of {task.N}", forecast(task, recipe, n)):
            chosen = choose(task, n, brought)
        subsets.append(task.origin[chosen.indices])
        rows.append((recipe.method, chosen.seconds, judge.figures(chosen.labelled)))
    progress.say(pool.told)
    overlap = [[len(np.intersect1d(a, b)) / n for b in subsets] for a in subsets]
    if telling.json:
        facts = [{"method": m, "seconds": s, "figures": f} for m, s, f in rows]
        print(
            as_json(
                {
                    "N": pool.N,
                    "n": n,
                    "dimension": judge.dimension,
                    "methods": facts,
                    "overlap": overlap,
                }
            )
        )
        return
    print(table([{"method": m, "seconds": s, **judge.row(f)} for m, s, f in rows]))
    print()
    shares = (
        {"in common": a, **{b: f"{x:.2f}" for b, x in zip(names, line, strict=True)}}
        for a, line in zip(names, overlap, strict=True)
    )
    print(table(list(shares)))

"""What the library states of its default against other methods, on real pools."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from skmm_study.figures.methods import method_label
from skmm_study.ledger.experiments import ERRORS, finetuned
from skmm_study.ledger.statements import (
    Judged,
    Statement,
    decide,
    interval,
    student,
    where,
)
from skmm_study.report.leads import VERDICTS, means_of_draws

if TYPE_CHECKING:
    import pandas as pd

UNITS = {"utkface": (1.0, 2, "years less error")}
"""Pool -> factor, digits and unit of its leads; of the others, accuracies:"""
POINTS = (100.0, 1, "points")


def _above_uniform(gaps: pd.DataFrame, pool: str) -> Judged:
    unit, digits, what = UNITS.get(pool, POINTS)
    sign = -1.0 if pool in ERRORS else 1.0
    rows = gaps[gaps["pool"] == pool].set_index("n").sort_index()
    parts = []
    for n, row in rows.iterrows():
        ends = sorted(sign * unit * row[["low", "high"]].to_numpy(dtype=float))
        parts.append(f"{n}: {interval(sign * unit * row['mean'], *ends, digits, signed=True)}")
    figure = f"{what} at n = {', '.join(parts)}; {int(rows['trials'].min())} seeds"
    return where({int(n): bool(sign * mean > 0) for n, mean in rows["mean"].items()}), figure


def _standing(leads: pd.DataFrame, pool: str) -> Judged:
    """Holds if no rival is surely ahead, after Holm over the rivals of all pools of the table."""
    unit, digits, what = UNITS.get(pool, POINTS)
    rows = leads[leads["pool"] == pool].set_index("method")
    rivals = rows[rows["verdict"].isin(VERDICTS)]
    place = 1 + int((rivals["lead"] < 0).sum())
    counts = rivals["verdict"].value_counts()
    tally = ", ".join(f"{counts.get(one, 0)} {one}" for one in VERDICTS)

    def lead(name: str) -> str:
        ends = unit * rivals.loc[name, ["lead", "lead_low", "lead_high"]].astype(float)
        return interval(*ends, digits, signed=True)

    closest = rivals["lead"].idxmin()
    most, least = rows["seeds"].max(), rows["seeds"].min()
    seeds = f"{most} seeds" + f", {least} for some" * bool(least < most)
    figure = (
        f"place {place} of {len(rivals) + 1} ({seeds}), {lead('uniform')} {what} over Uniform, "
        f"{lead(closest)} over {method_label(closest)}; rivals: {tally}"
    )
    return decide(counts.get("behind", 0) == 0), figure


def _balance_of_both(leads: pd.DataFrame) -> Judged:
    parts, behind = [], 0
    for pool, rows in leads.groupby("pool", sort=False):
        unit, digits, what = UNITS.get(pool, POINTS)
        for name, label in (("k_medoids", "coverage"), ("SkMM, fourth", "the fourth moment")):
            row = rows[rows["method"] == name].iloc[0]
            ends = unit * row[["lead", "lead_low", "lead_high"]].astype(float)
            parts.append(f"{pool}, over {label} {interval(*ends, digits, signed=True)} {what}")
            behind += row["verdict"] == "behind"
    return decide(not behind), "; ".join(parts)


def _labels_saved(scores: pd.DataFrame) -> Judged:
    """Labels that uniform sampling needs for the accuracy at a budget, log-linear between its."""
    table = means_of_draws(scores[scores["pool"] == "cars"])
    table = table.pivot(index=["seed", "n"], columns="method", values="score")
    budget, needed = 1000, []
    for _, part in table.groupby("seed"):
        part = part.droplevel("seed")[["skmm", "uniform"]].dropna()
        logs = np.interp(part.loc[budget, "skmm"], part["uniform"], np.log(part.index))
        needed.append(np.exp(logs))
    figure = f"what {budget:,} labels give takes Uniform {interval(*student(needed), 0)}"
    return decide(student(needed)[1] > budget), f"{figure}; {len(needed)} seeds"


def _on_pool(pool: str, notebook: str, where_it_is: str) -> list[Statement]:
    """Two statements on one pool: never below uniform sampling, and nobody surely ahead."""
    return [
        Statement(
            name=f"{pool}-above-uniform",
            text=f"the default beats uniform sampling in the mean at every budget: {where_it_is}",
            tested="means over seeds, pool and test set drawn anew for each",
            tables=(f"{notebook}/above_uniform.csv",),
            judge=partial(_above_uniform, pool=pool),
            heading="Never below uniform sampling",
        ),
        Statement(
            name=f"{pool}-standing",
            text=f"no method run that sees no label is ahead of the default: {where_it_is}",
            tested="means over budgets, paired by seed, Holm over the rivals of both pools",
            tables=(f"{notebook}/leads.csv",),
            judge=partial(_standing, pool=pool),
            heading="Who leads",
            headline=True,
        ),
    ]


COMPARISONS = [
    *_on_pool("cars", "07_selection", "Stanford Cars, where it was chosen"),
    *_on_pool("banking77", "07_selection", "BANKING77, where it was chosen"),
    *_on_pool("clinc150", "08_confirmation", "CLINC150, where nothing was chosen"),
    *_on_pool("utkface", "08_confirmation", "ages of UTKFace, where nothing was chosen"),
    Statement(
        name="balance",
        text="coverage and the fourth moment in balance are at least as good as either alone",
        tested="kernel k-medoids and the fourth moment alone, on the pools it was chosen on",
        tables=("07_selection/leads.csv",),
        judge=_balance_of_both,
        heading="Who leads",
    ),
    Statement(
        name="fewer-labels",
        text="the default needs fewer labels than uniform sampling for the same accuracy",
        tested="linear probes on Stanford Cars, interpolated between budgets",
        tables=("07_selection/scores.csv",),
        judge=_labels_saved,
        heading="Who leads",
        headline=True,
    ),
    Statement(
        name="gains-at-finetuning",
        text="the fourth moment of what enters the classifier beats uniform sampling, finetuning "
        "on Stanford Cars",
        tested="two layers of MobileNetV2; MaxHerding and kernel k-medoids were not run",
        tables=("06_finetuning/differences.csv",),
        judge=partial(finetuned, method="SkMM, fourth"),
        heading="On the images, all 196 classes",
        headline=True,
        run="full",
    ),
]

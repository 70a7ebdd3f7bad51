"""What is stated of the published code, which departs from the paper, and how it is reported."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from skmm_study.ledger.statements import (
    Judged,
    Statement,
    decide,
    number,
    points,
    span,
    where,
)

if TYPE_CHECKING:
    import pandas as pd

POINT = 0.01
"""Of accuracy: differences below it count as none."""


def _left_uniform(weights: pd.DataFrame, method: str) -> Judged:
    """Holds if the weights are within a hundredth of uniform ones in total variation."""
    distance = weights.loc[weights["method"] == method, "to_uniform"]
    plain = weights.loc[weights["method"] == "skmm_paper", "to_uniform"].mean()
    figure = f"distance to uniform at most {distance.max():.1g}, without it {number(plain)} (mean)"
    return decide(distance.max() < 0.01), figure


def _never_leaves_its_start(weights: pd.DataFrame) -> Judged:
    kept = weights.loc[weights["method"] == "squared weights", "kept"]
    figure = f"{span(100 * kept, 0)} % of the subset are of the random start, {len(kept)} subsets"
    return decide(kept.min() == 1), figure


def _none_above_uniform(differences: pd.DataFrame) -> Judged:
    last = differences[differences["n"] == differences["n"].max()].set_index("method")
    best = last["mean"].idxmax()
    figure = f"the best, {best.replace('skmm_paper', 'no departure')}: "
    figure += f"{points(last.loc[best])} points"
    figure += f"; {len(last)} rows, {int(last['trials'].min())} seeds, n = {int(last['n'].iloc[0])}"
    return decide(last["mean"].max() < POINT), figure


def _permuted(differences: pd.DataFrame) -> Judged:
    rows = differences.set_index("method")
    names = [name for name in rows.index if name.endswith(", permuted")]
    figure = ", ".join(f"{name} {points(rows.loc[name])} points" for name in names)
    return decide(bool((abs(rows.loc[names, "mean"]) < POINT).all())), figure


def _one_draw(luck: pd.DataFrame) -> Judged:
    """Were the seeds independent, intervals of 95 % would leave out zero in 5 % of comparisons."""
    clear = float(luck["clear"].iloc[0])
    figure = (
        f"the interval leaves out zero in {number(100 * clear, 0)} % of comparisons, not in 5 %"
    )
    return decide(clear > 0.1), f"{figure}; {int(luck['draws'].iloc[0])} uniform draws"


def _best_on_test(luck: pd.DataFrame) -> Judged:
    rows = luck.set_index(["candidates", "chosen"])
    chosen = {how: rows.loc[("uniform draws", how)] for how in ("on_test", "held_out")}
    figure = f"the best of some uniform draws {points(chosen['on_test'])} points chosen on the "
    figure += f"test images, {points(chosen['held_out'])} points on others"
    more = chosen["on_test"]["mean"] > chosen["held_out"]["mean"]
    return decide(chosen["on_test"]["low"] > 0 and more), figure


def _pipeline(differences: pd.DataFrame) -> Judged:
    """At every budget, by its better slack."""
    rows = differences[differences["method"].str.startswith("SkMM (paper)")]
    best = rows.loc[rows.groupby("n")["mean"].idxmax()].set_index("n")
    figure = "points at n = " + ", ".join(f"{n}: {points(row)}" for n, row in best.iterrows())
    figure += f" (the better slack of each); {int(best['trials'].min())} seeds"
    return where({int(n): bool(low > 0) for n, low in best["low"].items()}), figure


def _sweep(differences: pd.DataFrame) -> Judged:
    means, shared = 100 * differences["mean"], 100 * differences["shared"]
    ends = differences["m"].agg(["min", "max"])
    figure = (
        f"{span(means, 1)} points over Uniform at m = {ends['min']} to {ends['max']}; "
        f"{span(shared, 0)} % of the samples in common with the first configuration"
    )
    return decide(differences["mean"].max() - differences["mean"].min() < POINT), figure


NOTEBOOK = "09_published_code"
WEIGHTS = "The weights, one departure at a time"

PUBLISHED = [
    Statement(
        name="cars-pipeline",
        source="Table 2",
        text="at each budget the paper's algorithm beats uniform sampling, probes on Stanford Cars",
        tested="MobileNetV2 features, one penalty, c_S at both ends of the paper's range",
        tables=(f"{NOTEBOOK}/pipeline_differences.csv",),
        judge=_pipeline,
        heading="The paper's own pipeline",
        headline=True,
    ),
    Statement(
        name="sketch-size-on-images",
        source="Section 4.2",
        text="sketch size m and slack c_S change little on real features",
        tested="Stanford Cars, all configurations from one random start; a point counts as little",
        tables=(f"{NOTEBOOK}/sweep_differences.csv",),
        judge=_sweep,
        heading="The sweep, and the best of it",
    ),
    Statement(
        name="softmax",
        source="published code",
        text="its softmax of the weights leaves a uniform draw",
        tested="our implementation of this one step, Stanford Cars",
        tables=(f"{NOTEBOOK}/weights.csv",),
        judge=partial(_left_uniform, method="softmax"),
        heading=WEIGHTS,
        headline=True,
    ),
    Statement(
        name="squared-weights",
        source="published code",
        text="its squared weights never leave the random start",
        tested="our implementation of this one step, with the cap, Stanford Cars",
        tables=(f"{NOTEBOOK}/weights.csv",),
        judge=_never_leaves_its_start,
        heading=WEIGHTS,
    ),
    Statement(
        name="departures",
        source="published code",
        text="none of its departures makes the algorithm better than uniform sampling by a point",
        tested="each alone, and three together; the code was read, not run",
        tables=(f"{NOTEBOOK}/departure_differences.csv",),
        judge=_none_above_uniform,
        heading="What they are worth",
        headline=True,
    ),
    Statement(
        name="permuted-baselines",
        source="published code",
        text="baselines whose indices point into permuted rows are uniform draws",
        tested="three baselines on a permutation for each seed; that the code does so is inferred",
        tables=(f"{NOTEBOOK}/permuted_differences.csv",),
        judge=_permuted,
        heading="Baselines on permuted rows",
    ),
    Statement(
        name="one-draw",
        source="published code",
        text="one subset for all seeds of a method looks like a gain or a loss by chance",
        tested="uniform draws that play the method against others that play Uniform, five seeds",
        tables=(f"{NOTEBOOK}/one_draw.csv",),
        judge=_one_draw,
        heading="One draw for all seeds",
    ),
    Statement(
        name="best-on-test",
        source="published code",
        text="the best of many, chosen on the test set, looks like a gain by chance",
        tested="uniform draws, which differ by nothing but luck, and configurations of one start",
        tables=(f"{NOTEBOOK}/best_of_intervals.csv",),
        judge=_best_on_test,
        heading="The sweep, and the best of it",
    ),
]

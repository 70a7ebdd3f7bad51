"""What the library states of finetuning, of the labels of gradients, and of labels in rounds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from skmm_study.ledger.experiments import finetuned
from skmm_study.ledger.statements import (
    Judged,
    Statement,
    decide,
    interval,
    number,
    where,
)
from skmm_study.report.leads import SURE

if TYPE_CHECKING:
    import pandas as pd

ACTIVATIONS, LABELS, ROUNDS, TEXTS = (
    "06_finetuning",
    "11_gradients_at_random_labels",
    "12_rounds",
    "14_text_finetuning",
)
LOSS = 0.01
"""Accuracy that labels in rounds may lose in the mean: a point."""


def _mended(effects: pd.DataFrame) -> Judged:
    """By the change that takes an image's own label away and leaves all else."""
    rows = effects.set_index("change")
    parts = []
    for change in ("own 1 → shared", "own 1 → expected"):
        ends = 100 * rows.loc[change, ["mean", "low", "high"]].astype(float)
        p = rows.loc[change, "holm"]
        holm = "< 0.001" if p < 0.001 else f"= {number(p, 3)}"
        parts.append(f"{change} {interval(*ends, 1, signed=True)} points (Holm p {holm})")
    shared = rows.loc["own 1 → shared"]
    verdict = decide(bool(shared["low"] > 0 and rows["mean"].idxmax() == "own 1 → shared"))
    return verdict, "; ".join(parts)


def _in_rounds(losses: pd.DataFrame) -> Judged:
    """By the mean over the seeds, on every pool."""
    rows = losses[losses["method"] == "rounds"].set_index("pool")
    parts = [
        f"{pool} {interval(*(100 * row[['mean', 'low', 'high']].astype(float)), 1, signed=True)}"
        for pool, row in rows.iterrows()
    ]
    figure = f"points against at once: {', '.join(parts)}; {int(rows['trials'].min())} seeds"
    return decide(bool((rows["mean"] > -LOSS).all())), figure


def _rounds_above(gaps: pd.DataFrame) -> Judged:
    rows = gaps[gaps["method"] == "rounds"]
    least = rows.loc[rows["mean"].idxmin()]
    ends = interval(*(100 * least[["mean", "low", "high"]].astype(float)), 1, signed=True)
    figure = f"least mean gain over {len(rows)} rounds and pools {ends} points, {least['pool']} at "
    return decide(bool((rows["mean"] > 0).all())), f"{figure}n = {int(least['n'])}"


def _embeddings_lead(against: pd.DataFrame, labels: str) -> Judged:
    """By the lead over every way to select on these gradients, Holm's p below the usual level."""
    rows = against[against["before"].str.endswith(f", {labels} labels")]
    sure = (rows["mean"] > 0) & (rows["holm"] < SURE)
    parts = [
        f"{before} "
        + ", ".join(
            f"{interval(*(100 * row[['mean', 'low', 'high']].astype(float)), 1, signed=True)}"
            f" at n = {int(row['n'])}"
            for _, row in part.iterrows()
        )
        for before, part in rows.groupby("before", sort=False)
    ]
    figure = f"points above {'; '.join(parts)}; {int(rows['trials'].min())} seeds"
    return where(sure.groupby(rows["n"]).all().to_dict()), figure


FINETUNING = [
    Statement(
        name="activations",
        source="library",
        text="the default beats uniform sampling, finetuning on 30 classes of Stanford Cars",
        tested="two layers of MobileNetV2 on activations that ship, rows that enter the classifier",
        tables=(f"{ACTIVATIONS}/differences.csv",),
        judge=partial(finetuned, method="skmm"),
        notebook=ACTIVATIONS,
        heading="Accuracy and F1 of every method",
        headline=True,
        run="default",
    ),
    Statement(
        name="activations-random",
        source="Table 3",
        text="on gradients at random labels SkMM beats uniform sampling, 30 classes of Stanford "
        "Cars",
        tested="the same layers, activations and seeds; one draw of labels a seed",
        tables=(f"{ACTIVATIONS}/differences.csv",),
        judge=partial(finetuned, method="SkMM, random labels"),
        notebook=ACTIVATIONS,
        heading="Accuracy and F1 of every method",
        run="default",
    ),
    Statement(
        name="labels-of-their-own",
        source="library",
        text="gradients at random labels gain nothing because every image draws its own: one "
        "label for all is the change that gains most",
        tested="label draws, heads, row norms and criteria, one change at a time",
        tables=(f"{LABELS}/effects.csv",),
        judge=_mended,
        notebook=LABELS,
        heading="What mends it: one change at a time",
        headline=True,
    ),
    Statement(
        name="rounds",
        source="library",
        text="labels in rounds that keep those before lose at most a point against all at once",
        tested="Stanford Cars and BANKING77, linear probes",
        tables=(f"{ROUNDS}/losses.csv",),
        judge=_in_rounds,
        notebook=ROUNDS,
        heading="What rounds cost",
        headline=True,
    ),
    Statement(
        name="rounds-above-uniform",
        source="library",
        text="in every round the samples so far beat as many uniform ones in the mean",
        tested="Stanford Cars and BANKING77, linear probes",
        tables=(f"{ROUNDS}/above_uniform.csv",),
        judge=_rounds_above,
        notebook=ROUNDS,
        heading="Never below uniform sampling",
    ),
    Statement(
        name="text-finetuning",
        source="library",
        text="the default beats uniform sampling, finetuning MiniLM's last block on 15 intents of "
        "BANKING77",
        tested="block and classifier trained on selected queries, embeddings of the pretrained one",
        tables=(f"{TEXTS}/differences.csv",),
        judge=partial(finetuned, method="skmm", layers="block and classifier"),
        notebook=TEXTS,
        heading="Accuracy",
        headline=True,
    ),
    Statement(
        name="embeddings-or-random-labels",
        source="library",
        text="to finetune MiniLM's last block, selecting on embeddings beats selecting on sketched "
        "gradients at random labels",
        tested="the same queries, budgets and seeds; on the gradients the default and the paper's "
        "algorithm",
        tables=(f"{TEXTS}/against.csv",),
        judge=partial(_embeddings_lead, labels="random"),
        notebook=TEXTS,
        heading="Embeddings or gradients, SkMM or its rivals",
        headline=True,
    ),
    Statement(
        name="embeddings-or-pseudo-labels",
        source="library",
        text="to finetune MiniLM's last block, selecting on embeddings beats selecting on sketched "
        "gradients at the labels of a random classifier",
        tested="the same queries, budgets and seeds, the default on both",
        tables=(f"{TEXTS}/against.csv",),
        judge=partial(_embeddings_lead, labels="pseudo"),
        notebook=TEXTS,
        heading="Embeddings or gradients, SkMM or its rivals",
    ),
]

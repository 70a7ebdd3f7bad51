"""What the library states of finetuning, of the labels of gradients, and of labels in rounds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from skmm_study.ledger.experiments import finetuned
from skmm_study.ledger.statements import (
    Judged,
    Statement,
    decide,
    number,
    points,
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
        p = rows.loc[change, "holm"]
        holm = "< 0.001" if p < 0.001 else f"= {number(p, 3)}"
        parts.append(f"{change} {points(rows.loc[change])} points (Holm p {holm})")
    shared = rows.loc["own 1 → shared"]
    verdict = decide(bool(shared["low"] > 0 and rows["mean"].idxmax() == "own 1 → shared"))
    return verdict, "; ".join(parts)


def _in_rounds(losses: pd.DataFrame) -> Judged:
    """By the mean over the seeds, on every pool."""
    rows = losses[losses["method"] == "rounds"].set_index("pool")
    parts = [f"{pool} {points(row)}" for pool, row in rows.iterrows()]
    figure = f"points against at once: {', '.join(parts)}; {int(rows['trials'].min())} seeds"
    return decide(bool((rows["mean"] > -LOSS).all())), figure


def _rounds_above(gaps: pd.DataFrame) -> Judged:
    rows = gaps[gaps["method"] == "rounds"]
    least = rows.loc[rows["mean"].idxmin()]
    figure = f"least mean gain over {len(rows)} rounds and pools {points(least)} points, "
    figure += f"{least['pool']} at n = {int(least['n'])}"
    return decide(bool((rows["mean"] > 0).all())), figure


def _embeddings_lead(against: pd.DataFrame, labels: str) -> Judged:
    """By the lead over every way to select on these gradients, Holm's p below the usual level."""
    rows = against[against["before"].str.endswith(f", {labels} labels")]
    sure = (rows["mean"] > 0) & (rows["holm"] < SURE)
    parts = [
        f"{before} "
        + ", ".join(f"{points(row)} at n = {int(row['n'])}" for _, row in part.iterrows())
        for before, part in rows.groupby("before", sort=False)
    ]
    figure = f"points above {'; '.join(parts)}; {int(rows['trials'].min())} seeds"
    return where(sure.groupby(rows["n"]).all().to_dict()), figure


FINETUNING = [
    Statement(
        name="activations",
        text="the default beats uniform sampling, finetuning on 30 classes of Stanford Cars",
        tested="two layers of MobileNetV2 on activations that ship, rows that enter the classifier",
        tables=(f"{ACTIVATIONS}/differences.csv",),
        judge=partial(finetuned, method="skmm"),
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
        heading="Accuracy and F1 of every method",
        run="default",
    ),
    Statement(
        name="labels-of-their-own",
        text="gradients at random labels gain nothing because every image draws its own: one "
        "label for all is the change that gains most",
        tested="label draws, heads, row norms and criteria, one change at a time",
        tables=(f"{LABELS}/effects.csv",),
        judge=_mended,
        heading="What mends it: one change at a time",
        headline=True,
    ),
    Statement(
        name="rounds",
        text="labels in rounds that keep those before lose at most a point against all at once",
        tested="Stanford Cars and BANKING77, linear probes",
        tables=(f"{ROUNDS}/losses.csv",),
        judge=_in_rounds,
        heading="What rounds cost",
        headline=True,
    ),
    Statement(
        name="rounds-above-uniform",
        text="in every round the samples so far beat as many uniform ones in the mean",
        tested="Stanford Cars and BANKING77, linear probes",
        tables=(f"{ROUNDS}/above_uniform.csv",),
        judge=_rounds_above,
        heading="Never below uniform sampling",
    ),
    Statement(
        name="text-finetuning",
        text="the default beats uniform sampling, finetuning MiniLM's last block on 15 intents of "
        "BANKING77",
        tested="block and classifier trained on selected queries, embeddings of the pretrained one",
        tables=(f"{TEXTS}/differences.csv",),
        judge=partial(finetuned, method="skmm", layers="block and classifier"),
        heading="Accuracy",
        headline=True,
    ),
    Statement(
        name="embeddings-or-random-labels",
        text="to finetune MiniLM's last block, selecting on embeddings beats selecting on sketched "
        "gradients at random labels",
        tested="the same queries, budgets and seeds; on the gradients the default and the paper's "
        "algorithm",
        tables=(f"{TEXTS}/against.csv",),
        judge=partial(_embeddings_lead, labels="random"),
        heading="Embeddings or gradients, SkMM or its rivals",
        headline=True,
    ),
    Statement(
        name="embeddings-or-pseudo-labels",
        text="to finetune MiniLM's last block, selecting on embeddings beats selecting on sketched "
        "gradients at the labels of a random classifier",
        tested="the same queries, budgets and seeds, the default on both",
        tables=(f"{TEXTS}/against.csv",),
        judge=partial(_embeddings_lead, labels="pseudo"),
        heading="Embeddings or gradients, SkMM or its rivals",
    ),
]

"""Gradients of a language model: time against forward and backward, rows against a slow loop.

A classifier of BERT's kind, of all-MiniLM-L6-v2's size with random weights unless ``--model`` names
a folder that holds real ones, on texts of ``--texts`` (a CSV with a column ``text``) or random
tokens of the lengths of short queries. The plain side makes the gradient of the same parameters
summed over each batch; both sides run over the same batches, in turns, and processor time counts.
Rows are compared in double precision, texts on their own without padding against batches.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from skmm.gradients import GradientSketch, sketched_gradients
from skmm.gradients.parameters import frozen
from skmm.gradients.tokens import TokenBatches
from skmm_study.trials.machine import processor_seconds

PARTS = {
    "last block": ["bert.encoder.layer.5.*"],
    "all blocks": ["bert.encoder.*"],
    "everything": ["*"],
}
CLASSES, COMPARED = 77, 8


def build(folder: Path | None) -> BertForSequenceClassification:
    """Returns the model, its head random."""
    torch.manual_seed(0)
    if folder is not None:
        return BertForSequenceClassification.from_pretrained(folder, num_labels=CLASSES)
    size = dict(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)
    config = BertConfig(**size, num_attention_heads=12, num_labels=CLASSES)
    return BertForSequenceClassification(config)


def tokens_of(options: argparse.Namespace) -> dict[str, Any]:
    """Returns tokens and random classes of some texts."""
    rng = np.random.default_rng(0)
    if options.texts is None:
        lengths = rng.gamma(4.0, 4.0, options.pool).astype(int) + 3
        columns = {"input_ids": [rng.integers(1000, 30_000, T).tolist() for T in lengths]}
    else:
        with options.texts.open(encoding="utf-8", newline="") as file:
            texts = [row["text"] for row in csv.DictReader(file)]
        chosen = rng.choice(len(texts), options.pool, replace=False)
        tokenizer = AutoTokenizer.from_pretrained(options.model)
        columns = dict(tokenizer([texts[i] for i in chosen]))
    return columns | {"labels": rng.integers(0, CLASSES, options.pool).tolist()}


def plain_pass(model: torch.nn.Module, batches: list[dict], names: list[str]) -> None:
    """Runs the forward and backward pass of a training epoch, without its steps."""
    with frozen(model, names):
        own = dict(model.named_parameters())
        for batch in batches:
            x = {name: part for name, part in batch.items() if name != "labels"}
            loss = F.cross_entropy(model(**x).logits, batch["labels"], reduction="sum")
            torch.autograd.grad(loss, [own[name] for name in names])


def error(model: torch.nn.Module, columns: dict[str, Any], sketch: GradientSketch) -> float:
    """Returns the relative difference of rows from a slow loop, in double precision."""
    few = {name: column[:COMPARED] for name, column in columns.items()}
    options = dict(sketch=sketch, labels="true", rng=0, dtype="float64")
    rows = sketched_gradients(model, TokenBatches(few, 200), **options)
    slow = []
    with frozen(model, list(sketch.shapes)):
        own = dict(model.named_parameters())
        for ids, y in zip(few["input_ids"], few["labels"], strict=True):
            loss = F.cross_entropy(model(torch.tensor([ids])).logits, torch.tensor([y]))
            found = torch.autograd.grad(loss, [own[name] for name in sketch.shapes])
            slow.append(sketch({k: g[None] for k, g in zip(sketch.shapes, found, strict=True)}))
    truth = torch.cat(slow).numpy()
    return float(np.linalg.norm(rows - truth) / np.linalg.norm(truth))


def main() -> None:
    """Prints one line a part: the ratio of medians, and the difference of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of a BERT with six layers")
    parser.add_argument("--texts", type=Path, help="CSV with a column text; needs --model")
    parser.add_argument("--pool", type=int, default=400, help="texts")
    parser.add_argument("--tokens", type=int, default=2048, help="tokens in a batch")
    parser.add_argument("--m", type=int, default=512, help="sketch size")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="CSV")
    options = parser.parse_args()
    if options.texts is not None and options.model is None:
        parser.error("--texts needs --model, whose tokenizer reads them")

    model, columns = build(options.model).eval(), tokens_of(options)
    batches = TokenBatches(columns, options.tokens)
    made = list(batches)
    lines = []
    for part, parameters in PARTS.items():
        sketch = GradientSketch.draw(model, options.m, parameters=parameters, rng=0)
        run = dict(sketch=sketch, labels="true", rng=0)
        stages = {
            "plain_s": lambda names=list(sketch.shapes): plain_pass(model, made, names),
            "sketched_s": lambda run=run: sketched_gradients(model, batches, **run),
        }
        times = [
            {name: processor_seconds(work, 1) for name, work in stages.items()}
            for _ in range(options.repeats)
        ]
        line = {"part": part, "r": sketch.r, "m": sketch.m, "N": options.pool}
        line |= {name: statistics.median(row[name] for row in times) for name in stages}
        line["ratio"] = line["sketched_s"] / line["plain_s"]
        line["error"] = error(model.double(), columns, sketch)
        model.float()
        lines.append(line)
        print(
            "  ".join(
                f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()
            )
        )
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, lines[0])
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    main()

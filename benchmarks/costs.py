"""Measured times beside the cost model over three decades, exponents, a copy, and variances.

Run as ``python benchmarks/costs.py --out figures/bench``; takes some minutes and 2 GB. All times
are of the processor, the least of some repeats; the rates of the forecast are fitted to the runs of
the same table by least squares, and its error is told. Of gradients the first batch, before which
the plan is made, is left out.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from skmm.gradients import sketched_gradients
from skmm.gradients.tensorsketch import TensorSketch
from skmm.gradients.twosided import TwoSidedProjection
from skmm.selection.select import select
from skmm.sketching import SparseSignSketch
from skmm.spectrum import Spectrum
from skmm_scale.costs import (
    Architecture,
    GradientCost,
    Rates,
    Stage,
    Target,
    selection_stages,
    sketch_cost,
)
from skmm_study.trials.machine import processor_seconds

Row = dict[str, Any]
Run = tuple[int, float, float, float]
"""A size, the seconds measured there, operations and bytes moved."""


def a_batch(model: nn.Module, batches: list[Any], **options: Any) -> float:
    """Returns the processor time of sketching a batch, the first and the plan left out."""
    moments: list[float] = []

    def watched() -> Iterator[Any]:
        for batch in batches:
            moments.append(time.process_time())
            yield batch

    sketched_gradients(model, watched(), rng=0, **options)
    return (time.process_time() - moments[1]) / (len(batches) - 1)


def gradients_in_r(m: int = 512, B: int = 64) -> Iterator[Run]:
    """A linear layer of ``d d`` parameters, 10⁴ to 10⁷, on vectors."""
    for d in (100, 316, 1000, 3162):
        torch.manual_seed(0)
        model = nn.Linear(d, d, bias=False)
        batches = list(torch.randn(B * 5, d).split(B))
        seconds = min(a_batch(model, batches, m=m, last=1) for _ in range(3))
        operations, moved = sketch_cost(d, d, 1, m)
        yield d * d, seconds, B * (2.0 * d * d + operations), 4.0 * d * d + B * moved


def language_model(**sizes: Any) -> tuple[nn.Module, Architecture]:
    """Returns a model of LLaMA's kind with random weights, and its sizes."""
    config = transformers.LlamaConfig(**sizes)
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config), Architecture.of(config.to_dict())


def counted(m: int = 512, T: int = 32) -> list[Row]:
    """Operations of a model of a hundred million parameters, by a counter and by the model."""
    model, sizes = language_model(
        vocab_size=16_000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=11,
        num_attention_heads=12,
        num_key_value_heads=4,
        attn_implementation="eager",
    )
    batches = [{"input_ids": x} for x in torch.randint(0, 16_000, (2, T)).split(1)]
    options = {"m": m, "parameters": ["model.layers.10.*"], "loss": "causal-lm", "rng": 0}
    totals = []
    # The plan is made once: what the second batch adds is what a sample costs.
    for some in (batches, batches[:1]):
        with FlopCounterMode(display=False) as counter:
            sketched_gradients(model, some, **options)
        totals.append(counter.get_total_flops())
    one = GradientCost(sizes, T, m)
    row = {"over": "parameters", "size": sizes.parameters}
    return [
        {"part": f"operations, {name}", **row, "operations": int(operations)}
        for name, operations in (
            ("counted", totals[0] - totals[1]),
            ("forecast", one.flops + one.products),
        )
    ]


def gradients_in_T(m: int = 512) -> Iterator[Run]:
    """Two blocks of width 256, samples of 4 to 4,096 tokens, one a batch."""
    model, sizes = language_model(
        vocab_size=1000,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
    )
    options = {"m": m, "parameters": ["model.layers.*"], "loss": "causal-lm"}
    for T in (4, 16, 64, 256, 1024, 4096):
        batches = [{"input_ids": x} for x in torch.randint(0, 1000, (3, T)).split(1)]
        seconds = min(a_batch(model, batches, **options) for _ in range(2 if T < 4096 else 1))
        one = GradientCost(sizes, T, m, target=Target(2))
        yield T, seconds, one.flops + one.sketch_flops, one.bytes + one.sketch_bytes


def gradients_in_N(m: int = 128, d: int = 100, B: int = 50) -> Iterator[Run]:
    """Pools of 10² to 10⁵ samples; the plan, made once a pool, is part of the time."""
    torch.manual_seed(0)
    model = nn.Linear(d, d, bias=False)
    operations, moved = sketch_cost(d, d, 1, m)
    for N in (100, 1000, 10_000, 100_000):
        batches = torch.randn(N, d).split(B)
        work = partial(sketched_gradients, model, batches, m=m, last=1, rng=0)
        seconds = processor_seconds(work, 3 if N < 10**5 else 1)
        yield N, seconds, N * (2.0 * d * d + operations), N * moved


def spectrum_in_N(m: int = 128) -> Iterator[Run]:
    """Second moments of 10³ to 10⁶ rows and their eigenvectors."""
    for N in (1000, 10_000, 100_000, 1_000_000):
        rows = np.random.default_rng(0).standard_normal((N, m), np.float32)
        stage = selection_stages(N, 1, m)[1]
        yield N, processor_seconds(partial(Spectrum.of, rows)), stage.flops, stage.bytes


def selection_in_N(m: int = 64) -> Iterator[Run]:
    """Choosing a twentieth of 500 to 10,000 rows by the default, its stages together."""
    for N in (500, 2000, 5000, 10_000):
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((N, m)) * np.exp(-np.arange(m) / 30)
        work = partial(select, rows, N // 20, rng=0)
        seconds = processor_seconds(work, 1 if N > 5000 else 2)
        stages = selection_stages(N, N // 20, m)
        yield N, seconds, sum(s.flops for s in stages), sum(s.bytes for s in stages)


def with_forecasts(part: str, over: str, runs: Iterable[Run]) -> list[Row]:
    """Adds what the fitted rates forecast, and the exponent of time between neighbouring sizes."""
    table, stages = [], []
    for size, seconds, operations, moved in runs:
        table.append({"part": part, "over": over, "size": size, "seconds": seconds})
        stages.append(Stage(part, operations, moved, 0.0))
    rates = Rates.fitted(stages, [row["seconds"] for row in table])
    for row, stage in zip(table, stages, strict=True):
        row |= {"forecast": rates.seconds(stage)}
        row["error"] = row["forecast"] / row["seconds"] - 1
    for before, row in pairwise(table):
        times = np.log(row["seconds"] / before["seconds"])
        row["exponent"] = float(times / np.log(row["size"] / before["size"]))
    return table


def sparse_signs(r: int = 10**6, m: int = 512, N: int = 64) -> list[Row]:
    """The sparse sign sketch of rows against a copy of them into a touched buffer."""
    rows = np.random.default_rng(0).standard_normal((N, r), np.float32)
    copy = np.ones_like(rows)
    copied = processor_seconds(partial(np.copyto, copy, rows))
    table = []
    for nonzeros in (8, 4, 2, 1):
        sketch = SparseSignSketch.draw(r, m, rng=0, nonzeros=nonzeros)
        sketch(rows[:1])  # makes the matrix, which is kept
        seconds = processor_seconds(partial(sketch, rows))
        row = {"part": "sparse-sign", "over": "nonzeros", "size": nonzeros, "seconds": seconds}
        table.append(row | {"share of a copy": copied / seconds})
    return table


def variances(m: int = 256, side: int = 300, draws: int = 1000) -> list[Row]:
    """Spread of the squared norm of a sketched gradient of unit norm, by its rank."""
    rng, table = np.random.default_rng(0), []
    for k in (1, 4, 16, side):
        left, right = (np.linalg.qr(rng.standard_normal((side, k)))[0] for _ in range(2))
        g = left @ right.T / np.sqrt(k)
        norms: dict[str, list[float]] = {"tensor": [], "two-sided": []}
        for _ in range(draws):
            block = TensorSketch.draw(g.shape, m, rng=rng)
            sketched = np.bincount(block.buckets, g.ravel() * block.signs, minlength=m)
            norms["tensor"].append(float(sketched @ sketched))
            sides = TwoSidedProjection.draw(g.shape, m, rng=rng)
            norms["two-sided"].append(float(np.sum((sides.left.T @ g @ sides.right) ** 2)))
        a = int(np.sqrt(m))
        two = np.sqrt(4 / (k * a) + 2 * (1 + 1 / k) / m)
        bound = np.sqrt(6 / (m - 1))
        for name, stated in (("tensor", bound), ("two-sided", two)):
            row = {"part": f"variance, {name}", "over": "rank", "size": k}
            table.append(row | {"deviation": float(np.std(norms[name])), "stated": float(stated)})
    return table


PARTS: dict[str, Callable[[], list[Row]]] = {
    "counted": counted,
    "r": lambda: with_forecasts("gradients", "r", gradients_in_r()),
    "T": lambda: with_forecasts("gradients", "T", gradients_in_T()),
    "N": lambda: with_forecasts("gradients", "N", gradients_in_N()),
    "spectrum": lambda: with_forecasts("spectrum", "N", spectrum_in_N()),
    "selection": lambda: with_forecasts("selection", "N", selection_in_N()),
    "sparse": sparse_signs,
    "variance": variances,
}
COLUMNS = ["part", "over", "size", "seconds", "forecast", "error", "exponent"]
COLUMNS += ["operations", "share of a copy", "deviation", "stated"]


def main() -> None:
    """Prints the table and writes it to ``costs.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path("figures/bench"))
    options = parser.parse_args()
    table: list[Row] = []
    for name in options.parts:
        for row in PARTS[name]():
            told = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in row.values()]
            print("  ".join(f"{n} {x}" for n, x in zip(row, told, strict=True)), flush=True)
            table.append(row)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "costs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()

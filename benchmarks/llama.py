"""Memory and time of sketching a LLaMA-style model of 1B parameters, beside the cost model's.

The model has random weights, so nothing is downloaded; the last block, or low-rank adapters at q
and v of all blocks, and a causal loss. Run as ``python benchmarks/llama.py --out figures/bench``;
takes 4 GB in bfloat16 and some minutes a target. Times are of the processor, of all batches but the
first, before which the plan is made; the rates that the forecast needs, of products of the block's
shapes and of a copy, are measured in the same run.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from skmm.gradients import sketched_gradients
from skmm_scale.costs import Architecture, GradientCost, Rates, Stage, Target
from skmm_study.trials.costs import metered
from skmm_study.trials.machine import processor_seconds

RANK = 8


def built(sizes: Architecture, dtype: torch.dtype) -> nn.Module:
    """Builds the model in its precision, without a copy in another."""
    config = transformers.LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        intermediate_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.groups,
        head_dim=sizes.head_width,
        tie_word_embeddings=sizes.tied,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            model = transformers.LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model = model.to_empty(device="cpu")
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.02) if p.ndim == 2 else p.fill_(1)
    return model.eval()


def with_adapters(model: nn.Module) -> nn.Module:
    """Adds adapters whose B is not zero, as in the middle of a finetuning."""
    adapted = get_peft_model(model, LoraConfig(r=RANK, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.02)
    return adapted


def measured_rates(sizes: Architecture, positions: int, dtype: torch.dtype) -> Rates:
    """Measures products of a block's shapes on so many positions, and a copy."""
    matrices = [torch.randn(*shape).to(dtype) for shape in sizes.matrices.values()]
    inputs = {w.shape[1]: torch.randn(positions, w.shape[1]).to(dtype) for w in matrices}

    def block() -> None:
        for w in matrices:
            nn.functional.linear(inputs[w.shape[1]], w)
            # As the residual passes: the same product with the transposed matrix.
            torch.empty(positions, w.shape[0], dtype=dtype).fill_(1.0) @ w

    source = torch.ones(1 << 26)
    target = torch.ones_like(source)
    copied = processor_seconds(lambda: target.copy_(source))
    flops = 4.0 * positions * sizes.block
    return Rates(flops / processor_seconds(block), 2 * source.nbytes / copied)


def timed(batches: list[dict[str, Tensor]], moments: list[float]) -> Iterator[dict[str, Tensor]]:
    """Yields the batches and notes when each was asked for."""
    for batch in batches:
        moments.append(time.process_time())
        yield batch


def measure(options: argparse.Namespace, name: str) -> dict[str, object]:
    """Sketches with one target; returns what was measured and what was forecast."""
    sizes, dtype = Architecture.named(options.model), getattr(torch, options.dtype)
    target = Target(1) if name == "last" else Target(sizes.layers, rank=RANK)
    one = GradientCost(sizes, options.tokens, options.m, options.batch, target, dtype.itemsize)
    rates = measured_rates(sizes, options.batch * options.tokens, dtype)
    model = built(sizes, dtype)
    patterns = [f"model.layers.{sizes.layers - 1}.*"]
    if name == "lora":
        model, patterns = with_adapters(model), ["*lora_?.*"]
    ids = torch.randint(0, sizes.vocabulary, (options.samples, options.tokens))
    batches = [{"input_ids": part} for part in ids.split(options.batch)]
    weights = sum(p.nbytes for p in model.parameters())
    moments: list[float] = []
    with metered() as costs:
        rows = sketched_gradients(
            model,
            timed(batches, moments),
            m=options.m,
            parameters=patterns,
            loss="causal-lm",
            rng=0,
        )
    seconds = (time.process_time() - moments[1]) / (len(batches) - 1) / options.batch
    held = weights + 1e6 * costs.peak_mb
    forecast = rates.seconds(
        Stage(name, one.flops + one.sketch_flops, one.bytes + one.sketch_bytes, one.memory)
    )
    return {
        "target": name,
        "parameters": sizes.parameters,
        "r": one.r,
        "dtype": options.dtype,
        "N": len(rows),
        "T": options.tokens,
        "B": options.batch,
        "seconds a sample": seconds,
        "forecast": forecast,
        "over forecast": seconds / forecast,
        "GB": held / 1e9,
        "GB forecast": one.memory / 1e9,
        "GB over forecast": held / one.memory,
        "GFLOP/s of products": rates.flops / 1e9,
    }


def main() -> None:
    """Prints the table and writes it to ``llama.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="1B")
    parser.add_argument("--targets", nargs="+", default=["last", "lora"], choices=["last", "lora"])
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--m", type=int, default=512)
    parser.add_argument("--out", type=Path, default=Path("figures/bench"))
    options = parser.parse_args()
    table = []
    for name in options.targets:
        table.append(measure(options, name))
        for column, value in table[-1].items():
            print(f"{column:22}", f"{value:.4g}" if isinstance(value, float) else value, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "llama.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()

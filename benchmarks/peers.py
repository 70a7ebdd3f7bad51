"""Sketched gradients of a language model by other packages: time, and how well they keep geometry.

A causal language model of LLaMA's kind, trained for a moment, on texts of ``--texts`` or at random;
the weight matrices of all its blocks, since this is what all of them can do. Every way gets the
same batches and stores as many numbers a text, the square of ``--sides`` for each matrix: bergson
and dattri a block for each, skmm the sum of all sketches. Runs take turns; times are the least, of
the processor and of the clock, on one thread. The errors are of the Gram matrix and of the cosines
of ``--compared`` texts, against gradients made one by one, of one draw. Packages that are not
installed are told and left out; docs/reproducing.md has the command that installs them.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

from skmm.gradients import GradientSketch, sketched_gradients
from skmm.gradients.parameters import frozen
from skmm.gradients.tokens import TokenBatches

Rows = NDArray[np.floating]
Way = Callable[[], Rows]
MOST_DENSE = 1024
"""Numbers a text up to which a dense map of all parameters is tried."""


def texts_of(options: argparse.Namespace) -> list[list[int]]:
    """Returns texts as numbers of words: those of a file, or at random, the first most often."""
    rng = np.random.default_rng(0)
    V = options.vocabulary
    if options.texts is None:
        often = 1.0 / np.arange(1, V + 1)
        lengths = rng.gamma(4.0, 4.0, options.pool).astype(int) + 3
        return [rng.choice(V, T, p=often / often.sum()).tolist() for T in lengths]
    told = pd.read_csv(options.texts)["text"]
    texts = [re.findall(r"\w+|[^\w\s]", text.lower()) for text in told]
    counts = Counter(word for text in texts for word in text)
    known = {word: i for i, (word, _) in enumerate(counts.most_common(V - 2), start=2)}
    long = [i for i, text in enumerate(texts) if len(text) > 2]
    chosen = rng.choice(long, options.pool, replace=False)
    return [[known.get(word, 1) for word in texts[i]] for i in chosen]


class Study:
    """The model, its texts and their batches."""

    def __init__(self, options: argparse.Namespace):
        torch.manual_seed(0)
        width, heads = options.width, dict(num_attention_heads=4, num_key_value_heads=4)
        sizes = dict(hidden_size=width, intermediate_size=8 * width // 3, num_hidden_layers=4)
        config = LlamaConfig(vocab_size=options.vocabulary, **sizes, **heads)
        self.model = LlamaForCausalLM(config).eval()
        blocks = self.model.get_submodule("model.layers")
        found = (k for k, layer in blocks.named_modules() if isinstance(layer, nn.Linear))
        self.layers = [f"layers.{name}" for name in found]
        self.names = [f"model.{name}.weight" for name in self.layers]

        self.texts = texts_of(options)
        columns = {"input_ids": self.texts, "labels": self.texts}
        self.batches = TokenBatches(columns, options.tokens)
        self.made = list(self.batches)
        self.train(columns, options.epochs)

    def train(self, columns: dict[str, list], epochs: int) -> None:
        """Trains on the texts, so that gradients are not those of chance alone."""
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=2e-3)
        for _ in range(epochs):
            for batch in TokenBatches(columns, 512):
                optimiser.zero_grad()
                self.losses(batch).mean().backward()
                optimiser.step()
        optimiser.zero_grad()

    def losses(self, batch: dict[str, Tensor]) -> Tensor:
        """Returns each text's mean loss of its tokens."""
        logits = self.model(input_ids=batch["input_ids"]).logits[:, :-1].transpose(1, 2)
        taken = F.cross_entropy(logits, batch["labels"][:, 1:], reduction="none")
        return taken.sum(1) / (batch["labels"][:, 1:] >= 0).sum(1)

    def gradients(self, batch: dict[str, Tensor]) -> list[Tensor]:
        """Returns the gradients of a batch's summed losses by forward and backward."""
        with frozen(self.model, self.names):
            own = dict(self.model.named_parameters())
            loss = self.losses(batch).sum()
            return list(torch.autograd.grad(loss, [own[name] for name in self.names]))

    def plain(self) -> Rows:
        """Runs forward and backward over all batches, and returns rows of no numbers."""
        for batch in self.made:
            self.gradients(batch)
        return np.empty((len(self.texts), 0))

    def exact(self, count: int) -> Rows:
        """Returns the gradients of the first texts, one after the other, without padding."""
        singles = [torch.tensor([ids]) for ids in self.texts[:count]]
        rows = [self.gradients({"input_ids": ids, "labels": ids}) for ids in singles]
        return np.stack([torch.cat([g.flatten() for g in row]).numpy() for row in rows])


def skmm_ways(study: Study, side: int, _: Path) -> Iterator[tuple[str, Way]]:
    """Yields this library's maps that need no gradient to be formed."""
    m = len(study.names) * side**2
    for kind in ("tensor", "two-sided"):
        sketch = GradientSketch.draw(study.model, m, sketch=kind, parameters=study.names, rng=0)
        run = dict(sketch=sketch, loss="causal-lm", rng=0)
        way = partial(sketched_gradients, study.model, study.batches, **run)
        yield f"skmm, {kind}", way


def bergson_ways(study: Study, side: int, folder: Path) -> Iterator[tuple[str, Way]]:
    """Yields bergson's projections: of each matrix from both sides, and one of all."""
    bergson = importlib.import_module("bergson")
    data = importlib.import_module("datasets").Dataset.from_dict({"input_ids": study.texts})
    ends = np.cumsum([len(batch["input_ids"]) for batch in study.made])
    parts = [part.tolist() for part in np.split(study.batches.order, ends[:-1])]
    (folder / "index.part").mkdir()
    total = len(study.names) * side**2
    # The map of all is dense and drawn again for every batch: on a processor, minutes a batch.
    for target in ("per_module", "global") if total <= MOST_DENSE else ("per_module",):
        size = side if target == "per_module" else total
        options = dict(projection_dim=size, projection_target=target)
        cfg = bergson.IndexConfig(str(folder / "index"), loss_reduction="mean", **options)

        def run(cfg: object = cfg, options: dict = options) -> Rows:
            own = dict(cfg=cfg, data=data, processor=bergson.GradientProcessor(**options))
            collector = bergson.InMemoryCollector(
                model=study.model.base_model, target_modules=set(study.layers), **own
            )
            # As it prepares a model: the graph starts at the embedding, no weight's gradient.
            study.model.requires_grad_(False)
            study.model.get_input_embeddings().requires_grad_(True)
            bergson.CollectorComputer(
                study.model, data, collector=collector, batches=parts, cfg=cfg
            ).run_with_collector_hooks()
            study.model.requires_grad_(True)
            return collector.builder.grad_buffer

        yield f"bergson, {target}", run


def dattri_ways(study: Study, side: int, folder: Path) -> Iterator[tuple[str, Way]]:
    """Yields dattri's attributors that project each matrix: LoGra and FactGraSS."""
    algorithm = importlib.import_module("dattri.algorithm")
    logging.getLogger("dattri").setLevel(logging.ERROR)  # it counts batches as if they were texts
    task = importlib.import_module("dattri.task").AttributionTask(
        lambda _, batch, __: study.losses(batch).mean(), study.model, study.model.state_dict()
    )
    loader = DataLoader(study.made, batch_size=1, collate_fn=lambda parts: parts[0])
    layers = [f"model.{name}" for name in study.layers]
    options = dict(hessian="Identity", proj_dim=side**2, cache_dir=str(folder))
    for kind in ("LoGra", "FactGraSS"):

        def run(kind: str = kind) -> Rows:
            attributor = getattr(algorithm, f"{kind}Attributor")(task, layers, **options)
            with frozen(study.model, study.names):
                attributor.cache(loader)
            held = attributor.offload_manager.cached_gradients
            rows = torch.cat([held[i] for i in sorted(held)]).numpy()
            return rows[np.argsort(study.batches.order)]

        yield f"dattri, {kind}", run


def errors(rows: Rows, exact: Rows) -> dict[str, float]:
    """Returns the errors of the Gram matrix, relative, and of the cosines; scales do not count."""
    found, truth = (np.asarray(x, dtype=np.float64) @ np.float64(x.T) for x in (rows, exact))
    scaled = found * (np.sum(found * truth) / np.sum(found**2))
    cosines = [K / np.sqrt(np.outer(K.diagonal(), K.diagonal())) for K in (found, truth)]
    pairs = np.triu_indices(len(truth), 1)
    gap = (cosines[0] - cosines[1])[pairs]
    return {
        "gram_error": float(np.linalg.norm(scaled - truth) / np.linalg.norm(truth)),
        "cosine_error": float(np.sqrt(np.mean(gap**2))),
    }


def timed(work: Way) -> tuple[Rows, float, float]:
    """Returns rows, and the seconds of the processor and of the clock that they took."""
    processor, clock = time.process_time(), time.perf_counter()
    rows = work()
    return rows, time.process_time() - processor, time.perf_counter() - clock


def main() -> None:
    """Prints one line a way and number of sides, and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, help="CSV with a column text")
    parser.add_argument("--pool", type=int, default=600, help="texts")
    parser.add_argument("--compared", type=int, default=100, help="texts of the Gram matrix")
    parser.add_argument("--tokens", type=int, default=2048, help="tokens in a batch")
    parser.add_argument("--sides", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--vocabulary", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=5, help="of training before")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--patience", type=float, default=10, help="seconds of a run to repeat it")
    parser.add_argument("--out", type=Path, help="CSV")
    options = parser.parse_args()
    study = Study(options)
    exact = study.exact(options.compared)
    lines = []
    for side in options.sides:
        with tempfile.TemporaryDirectory() as folder:
            ways: dict[str, Way] = {"forward and backward": study.plain}
            for make in (skmm_ways, bergson_ways, dattri_ways):
                try:
                    ways |= make(study, side, Path(folder))
                except ImportError as missing:
                    print(f"{make.__name__.removesuffix('_ways')} left out: {missing}")
            # The first run is apart: there dattri compiles, and it tells what is too slow for more.
            runs = {name: timed(way) for name, way in ways.items()}
            times = {name: [run[1:]] for name, run in runs.items()}
            patient = [name for name, run in runs.items() if run[1] <= options.patience]
            for _ in range(options.repeats):
                for name in patient:
                    times[name].append(timed(ways[name])[1:])
        plain = min(seconds for seconds, _ in times["forward and backward"])
        for name, (rows, *_) in runs.items():
            seconds, clock = np.min(times[name], axis=0)
            line = {"way": name, "side": side, "numbers": rows.shape[1], "r": exact.shape[1]}
            line |= {"N": len(rows), "runs": len(times[name]), "seconds": seconds, "clock": clock}
            line |= {"first_clock": times[name][0][1], "over_plain": seconds / plain}
            if rows.shape[1]:
                line |= errors(rows[: options.compared], exact)
            lines.append(line)
            told = line.items()
            print(*(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in told))
    if options.out:
        pd.DataFrame(lines).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()

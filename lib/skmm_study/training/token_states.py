"""What enters the last block of MiniLM for a part of BANKING77, with that block's weights.

``python -m skmm_study.training.token_states --data FOLDER --encoder FOLDER --out FILE`` makes the
file from a copy of the queries and of the encoder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skmm.training.probing import probe_scores
from skmm_study.pools.compact import CompactPool, quantise, read_compact, restore, write_compact
from skmm_study.pools.folder import shipped_folder
from skmm_study.pools.making import announce, label_arrays, maker_options
from skmm_study.text.compact import PROBE, encoder_record, unit_rows
from skmm_study.text.encoder import TextEncoder, block_inputs, load_encoder
from skmm_study.text.queries import load_queries
from skmm_study.training.blocks import LAYERS, NORMS, BlockTail
from skmm_study.training.finetuning import Recipe, finetune, pooled_inputs

FILE = "banking77_minilm_block.npz"
MAKE = "python -m skmm_study.training.token_states --data FOLDER --encoder FOLDER --out FILE"
KEPT = 15
"""Intents that are kept, at equal distances in the official order."""

EVERY = 2
"""Of their pool, each so-many-th query is kept; all of their test set."""

TOKENS = 24
"""Queries are cut after so many tokens."""

WHOLE = Recipe(epochs=6, rate=1e-3, held_out=0.0)
"""Of the finetuning on the whole pool that the loss is measured by."""

_PLACES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "first_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "second_norm": "output.LayerNorm",
}
"""Where a block of BERT keeps what `BlockTail` asks for."""


@dataclass(frozen=True, eq=False)
class TokenStates(CompactPool):
    r"""What enters the last block of MiniLM, query by query, and the weights of that block.

    Pool and test are ``float16``, shape ``[N, L, 384]``, zero where a query has no token.

    Attributes:
        weights: of the block; see `BlockTail`.
        heads: attention heads.
    """

    weights: dict[str, NDArray[np.float32]]
    heads: int

    def tail(self, *, rng: int | np.random.Generator | None = None) -> BlockTail:
        """Builds the block and a new classifier on it; see `BlockTail`."""
        classes = len(self.class_names)
        return BlockTail(self.weights, heads=self.heads, classes=classes, rng=rng)


def load_banking77_states(path: str | os.PathLike | None = None) -> TokenStates:
    r"""Reads token states of 15 intents of BANKING77, for finetuning MiniLM's last block.

    Args:
        path: the ``.npz`` file, with its ``.json`` beside it; by default the one in ``data/`` of
            the checkout.

    Raises:
        FileNotFoundError: there is no such file; says where to get it.
        ValueError: the file is damaged or does not belong to its provenance.
    """
    path = Path(path or shipped_folder() / FILE)
    read = read_compact(path, make=MAKE)
    with np.load(path, allow_pickle=False) as arrays:
        weights = {
            name: restore(arrays[name], arrays[f"{name}.steps"]).T
            if f"{name}.steps" in arrays
            else arrays[name]
            for name in _weight_names()
        }
        heads = int(arrays["heads"])
        back, mean = arrays["rotation"].astype(np.float32).T, arrays["mean"]
        parts = {
            name: _padded(getattr(read, name) @ back + mean, arrays[f"{name}_tokens"])
            for name in ("pool", "test")
        }
    return TokenStates(**vars(read) | parts, weights=weights, heads=heads)


def write_banking77_states(
    data: str | os.PathLike | None = None,
    *,
    out: str | os.PathLike,
    encoder: TextEncoder,
    step: float = 0.1,
    classes: int = KEPT,
    recipe: Recipe | None = None,
) -> Path:
    """Passes queries through all blocks but the last, compresses, measures the loss, writes.

    States are rotated to the principal directions of the pool's tokens, where one step of rounding
    spends bits on what varies. Takes about 2 minutes on one core.

    Args:
        data: the data folder; see `skmm_study.data_folder`.
        out: the ``.npz`` to write; the provenance goes beside it as ``.json``.
        encoder: BERT's kind; its ``max_tokens`` cut the queries.
        step: distance of two levels of a state; see `skmm_study.pools.compact.quantise`.
        classes: number of intents kept.
        recipe: of the finetuning on the whole pool that the loss is measured by.

    Returns:
        The path of the ``.npz``.
    """
    queries = load_queries("banking77", data)
    kept = np.arange(classes) * len(queries.class_names) // classes
    pool_rows = np.flatnonzero(np.isin(queries.pool_labels, kept))[::EVERY]
    test_rows = np.flatnonzero(np.isin(queries.test_labels, kept))
    labels = [
        np.searchsorted(kept, queries.pool_labels[pool_rows]),
        np.searchsorted(kept, queries.test_labels[test_rows]),
    ]
    sentences = [[queries.pool[i] for i in pool_rows], [queries.test[i] for i in test_rows]]
    ragged = [block_inputs(part, encoder) for part in sentences]
    counts = [np.array([len(rows) for rows in part], np.uint8) for part in ragged]
    flat = [np.concatenate(part) for part in ragged]
    mean = flat[0].mean(0)
    rotation = np.linalg.eigh(np.cov(flat[0].T))[1][:, ::-1].astype(np.float16)
    rotated = [(part - mean) @ rotation.astype(np.float32) for part in flat]
    heads = encoder.network.config.num_attention_heads
    weights = block_weights(encoder)
    arrays = quantise(*rotated, step=step) | _rounded(weights)
    arrays |= {"mean": mean, "rotation": rotation, "heads": np.array(heads)}
    arrays |= {"pool_tokens": counts[0], "test_tokens": counts[1]}
    arrays |= label_arrays(labels, [queries.class_names[c] for c in kept])
    record = encoder_record(encoder)
    provenance = {
        "title": f"{queries.title}, {classes} of {len(queries.class_names)} intents",
        "licence": f"states of {queries.title}: {queries.licence}; the weights of the block are "
        f"those of the encoder, {record['licence']}",
        "made_by": f"{MAKE} --step {step:g}",
        "classes": f"floor({len(queries.class_names)} k / {classes}) for k = 0, 1, ..., in the "
        f"official order; of the pool each {EVERY}nd query, of the test set all",
        "states": "what enters the last block, every token; rotated to principal directions",
        "step": step,
        "encoder": record,
        "files": queries.files,
    }
    path = write_compact(out, arrays, provenance | {"fidelity": {}})
    read = load_banking77_states(path)
    exact = [_padded(*part) for part in zip(flat, counts, strict=True)]
    tails = {"exact": BlockTail(weights, heads=heads, classes=classes), "compact": read.tail()}
    parts = {"exact": exact, "compact": [read.pool, read.test]}
    fidelity = {name: _scores(tails[name], parts[name], labels, recipe) for name in parts}
    rows = [unit_rows(pooled_inputs(tails[name], parts[name][0])) for name in parts]
    fidelity["relative_error_of_states"] = _error(read.pool - exact[0], flat[0] - mean)
    fidelity["relative_error_of_inner_products"] = _error(
        rows[1] @ rows[1].T - rows[0] @ rows[0].T, rows[0] @ rows[0].T
    )
    return write_compact(out, arrays, provenance | {"fidelity": fidelity})


def block_weights(encoder: TextEncoder) -> dict[str, NDArray[np.float32]]:
    """Returns the weights of the last block of an encoder of BERT's kind; see `BlockTail`."""
    block = encoder.network.encoder.layer[-1]
    return {
        f"{name}.{kind}": getattr(block.get_submodule(place), kind).detach().numpy()
        for name, place in _PLACES.items()
        for kind in ("weight", "bias")
    }


def _weight_names() -> list[str]:
    return [f"{name}.{kind}" for name in (*LAYERS, *NORMS) for kind in ("weight", "bias")]


def _rounded(weights: dict[str, NDArray[np.float32]]) -> dict[str, NDArray]:
    """Rounds the rows of each matrix to 255 levels of their own; vectors stay as they are."""
    arrays: dict[str, NDArray] = {}
    for name, weight in weights.items():
        if weight.ndim == 1:
            arrays[name] = weight
            continue
        rounded = quantise(weight.T, weight.T[:0], step=np.finfo(np.float32).tiny)
        arrays |= {name: rounded["pool"], f"{name}.steps": rounded["steps"]}
    return arrays


def _padded(flat: NDArray[np.float32], counts: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Lays out tokens that follow one another as ``[N, L, d]``, zero beyond each query's end."""
    real = np.arange(counts.max()) < counts[:, None]
    whole = np.zeros((*real.shape, flat.shape[1]), np.float16)
    whole[real] = flat
    return whole


def _scores(
    tail: BlockTail,
    parts: Sequence[NDArray[np.float16]],
    labels: Sequence[NDArray[np.int64]],
    recipe: Recipe | None,
) -> dict[str, dict[str, float]]:
    """Returns scores of a probe on embeddings, and of block and classifier finetuned."""
    rows = [unit_rows(pooled_inputs(tail, part)) for part in parts]
    last = len(LAYERS) + 1
    trained = finetune(tail, parts[0], labels[0], rng=0, last=last, recipe=recipe)
    finetuned = asdict(probe_scores(trained, parts[1], labels[1]))
    return {
        "probe": PROBE.scores(*rows, labels),
        "finetuned": {name: round(value, 4) for name, value in finetuned.items()},
    }


def _error(gap: NDArray[np.floating], whole: NDArray[np.floating]) -> float:
    return round(float(np.linalg.norm(gap.astype(np.float64)) / np.linalg.norm(whole)), 5)


def main() -> None:
    """Makes the file that ships, from a copy of the queries and of the encoder."""
    parser = maker_options(main.__doc__, FILE, step=0.1)
    parser.add_argument("--encoder", required=True, help="folder of the encoder")
    options = vars(parser.parse_args())
    options["out"] = options["out"] or shipped_folder() / FILE
    encoder = load_encoder(options.pop("encoder"), max_tokens=TOKENS)
    announce(write_banking77_states(**options, encoder=encoder, recipe=WHOLE))


if __name__ == "__main__":
    main()

"""Transformers by their sizes: what of a configuration a cost depends on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skmm.numerics.inputs import check_integer

_GATED = ("gemma", "llama", "mistral", "qwen2", "qwen3")
_PLAIN = ("bert", "distilbert", "gpt2", "gpt_neox", "opt", "roberta")
_SIZES = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "width": ("hidden_size", "n_embd", "dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "hidden": ("intermediate_size", "ffn_dim", "hidden_dim", "n_inner"),
    "vocabulary": ("vocab_size",),
}
"""Names that models give the same size, in the order in which they are looked for."""


@dataclass(frozen=True)
class Architecture:
    """A stack of equal transformer blocks.

    Attributes:
        name: What it is called.
        layers: Blocks :math:`L`.
        width: :math:`d`.
        heads: Attention heads.
        groups: Heads of keys and values, at most ``heads``.
        head_width: Width of a head.
        hidden: Width inside the feed-forward network.
        gated: Whether it has a third matrix, a gate.
        vocabulary: Words :math:`V`.
        tied: Whether the head is the embedding.
    """

    name: str
    layers: int
    width: int
    heads: int
    groups: int
    head_width: int
    hidden: int
    gated: bool
    vocabulary: int
    tied: bool

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """The matrices of a block, ``[out, in]`` each."""
        d, f = self.width, self.hidden
        q, kv = self.heads * self.head_width, self.groups * self.head_width
        attention = {"q": (q, d), "k": (kv, d), "v": (kv, d), "o": (d, q)}
        gate = {"gate": (f, d)} if self.gated else {}
        return attention | gate | {"up": (f, d), "down": (d, f)}

    @property
    def block(self) -> int:
        """Entries of the matrices of a block."""
        return sum(out * into for out, into in self.matrices.values())

    @property
    def multiplied(self) -> int:
        """Parameters ``P`` that every token is multiplied by: blocks and head, no embedding."""
        return self.layers * self.block + self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """All of them, with norms of one vector; biases, below 0.1 %, are not counted."""
        norms = (2 * self.layers + 1) * self.width
        return self.multiplied + norms + (not self.tied) * self.vocabulary * self.width

    @classmethod
    def named(cls, name: str) -> Architecture:
        """Returns a preset, or what a local configuration says.

        Args:
            name: One of `PRESETS`, a ``config.json`` of transformers, or a folder with one.

        Raises:
            ValueError: it is none of these, or the model is of a kind that is not known here.
        """
        if name in PRESETS:
            return PRESETS[name]
        path = Path(name)
        path = path / "config.json" if path.is_dir() else path
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"model must be one of {', '.join(PRESETS)}, a config.json or a folder with one, "
                f"got {name!r}"
            ) from error
        return cls.of(held, name=os.path.basename(os.path.abspath(name)))

    @classmethod
    def of(cls, config: Mapping[str, Any], *, name: str = "model") -> Architecture:
        """Reads a configuration of transformers, as a mapping.

        Raises:
            ValueError: a size is missing or out of range, or ``model_type`` is not known here.
        """
        if not isinstance(config, Mapping):
            raise ValueError(f"config must be a mapping, got {type(config).__name__}")
        kind = config.get("model_type")
        if kind not in (*_GATED, *_PLAIN):
            raise ValueError(
                f"model_type must be one of {', '.join(sorted((*_GATED, *_PLAIN)))}, got {kind!r}; "
                "describe the model as one of these, with its sizes"
            )
        sizes = {}
        for ours, theirs in _SIZES.items():
            found = next((config[key] for key in theirs if config.get(key) is not None), None)
            if found is None and ours == "hidden":
                found = 4 * sizes["width"]  # what GPT-2 means by leaving it out
            sizes[ours] = check_integer(found, theirs[0], low=1, hint="config must hold it")
        head_width = config.get("head_dim") or sizes["width"] // sizes["heads"]
        return cls(
            name=name,
            groups=config.get("num_key_value_heads") or sizes["heads"],
            head_width=head_width,
            gated=kind in _GATED,
            # Of older models the configuration class knows it, and the file leaves it out.
            tied=bool(config.get("tie_word_embeddings", kind in ("gemma", *_PLAIN))),
            **sizes,
        )


PRESETS = {
    "1B": Architecture("1B", 16, 2048, 32, 8, 64, 8192, True, 128_256, True),
    "7B": Architecture("7B", 32, 4096, 32, 32, 128, 11_008, True, 32_000, False),
    "70B": Architecture("70B", 80, 8192, 64, 8, 128, 28_672, True, 128_256, False),
}
"""LLaMA-style models of about 1, 7 and 70 billion parameters."""

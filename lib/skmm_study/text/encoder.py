"""Sentences as unit rows: an encoder of BERT's kind from a local folder, mean-pooled."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from skmm.numerics.extras import extra
from skmm.numerics.inputs import check_integer
from skmm_study.storage.files import sha256

WEIGHTS, CONFIGURATION = "model.safetensors", "config.json"
#: Either holds the vocabulary; the first that is there counts.
VOCABULARIES = ("tokenizer.json", "vocab.txt")


@dataclass(frozen=True)
class TextEncoder:
    r"""A frozen transformer in evaluation mode, with its tokenizer.

    Attributes:
        network: maps tokens and their mask to one vector a token, ``[B, L, r]``.
        tokenizer: splits sentences into tokens and pads them.
        width: feature dimension r.
        max_tokens: sentences are cut after so many tokens, the two special ones included.
        weights_sha256: SHA-256 of the weight file.
        vocabulary_sha256: SHA-256 of the file of the tokenizer.
    """

    network: Any
    tokenizer: Any
    width: int
    max_tokens: int
    weights_sha256: str
    vocabulary_sha256: str


def load_encoder(folder: str | os.PathLike, *, max_tokens: int = 256) -> TextEncoder:
    """Loads an encoder from a folder on this machine; no hub is asked and no pickle executed.

    Args:
        folder: holds ``config.json``, ``model.safetensors`` and ``tokenizer.json`` or
            ``vocab.txt``, as ``save_pretrained`` writes them.
        max_tokens: sentences are cut after so many tokens; at most what the network has positions
            for. 256 is what all-MiniLM-L6-v2 was trained for.

    Returns:
        The encoder on the CPU, frozen and in evaluation mode, with digests of its files.

    Raises:
        FileNotFoundError: the folder or one of these files is missing.
        ValueError: a file is damaged or of another model, or ``max_tokens`` is out of range.
        ImportError: ``transformers`` is not installed.
    """
    folder = Path(folder)
    for names in ((CONFIGURATION,), (WEIGHTS,), VOCABULARIES):
        if not any((folder / name).is_file() for name in names):
            raise FileNotFoundError(
                f"there is no file {folder / names[0]}; pass the folder that holds an encoder's "
                f"{CONFIGURATION}, {WEIGHTS} and {' or '.join(VOCABULARIES)}"
            )
    with extra("transformers", needed_by="skmm_study.text"):
        import transformers
    try:
        network, loading = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever a damaged file makes its reader raise
        raise ValueError(
            f"{folder} does not load as an encoder ({error}): fetch it again"
        ) from error
    # The pooler sits above the states of the tokens, which alone are used here.
    if missing := [key for key in loading["missing_keys"] if not key.startswith("pooler.")]:
        raise ValueError(
            f"{folder / WEIGHTS} lacks {len(missing)} weights of its network, for example "
            f"{sorted(missing)[0]}: pass the file that belongs to {CONFIGURATION}"
        )
    positions = network.config.max_position_embeddings
    check_integer(
        max_tokens, "max_tokens", low=3, high=positions, hint=f"{folder} has {positions} positions"
    )
    vocabulary = next(folder / name for name in VOCABULARIES if (folder / name).is_file())
    return TextEncoder(
        network=network.requires_grad_(False).eval(),
        tokenizer=tokenizer,
        width=network.config.hidden_size,
        max_tokens=max_tokens,
        weights_sha256=sha256(folder / WEIGHTS),
        vocabulary_sha256=sha256(vocabulary),
    )


def embed(
    sentences: Sequence[str], encoder: TextEncoder, *, batch: int = 64, progress: bool = False
) -> NDArray[np.float32]:
    r"""Maps sentences to unit rows: the mean of their tokens' states, over their norm.

    .. math:: g_i = \bar h_i / \|\bar h_i\|, \quad
        \bar h_i = \sum_t a_{it} h_{it} \Big/ \sum_t a_{it}

    with the last states :math:`h_{it}` of the network and the mask :math:`a_{it} \in \{0, 1\}`,
    which is zero at padding, so that a row does not depend on what it is batched with. Sentences
    of like length share a batch: padding costs next to nothing, about a minute on one core for
    13,000 queries and 22.7 million parameters.

    Args:
        sentences: N strings.
        encoder: see :func:`load_encoder`.
        batch: sentences in one forward pass; memory grows with it, rows change by rounding only.
        progress: draw a bar with the time left.

    Returns:
        ``float32`` rows of norm one, shape ``[N, r]``, in the order of the sentences.

    Raises:
        ValueError: a sentence is empty or no string; it is named. Or ``batch`` is out of range.
    """
    import torch

    sentences = _checked(sentences, batch)
    rows = np.empty((len(sentences), encoder.width), np.float32)
    bar = tqdm(total=len(sentences), desc="sentences", unit="sentence", disable=not progress)
    with bar, torch.inference_mode():
        for chosen, tokens in _batches(sentences, encoder, batch):
            mask = tokens["attention_mask"][:, :, None].to(torch.float32)
            states = encoder.network(**tokens).last_hidden_state
            means = (states * mask).sum(1) / mask.sum(1)
            rows[chosen] = torch.nn.functional.normalize(means, dim=1).numpy()
            bar.update(len(chosen))
    return rows


def block_inputs(
    sentences: Sequence[str], encoder: TextEncoder, *, batch: int = 64
) -> list[NDArray[np.float32]]:
    """Returns the states of each sentence's tokens that enter the last block of the network.

    Args:
        sentences: N strings.
        encoder: see :func:`load_encoder`; it cuts the sentences.
        batch: sentences in one forward pass.

    Returns:
        N arrays ``[tokens, r]``, in the order of the sentences.

    Raises:
        ValueError: as `embed`.
    """
    import torch

    sentences = _checked(sentences, batch)
    found: dict[int, NDArray[np.float32]] = {}
    with torch.inference_mode():
        for chosen, tokens in _batches(sentences, encoder, batch):
            states = encoder.network(**tokens, output_hidden_states=True).hidden_states[-2]
            counts = tokens["attention_mask"].sum(1).tolist()
            for row, state, count in zip(chosen, states, counts, strict=True):
                found[row] = state[:count].numpy()
    return [found[row] for row in range(len(sentences))]


def _checked(sentences: Sequence[str], batch: int) -> list[str]:
    """Returns the sentences as a list; raises as `embed` says."""
    check_integer(batch, "batch", low=1, hint="64 is usual")
    sentences = list(sentences)
    for row, sentence in enumerate(sentences):
        if not isinstance(sentence, str) or not sentence.strip():
            raise ValueError(
                f"sentences[{row}] must be a string that is not blank, got {sentence!r}; drop it"
            )
    return sentences


def _batches(
    sentences: Sequence[str], encoder: TextEncoder, batch: int
) -> Iterator[tuple[list[int], Any]]:
    """Yields places and tokens of sentences of like length."""
    order = sorted(range(len(sentences)), key=lambda row: len(sentences[row]))
    for start in range(0, len(sentences), batch):
        chosen = order[start : start + batch]
        yield (
            chosen,
            encoder.tokenizer(
                [sentences[row] for row in chosen],
                padding=True,
                padding_side="right",  # on the left it would move the positions of the tokens
                truncation=True,
                max_length=encoder.max_tokens,
                return_tensors="pt",
            ),
        )

"""Text pools that ship with the project: unit rows of a sentence encoder, their fidelity measured.

``python -m skmm_study.text.compact banking77 --data FOLDER --encoder FOLDER --out FILE`` makes a
file again, from a copy of the queries and of the encoder.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_choice
from skmm_study.pools.compact import CompactPool, quantise, read_compact, restore, write_compact
from skmm_study.pools.fidelity import LogisticProbe, measure_fidelity
from skmm_study.pools.folder import shipped_folder
from skmm_study.pools.making import announce, label_arrays, maker_options
from skmm_study.text.encoder import TextEncoder, embed, load_encoder
from skmm_study.text.queries import READERS, load_queries

#: Encoders whose weights are known: name and terms by SHA-256.
KNOWN_ENCODERS = {
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db": (
        "all-MiniLM-L6-v2",
        "Apache-2.0",
    )
}
FILE = "{}_minilm.npz"
MAKE = "python -m skmm_study.text.compact {} --data FOLDER --encoder FOLDER --out FILE"
#: Distance of two levels; entries of a unit row with 384 coordinates are of size 0.05.
STEP = 0.002
PROBE = LogisticProbe(C=30.0)


def load_text_pool(name: str, path: str | os.PathLike | None = None) -> CompactPool:
    r"""Reads the embeddings of labelled queries: rows of norm one, not centred.

    .. math:: \|g_i\| = 1, \quad g_i^\top g_j = \cos(\text{query } i, \text{query } j)

    up to the rounding that the provenance states. Do not standardise the columns: two of
    all-MiniLM-L6-v2's 384 hardly vary.

    Args:
        name: ``"banking77"`` (77 intents) or ``"clinc150"`` (150 intents, imbalanced pool).
        path: the ``.npz`` file, with its ``.json`` beside it; by default the one in ``data/`` of
            the checkout.

    Returns:
        Embeddings, labels, names of intents and provenance; rows are in the order of the source.

    Raises:
        FileNotFoundError: there is no such file; says where to get it.
        ValueError: there is no such pool, or the file is damaged or not of its provenance.
    """
    check_choice(name, "name", tuple(READERS))
    path = path or shipped_folder() / FILE.format(name)
    read = read_compact(path, make=MAKE.format(name))
    return replace(read, pool=unit_rows(read.pool), test=unit_rows(read.test))


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales rows to norm one, which rounding has moved them off."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def encoder_record(encoder: TextEncoder) -> dict[str, str | int]:
    """Returns what a provenance says of the encoder."""
    known, terms = KNOWN_ENCODERS.get(encoder.weights_sha256, ("unknown encoder", "unknown"))
    return {
        "name": known,
        "licence": terms,
        "weights_sha256": encoder.weights_sha256,
        "vocabulary_sha256": encoder.vocabulary_sha256,
        "max_tokens": encoder.max_tokens,
    }


def write_text_pool(
    name: str,
    data: str | os.PathLike | None = None,
    *,
    out: str | os.PathLike,
    encoder: TextEncoder,
    batch: int = 64,
    step: float = STEP,
    progress: bool = False,
) -> Path:
    """Embeds queries, compresses the rows, measures the loss and writes both down.

    Takes about three minutes on one core for 13,000 queries and all-MiniLM-L6-v2.

    Args:
        name: see :func:`skmm_study.text.queries.load_queries`.
        data: the data folder; likewise.
        out: the ``.npz`` to write; the provenance goes beside it as ``.json``.
        encoder: see :func:`skmm_study.text.encoder.load_encoder`.
        batch: sentences in one forward pass.
        step: see :func:`skmm_study.pools.compact.quantise`.
        progress: draw a bar with the time left.

    Returns:
        The path of the ``.npz``.
    """
    queries = load_queries(name, data)
    exact = [
        embed(part, encoder, batch=batch, progress=progress).astype(np.float64)
        for part in (queries.pool, queries.test)
    ]
    arrays = quantise(*exact, step=step)
    restored = [unit_rows(restore(arrays[part], arrays["steps"])) for part in ("pool", "test")]
    labels = queries.pool_labels, queries.test_labels
    record = encoder_record(encoder)
    arrays |= label_arrays(labels, queries.class_names)
    provenance = {
        "title": f"{queries.title}, {record['name']} embeddings",
        "licence": f"embeddings of {queries.title}: {queries.licence}",
        "made_by": f"{MAKE.format(name)} --step {step:g}",
        "coordinates": "means of the last states of all tokens, scaled to norm one; not centred",
        "step": step,
        "encoder": record | {"batch": batch},
        "files": queries.files,
        "fidelity": measure_fidelity(exact, restored, labels, widths=(encoder.width,), probe=PROBE),
    }
    return write_compact(out, arrays, provenance)


def main() -> None:
    """Makes a file that ships, from a copy of the queries and of the encoder."""
    parser = maker_options(main.__doc__, FILE.format("NAME"), step=STEP)
    parser.add_argument("name", choices=sorted(READERS))
    parser.add_argument("--encoder", required=True, help="folder of the encoder")
    options = vars(parser.parse_args())
    options["out"] = options["out"] or shipped_folder() / FILE.format(options["name"])
    encoder = load_encoder(options.pop("encoder"))
    announce(write_text_pool(**options, encoder=encoder, progress=True))


if __name__ == "__main__":
    main()

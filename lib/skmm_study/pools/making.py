"""Making the files that ship: how labels are written, and the command line of each maker."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skmm_study.storage.files import sha256

_MEANINGS = {"step": "distance of two levels", "width": "leading coordinates to keep"}


def label_arrays(labels: Sequence[NDArray], class_names: Sequence[str]) -> dict[str, NDArray]:
    """Returns labels of pool and test, below 256, and names, as a file of a compact pool has them.

    See `skmm_study.pools.compact.write_compact`.
    """
    return {
        "pool_labels": labels[0].astype(np.uint8),
        "test_labels": labels[1].astype(np.uint8),
        "class_names": np.array(class_names, dtype=str),
    }


def maker_options(about: str | None, file: str, **numbers: float) -> argparse.ArgumentParser:
    """Returns a parser of what every maker takes: ``--data``, ``--out`` and some numbers.

    Args:
        about: what the command says of itself.
        file: what it makes in ``data/`` without ``--out``.
        numbers: ``step`` and ``width``, with their defaults.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--data", help="data folder (default: SKMM_DATA, else data/)")
    parser.add_argument("--out", help=f"default: data/{file}")
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=_MEANINGS[name])
    return parser


def announce(made: Path) -> None:
    """Prints the size of a file that was made, and its digest."""
    print(f"{made}: {made.stat().st_size / 1e6:.2f} MB, SHA-256 {sha256(made)}")

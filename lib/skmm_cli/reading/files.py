"""Which files can be read, and by what: the suffix decides; none but plain files are opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skmm_cli.errors import CommandError, reason
from skmm_cli.reading import arrays, tables

Columns = Mapping[str, NDArray]

READERS: dict[str, Callable[[Path], Columns]] = {
    ".npy": arrays.read_npy,
    ".npz": arrays.read_npz,
    ".safetensors": arrays.read_safetensors,
    ".pt": arrays.read_pt,
    ".pth": arrays.read_pt,
    ".csv": tables.read_csv,
    ".tsv": tables.read_csv,
    ".parquet": tables.read_parquet,
    ".arrow": tables.read_arrow,
    ".feather": tables.read_arrow,
}
"""How a file of a suffix becomes arrays by name, each of one row a sample."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def read_columns(path: Path) -> Columns:
    """Reads a file as arrays by name; one that has no name is called ``""``.

    Nothing in the file is ever run: no pickle is opened.

    Raises:
        CommandError: it is missing, no plain file, empty, broken, or of a suffix that is unknown.
    """
    check_file(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise CommandError(f"{path} has the suffix {path.suffix!r}, but skmm reads {known}")
    try:
        columns = reader(path)
    except (CommandError, ImportError):
        raise
    except Exception as error:  # whatever a parser makes of a broken file
        raise CommandError(f"cannot read {path}: {reason(error)}") from error
    if not columns:
        raise CommandError(f"{path} holds no arrays of numbers")
    return columns


def check_file(path: Path) -> None:
    """Refuses what is missing, empty, or no plain file: opening a pipe would wait for ever."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise CommandError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read {path}: {reason(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise CommandError(f"{path} is {kind}, not a file of data")
    if found.st_size == 0:
        raise CommandError(f"{path} is empty")


def only_column(path: Path, *, besides: str | None = None) -> NDArray:
    """Reads the one array of a file, whatever its name; ``besides`` is one that does not count.

    Raises:
        CommandError: there are several.
    """
    columns = read_columns(path)
    names = [name for name in columns if name != besides]
    if len(names) != 1:
        held = ", ".join(names) or "none"
        raise CommandError(f"{path} must hold one column of values, but holds {held}")
    return np.asarray(columns[names[0]])

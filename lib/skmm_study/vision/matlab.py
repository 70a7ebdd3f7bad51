"""Annotation files of the devkit, in MATLAB's format 5, without pickles."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

HEADER_BYTES = 116


def read_mat(path: Path, variable: str) -> NDArray:
    """Reads one variable, at least one-dimensional.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or has no such variable; it is named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the annotation file {path} is missing")
    try:
        return np.atleast_1d(scipy.io.loadmat(path, squeeze_me=True)[variable])
    except Exception as error:  # a damaged .mat file raises whatever its bytes lead the reader to
        raise ValueError(
            f"{path} does not read as a MATLAB file with the variable {variable!r} ({error}): "
            "fetch this file again, it is damaged or cut short"
        ) from error


def write_mat(path: Path, **variables: NDArray) -> None:
    """Writes variables; the same values give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables)
    # The first bytes are free text, into which scipy writes the time of day.
    header = b"MATLAB 5.0 MAT-file, written by skmm".ljust(HEADER_BYTES)
    path.write_bytes(header + buffer.getvalue()[HEADER_BYTES:])

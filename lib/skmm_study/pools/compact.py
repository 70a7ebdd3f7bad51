"""Compact pools of real features: small enough for git, checked against their provenance."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer, check_positive, check_rows
from skmm_study.storage.files import sha256, write_whole

LEVELS = 127


@dataclass(frozen=True)
class CompactPool:
    r"""Features of a training pool and of its test set, as they ship with the project.

    What the coordinates are is said in the provenance; see the function that returned the pool.

    Attributes:
        title: what the features are; belongs on every figure.
        pool: training rows, ``float32``, shape ``[N, r]``.
        pool_labels: classes ``0..C-1``, or the whole-numbered target of a regression, ``[N]``.
        test: test rows, ``float32``, shape ``[N_test, r]``.
        test_labels: shape ``[N_test]``.
        class_names: the C names; none for a regression.
        provenance: how the file was made, from what, under which licence, and its fidelity.
    """

    title: str
    pool: NDArray[np.float32]
    pool_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    provenance: dict


def read_compact(path: str | os.PathLike, *, make: str, r: int | None = None) -> CompactPool:
    r"""Reads compact features and checks them against the SHA-256 in their provenance.

    Args:
        path: the ``.npz`` file, with its ``.json`` beside it.
        make: the command that makes the file, for whoever has none.
        r: keep the r leading coordinates; without it all of them.

    Returns:
        Features, labels, class names and provenance.

    Raises:
        FileNotFoundError: there is no such file; says where to get it.
        ValueError: the file is damaged or does not belong to its provenance, or r is out of range.
    """
    path = Path(path)
    for needed in (path, path.with_suffix(".json")):
        if not needed.is_file():
            raise FileNotFoundError(
                f"there is no file {needed}; it ships in data/ of the repository: pass its path, "
                f"or make it with `{make}`"
            )
    try:
        provenance = json.loads(path.with_suffix(".json").read_text())
    except ValueError as error:
        raise ValueError(
            f"{path.with_suffix('.json')} does not read as JSON ({error}): restore it from git"
        ) from error
    content = path.read_bytes()
    if (found := sha256(content)) != provenance.get("sha256"):
        raise ValueError(
            f"{path} has SHA-256 {found}, its provenance says {provenance.get('sha256')}: it is "
            "damaged or cut short; restore both from git"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        width = len(arrays["steps"])
        r = width if r is None else r
        check_integer(r, "r", low=1, high=width, hint=f"{path.name} holds {width} coordinates")
        pool, test = (restore(arrays[name][:r], arrays["steps"][:r]) for name in ("pool", "test"))
        return CompactPool(
            title=provenance["title"],
            pool=pool,
            pool_labels=arrays["pool_labels"].astype(np.int64),
            test=test,
            test_labels=arrays["test_labels"].astype(np.int64),
            class_names=tuple(str(name) for name in arrays["class_names"]),
            provenance=provenance,
        )


def write_compact(
    out: str | os.PathLike, arrays: Mapping[str, NDArray], provenance: Mapping
) -> Path:
    """Writes the arrays as ``.npz`` and, beside it, the provenance with their SHA-256.

    Args:
        out: the ``.npz`` to write; the provenance goes beside it as ``.json``.
        arrays: what :func:`quantise` returns, with ``pool_labels``, ``test_labels`` and
            ``class_names``.
        provenance: JSON values, ``title`` among them.

    Returns:
        The path of the ``.npz``.
    """
    out, buffer = Path(out), io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    content = buffer.getvalue()
    provenance = {**provenance, "sha256": sha256(content), "bytes": len(content)}
    write_whole(out, content)
    write_whole(out.with_suffix(".json"), json.dumps(provenance, indent=2) + "\n")
    return out


def restore(levels: NDArray[np.int8], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turns levels ``[r, N]`` and steps ``[r]`` back into rows ``[N, r]``."""
    return np.ascontiguousarray((levels * steps[:, None]).T)


def principal_coordinates(pool: NDArray, test: NDArray) -> tuple[NDArray, NDArray]:
    r"""Standardises both by the pool's mean and deviation, rotates both to its eigenvectors.

    The standardised pool has mean zero, so centred and plain second moment are the same.

    Args:
        pool: features, shape ``[N, r]``; the test rows do not enter μ, σ or V.
        test: features, shape ``[N_test, r]``.

    Returns:
        Pool and test in coordinates of descending second moment, ``float64``.
    """
    pool, test = check_rows(pool, "pool"), check_rows(test, "test")
    mean, deviation = pool.mean(0, dtype=np.float64), pool.std(0, dtype=np.float64)
    deviation[deviation == 0] = 1.0  # a constant feature stays constant: zero
    pool, test = (pool - mean) / deviation, (test - mean) / deviation
    _, vectors = np.linalg.eigh(pool.T @ pool)
    return pool @ vectors[:, ::-1], test @ vectors[:, ::-1]


def quantise(pool: NDArray, test: NDArray, *, step: float) -> dict[str, NDArray]:
    r"""Rounds coordinates to multiples of one step, wherever an ``int8`` reaches that far.

    One step for all columns, then entropy coding, spends bits where the second moment is (reverse
    water-filling): at equal file size a fraction of the error of fewer columns at 8 bits each.

    Args:
        pool: coordinates, shape ``[N, r]``.
        test: coordinates, shape ``[N_test, r]``; values beyond the pool's range are clipped.
        step: distance of two levels, in the unit of the coordinates; the error of an entry has
            variance of at most step²/12, and the file shrinks by about one bit an entry when the
            step doubles.

    Returns:
        ``pool`` and ``test`` as levels ``[r, N]`` (a column compresses well on its own) and
        ``steps``, shape ``[r]``.
    """
    check_positive(step, "step", hint="for standardised features 0.3 is usual")
    steps = np.maximum(np.abs(pool).max(0) / LEVELS, step).astype(np.float32)
    levels = {
        name: np.clip(np.rint(rows / steps), -LEVELS, LEVELS).astype(np.int8).T
        for name, rows in (("pool", pool), ("test", test))
    }
    return {name: np.ascontiguousarray(rows) for name, rows in levels.items()} | {"steps": steps}

"""Expensive arrays, made once: keyed by all they depend on, checksummed, resumable, shared."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.inputs import check_integer
from skmm_study.storage.files import claim, write_whole
from skmm_study.storage.folder import keyed_folder

CHECKSUM_BYTES = 32


def write_array(path: Path, array: NDArray) -> None:
    """Writes ``array`` as ``.npy`` plus its SHA-256; the file appears whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    payload = buffer.getvalue()
    write_whole(path, payload + hashlib.sha256(payload).digest())


def read_array(path: Path) -> NDArray:
    """Reads an array that :func:`write_array` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the bytes do not add up to the checksum at their end; the file is named.
    """
    content = Path(path).read_bytes()
    payload, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    if hashlib.sha256(payload).digest() != checksum:
        raise ValueError(
            f"{path} is damaged or cut short ({len(content)} bytes fail their checksum): "
            "delete it, and the next run makes it again"
        )
    return np.load(io.BytesIO(payload), allow_pickle=False)


@dataclass(frozen=True)
class ArrayCache:
    r"""A folder of arrays, each under the hash of everything that it depends on.

    An array of N rows is kept as shards. A finished shard is durable: an interrupted run goes on
    with the first missing one, and two processes that want the same array share the work, each
    shard claimed by a lock that ends with its holder.

    Attributes:
        folder: where the arrays lie; made when first needed.
    """

    folder: Path

    def rows(
        self,
        compute: Callable[[int, int], NDArray],
        N: int,
        *,
        name: str,
        key: Mapping[str, Any],
        shard: int = 512,
        report: Callable[[int], None] = lambda rows: None,
    ) -> NDArray:
        """Returns the array whose rows ``start..stop-1`` are ``compute(start, stop)``.

        Args:
            compute: makes rows; called only for shards that are not on disk.
            N: number of rows.
            name: what the array is, for people who look into the folder.
            key: everything the rows depend on, as JSON values.
            shard: rows kept in one file: what an interruption can cost at most.
            report: called with the number of rows that have just become available.

        Returns:
            All rows, shape ``[N, ...]``.

        Raises:
            ValueError: ``compute`` returns another number of rows than asked for. A damaged shard
                is named in a warning and made again.
        """
        check_integer(N, "N", low=1, hint="an array of no rows needs no cache")
        check_integer(shard, "shard", low=1, hint="a few hundred rows a file is usual")
        home = keyed_folder(self.folder, name, {**key, "shard": shard, "N": N})
        starts = list(range(0, N, shard))
        parts: dict[int, NDArray] = {}
        wait = False
        while pending := [start for start in starts if start not in parts]:
            done_before = len(parts)
            for start in pending:
                stop = min(start + shard, N)
                part = _shard(home / f"{start:08d}.npy", compute, start, stop, wait=wait)
                if part is not None:
                    parts[start] = part
                    report(stop - start)
                    wait = False
            # Nobody but other processes makes progress on what is left: wait for one of them.
            wait = len(parts) == done_before
        return np.concatenate([parts[start] for start in starts])


def _shard(path: Path, compute, start: int, stop: int, *, wait: bool) -> NDArray | None:
    """Reads one shard or makes it; ``None`` if another process holds it and ``wait`` is false."""
    if (part := _finished(path)) is not None:
        return part
    with claim(path.with_suffix(".lock"), wait=wait) as mine:
        if not mine:
            return None
        if (part := _finished(path)) is not None:
            return part
        part = np.asarray(compute(start, stop))
        if part.ndim == 0 or len(part) != stop - start:
            raise ValueError(
                f"compute({start}, {stop}) must return {stop - start} rows, "
                f"got shape {list(part.shape)}"
            )
        write_array(path, part)
        return part


def _finished(path: Path) -> NDArray | None:
    try:
        return read_array(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        warnings.warn(f"{error}; making it again now", RuntimeWarning, stacklevel=4)
        path.unlink(missing_ok=True)
        return None

"""Feature rows under one Johnson-Lindenstrauss map, read a block at a time."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.inputs import check_choice, check_integer
from skmm.selection.view import look_at
from skmm.sketching import SKETCHES
from skmm_scale.sketching.digests import digest_of
from skmm_scale.sketching.shards import Source, names_of
from skmm_scale.store.building import check_finite
from skmm_scale.store.manifest import Recipe

BLOCK_ROWS = 1024
"""Rows that are sketched at a time; counted from the first of a shard."""

_LOOKS, _SEEN_ROWS = 16, 64
"""Places at which the data are looked at for the fingerprint, and rows read at each."""


class FeatureSource(Source):
    r"""Rows :math:`\tilde G = G\,\Gamma` of features :math:`G`, ``[N, r]``, that may lie on disk.

    The map is the one that ``skmm.select(features, n, m=m, sketch=sketch, rng=rng)`` draws, so that
    selecting from the store is selecting from the features. With ``m = r`` rows are stored as they
    are: a conversion.

    Args:
        rows: What has a ``shape`` ``[N, r]``, a ``dtype`` of real numbers, and rows by slices: an
            array, a memory-mapped one, a store, the rows of a Parquet file.
        m: Sketch size; unless told, ``min(r, 512)``.
        sketch: One of `skmm.SKETCHES`.
        rng: Seed.
        ids: Names of the samples, ``[N]``; unless given, their numbers from 0.
        note: How the features themselves were made, to be kept in the manifest: the ``note`` of a
            store or of a Parquet file.

    Raises:
        ValueError: an argument is out of its range.

    Cost:
        Memory of the map and of a block, ``1024 (r + m)`` numbers.
    """

    def __init__(
        self,
        rows: Any,
        *,
        m: int | None = None,
        sketch: str = "gaussian",
        rng: int,
        ids: ArrayLike | None = None,
        note: Mapping[str, Any] | None = None,
    ):
        shape = tuple(rows.shape)
        if len(shape) != 2 or 0 in shape or np.dtype(rows.dtype).kind not in "fiub":
            raise ValueError(
                "features must be real numbers of shape [N, r], at least one row, got "
                f"shape {list(shape)} and dtype {rows.dtype}"
            )
        check_choice(sketch, "sketch", SKETCHES)
        check_integer(rng, "rng", low=0, hint="a store names the seed that it was made with")
        self.N, self.r = shape
        self.m = min(self.r, 512) if m is None else m
        check_integer(self.m, "m", low=1, high=self.r, hint=f"the features have r={self.r} columns")
        self._rows, self._ids, self._kind, self._seed = rows, names_of(ids, self.N), sketch, rng
        self._note, self._map = note, None
        if self.m < self.r:
            # The stream of the map is that of a selection from a pool of this width.
            drawn_from = look_at(np.ones((1, self.r)), self.m, sketch, rng)[0].rng
            self._map = SKETCHES[sketch].draw(self.r, self.m, rng=drawn_from)

    def recipe(self, *, dtype: str, rows_per_shard: int) -> Recipe:
        """Returns the recipe: kind, seed and key of the map, and a fingerprint of the features."""
        facts: dict[str, Any] = {"kind": "none", "r": self.r, "block_rows": BLOCK_ROWS}
        if self._map is not None:
            facts |= {"kind": self._kind, "seed": self._seed, "key": digest_of(self._map)}
        if self._note is not None:
            facts["from"] = dict(self._note)
        return Recipe(self.N, self.m, dtype, rows_per_shard, facts, self._fingerprint())

    def ids(self, samples: range) -> NDArray:
        """Returns the names, or numbers, of samples."""
        return self._ids[samples.start : samples.stop]

    def blocks(self, samples: range, seen: hashlib._Hash) -> Iterator[NDArray[np.floating]]:
        """Yields sketched rows, at most `BLOCK_ROWS` at a time."""
        for start in range(samples.start, samples.stop, BLOCK_ROWS):
            rows = np.ascontiguousarray(self._rows[start : min(start + BLOCK_ROWS, samples.stop)])
            seen.update(rows)
            check_finite(rows, start, "features")
            yield rows if self._map is None else self._map(rows)
            _release(self._rows)

    def _fingerprint(self) -> str:
        seen = hashlib.sha256(f"{self.N} {self.r} {np.dtype(self._rows.dtype).str}".encode())
        last = max(self.N - _SEEN_ROWS, 0)
        for start in sorted({last * i // _LOOKS for i in range(_LOOKS + 1)}):
            part = range(start, min(start + _SEEN_ROWS, self.N))
            seen.update(np.ascontiguousarray(self._rows[part.start : part.stop]))
            seen.update(np.ascontiguousarray(self.ids(part)))
        return seen.hexdigest()


def _release(rows: Any) -> None:
    """Lets the pages of a mapped file go that were read: they would count as memory in use."""
    if isinstance(rows, np.memmap) and rows.mode == "r":
        rows._mmap.madvise(mmap.MADV_DONTNEED)

"""Shards of a store made from a source of rows: the same bytes whoever makes which, and when."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmm.numerics.threads import one_thread
from skmm_scale.store.building import Building
from skmm_scale.store.manifest import Manifest, Recipe, Shard

ROWS_PER_SHARD = 1 << 16
"""Samples of a shard unless told: 134 MB of single-precision rows at m = 512."""


class Source(ABC):
    """What makes the rows of a pool's samples: features under a sketch, or a network's gradients.

    Attributes:
        N: Pool size.
        m: Entries of a row.
    """

    N: int
    m: int

    @abstractmethod
    def recipe(self, *, dtype: str, rows_per_shard: int) -> Recipe:
        """Returns what a store of these rows is; sources of equal recipes make equal rows."""

    @abstractmethod
    def ids(self, samples: range) -> NDArray:
        """Returns the names of neighbouring samples, shape ``[len(samples)]``."""

    @abstractmethod
    def blocks(self, samples: range, seen: hashlib._Hash) -> Iterator[NDArray[np.floating]]:
        """Yields the rows of neighbouring samples in order, a block at a time.

        Where blocks begin and end depends on ``samples`` alone, so that the same samples give the
        same bits.

        Args:
            samples: Those of a shard.
            seen: Hash that is fed all data that the rows are made of.
        """


def names_of(ids: ArrayLike | None, N: int) -> NDArray:
    """Returns the names of ``N`` samples, or their numbers from 0: what a store can hold.

    Raises:
        ValueError: there are others than ``N``.
    """
    if ids is None:
        return np.arange(N, dtype=np.int64)
    names = np.asarray(ids)
    if names.shape != (N,):
        raise ValueError(
            f"ids must be one for each of the N={N} samples, got shape {list(names.shape)}"
        )
    return names if names.dtype.kind in "iuU" else names.astype(str)


def sketch_shard(source: Source, building: Building, number: int) -> Shard:
    """Makes one shard of a store; the unit of work that an engine places on a worker.

    On one thread, for the last bits of a product depend on how many share it: more cores are used
    by more workers.

    Args:
        source: Makes the rows.
        building: The store in the making, begun by `Building.begun`.
        number: Of the shard, from 0.

    Raises:
        ValueError: a row is not finite, or a finished store's shard comes out otherwise.
    """
    samples, seen = building.recipe.layout.samples(number), hashlib.sha256()
    with one_thread():
        return building.write(number, source.ids(samples), source.blocks(samples, seen), seen)


def sketch_shards(
    source: Source, building: Building, numbers: Iterable[int], made: list[int]
) -> None:
    """Makes some shards of a store, one after the other.

    Args:
        source: Makes the rows.
        building: The store in the making, begun.
        numbers: Of the shards.
        made: To which each number is added when its shard is whole: what `Building.begun` yields.

    Raises:
        ValueError: as `sketch_shard`.
        OSError: the disk is full.
    """
    for number in numbers:
        sketch_shard(source, building, number)
        made.append(number)


def sketch_share(
    source: Source,
    folder: Path,
    *,
    dtype: str = "float32",
    rows_per_shard: int = ROWS_PER_SHARD,
    share: tuple[int, int] = (1, 1),
    digests: bool = False,
) -> Manifest | None:
    """Makes the shards of one share that are not there yet, and finishes the store if all are.

    Args:
        source: Makes the rows.
        folder: Of the store: absent, empty, or begun with the same recipe.
        dtype: Precision on disk: ``"float16"``, ``"float32"`` or ``"float64"``.
        rows_per_shard: Samples of a shard.
        share: ``(i, K)``: the ``i``-th of ``K`` shares, from 1, see `Layout.share`.
        digests: Whether shards that are there are read and compared with their digests, instead of
            their sizes.

    Returns:
        The manifest, or ``None`` if shards of other shares are missing.

    Raises:
        ValueError: the folder holds something else, or as `sketch_shard`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from skmm_scale.sketching import FeatureSource, sketch_share
        >>> from skmm_scale.store import Store
        >>> rows = np.random.default_rng(0).standard_normal((100, 30))
        >>> source = FeatureSource(rows, m=8, rng=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     manifest = sketch_share(source, Path(folder), rows_per_shard=40)
        ...     Store(folder)[90:].shape
        (10, 8)
    """
    building = Building(folder, source.recipe(dtype=dtype, rows_per_shard=rows_per_shard))
    with building.begun() as made:
        sketch_shards(source, building, building.missing(share, digests=digests), made)
    return building.finish()

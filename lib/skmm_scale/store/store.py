"""A finished store, read as one array whose rows lie in files mapped into memory."""

from __future__ import annotations

import mmap
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm_scale.store.files import sha256
from skmm_scale.store.manifest import MANIFEST, RECIPE, Manifest, Shard

SOURCE = "run what made the store again: it makes such shards anew"


def rows_name(number: int) -> str:
    """Returns the name of the file of a shard's rows."""
    return f"rows-{number:05d}.npy"


def ids_name(number: int) -> str:
    """Returns the name of the file of a shard's ids."""
    return f"ids-{number:05d}.npy"


class Store:
    """Rows ``[N, m]`` of a pool, in shards on disk, and the ids of its samples.

    Indexed by a slice or by an array of row numbers it gives plain arrays, as if all shards were
    one array: of a slice within one shard a view of its file, of anything else a copy. Pages of the
    files count as memory of the process until the next read, which gives them back. It is pickled
    by its path, so that workers read the files and not a message.

    Attributes:
        path: The folder.
        manifest: What it says of itself.
        ndim: 2.

    Args:
        folder: A finished store.

    Raises:
        ValueError: it is none, or a file is absent or of another size. Digests are compared by
            `verify`, which reads everything.
    """

    ndim = 2

    def __init__(self, folder: str | os.PathLike[str]):
        self.path = Path(folder).absolute()
        if not (self.path / MANIFEST).exists():
            half = (self.path / RECIPE).exists()
            state = "is not finished: run what makes it again" if half else "is no store"
            raise ValueError(f"{self.path} {state}; it has no {MANIFEST}")
        self.manifest = Manifest.load(self.path)
        self._read: list[mmap.mmap] = []
        self._refuse(self.broken())

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (str(self.path),)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """``(N, m)``."""
        return self.manifest.recipe.N, self.manifest.recipe.m

    @cached_property
    def dtype(self) -> np.dtype[np.floating]:
        """Precision of the rows on disk, and of those returned."""
        return np.dtype(self.manifest.recipe.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def note(self) -> dict[str, Any]:
        """How the rows were made, for what is made of them."""
        recipe = self.manifest.recipe
        return {"sketch": dict(recipe.sketch), "weights": recipe.weights}

    def __len__(self) -> int:
        """Pool size."""
        return self.shape[0]

    def __getitem__(self, key: slice | NDArray[np.integer]) -> NDArray[np.floating]:
        """Returns rows: of a slice, of row numbers ``[k]`` in their order, or of a mask ``[N]``.

        Raises:
            IndexError: a number is outside the pool, or ``key`` is nothing of the kind.
        """
        return self._take(key, self._rows)

    def ids(self, key: slice | NDArray[np.integer] = slice(None)) -> NDArray:
        """Returns the ids of the rows that `__getitem__` returns; all, unless told."""
        return self._take(key, self._ids)

    def broken(self, *, digests: bool = False) -> list[int]:
        """Returns the shards a file of which is absent, of another size or, if asked, digest."""
        shards = enumerate(self.manifest.shards)
        return [j for j, s in shards if not is_whole(self.path, j, s, digests=digests)]

    def verify(self) -> None:
        """Reads all files and compares their digests with the manifest.

        Raises:
            ValueError: naming the shards that are not what they were.
        """
        self._refuse(self.broken(digests=True))

    def _refuse(self, broken: list[int]) -> None:
        if broken:
            names = ", ".join(map(rows_name, broken[:3])) + ", ..." * (len(broken) > 3)
            raise ValueError(
                f"{self.path} has {len(broken)} of {len(self.manifest.shards)} shards that are "
                f"absent or broken ({names}); {SOURCE}"
            )

    @cached_property
    def _rows(self) -> list[NDArray[np.floating]]:
        return self._mapped(rows_name)

    @cached_property
    def _ids(self) -> list[NDArray]:
        return self._mapped(ids_name)

    def _mapped(self, name: Any) -> list[NDArray]:
        count = len(self.manifest.shards)
        paths = [self.path / name(j) for j in range(count)]
        return [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]

    def _take(self, key: Any, parts: list[NDArray]) -> NDArray:
        N, size = len(self), self.manifest.recipe.rows_per_shard
        if isinstance(key, slice):
            start, stop, step = key.indices(N)
            if step == 1:
                return self._between(start, max(start, stop), parts, size)
            key = np.arange(start, stop, step)
        numbers = _row_numbers(key, N)
        shards = numbers // size
        out = np.empty((len(numbers), *parts[0].shape[1:]), np.result_type(*parts))
        places = np.unique(shards)
        self._give_back([parts[j] for j in places])
        for j in places:
            here = np.flatnonzero(shards == j)
            out[here] = parts[j][numbers[here] - j * size]
        return out

    def _between(self, start: int, stop: int, parts: list[NDArray], size: int) -> NDArray:
        """Returns neighbouring rows: a view if they are of one shard."""
        first, last = start // size, max(start, stop - 1) // size
        if first >= len(parts):  # an empty slice at the end
            return np.asarray(parts[-1][:0])
        within = range(first, last + 1)
        cuts = [parts[j][max(start - j * size, 0) : max(stop - j * size, 0)] for j in within]
        self._give_back([parts[j] for j in within])
        return np.asarray(cuts[0]) if len(cuts) == 1 else np.concatenate(cuts)

    def _give_back(self, parts: list[NDArray]) -> None:
        """Lets the system take the pages of the last read, and remembers what this one reads."""
        read, self._read = self._read, [part._mmap for part in parts if len(part)]
        for pages in read:
            pages.madvise(mmap.MADV_DONTNEED)


def is_whole(folder: Path, number: int, shard: Shard, *, digests: bool) -> bool:
    """Whether both files of a shard are there and of the right size, or even the right digest."""
    paths = folder / rows_name(number), folder / ids_name(number)
    try:
        if tuple(path.stat().st_size for path in paths) != shard.bytes:
            return False
        return not digests or tuple(map(sha256, paths)) == (shard.rows_sha256, shard.ids_sha256)
    except OSError:
        return False


def _row_numbers(key: Any, N: int) -> NDArray[np.intp]:
    numbers = np.asarray(key)
    if isinstance(key, tuple):  # of an array, rows and columns
        raise IndexError("a store is indexed along its rows alone; take columns of what it returns")
    if numbers.size == 0 and numbers.ndim == 1:
        return np.zeros(0, dtype=np.intp)
    if numbers.dtype == bool and numbers.shape == (N,):
        return np.flatnonzero(numbers)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise IndexError(
            "a store is indexed by a slice, row numbers of shape [k] or a mask of shape [N], got "
            f"shape {list(numbers.shape)} and dtype {numbers.dtype}"
        )
    if numbers.min() < -N or numbers.max() >= N:
        raise IndexError(
            f"row numbers must lie in 0..{N - 1}, got {numbers.min()} to {numbers.max()}"
        )
    numbers = numbers.astype(np.intp)
    return np.where(numbers < 0, numbers + N, numbers)

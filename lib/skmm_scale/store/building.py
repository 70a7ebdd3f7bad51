"""A store in the making: shards one by one, by any number of processes, killed at any moment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skmm_scale.store.files import remove_drafts, sync_folder, written
from skmm_scale.store.manifest import (
    MANIFEST,
    RECIPE,
    Manifest,
    Recipe,
    Shard,
    load_recipe,
    save_recipe,
)
from skmm_scale.store.store import ids_name, is_whole, rows_name


class Building:
    """A folder that becomes a store of a recipe, whoever writes which of its shards and when.

    Until all are there, ``recipe.json`` says what the store will be and a receipt,
    ``shard-00000.json``, that a shard is whole. A file has its name only when it is complete and on
    the disk, the receipt comes last, and the same shard is the same bytes whoever writes it: so
    work can stop anywhere and be taken up again, also by several processes or machines at a time.

    Attributes:
        path: The folder.
        recipe: What the store will be.

    Args:
        folder: One that is absent, empty, or holds this very store, begun or finished.
        recipe: What the store will be.

    Raises:
        ValueError: the folder holds something else.
    """

    def __init__(self, folder: Path, recipe: Recipe):
        self.path, self.recipe = folder, recipe
        if (folder / MANIFEST).exists():
            self._finished = Manifest.load(folder)
            recipe.check_same(self._finished.recipe, folder)
            return
        self._finished = None
        if (folder / RECIPE).exists():
            recipe.check_same(load_recipe(folder), folder)
        elif folder.exists() and any(not p.name.startswith(".") for p in folder.iterdir()):
            raise ValueError(f"{folder} holds other files; choose a folder that is new or empty")

    @classmethod
    def resumed(cls, folder: Path) -> Building:
        """Takes up what others began, by the recipe that they left.

        Raises:
            ValueError: nothing was begun there.
        """
        finished = (folder / MANIFEST).exists()
        return cls(folder, Manifest.load(folder).recipe if finished else load_recipe(folder))

    @contextmanager
    def begun(self) -> Iterator[list[int]]:
        """Makes the folder and writes the recipe down, if nobody has, for a block that fills it.

        Rows that are refused leave nothing of the block behind; whatever else stops it leaves the
        shards that are whole.

        Yields:
            A list, to which the block adds the number of each shard that it has written.

        Raises:
            OSError: the folder cannot be made.
        """
        new_folder = not self.path.exists()
        self.path.mkdir(exist_ok=True)
        new = self._finished is None and not (self.path / RECIPE).exists()
        made: list[int] = []
        try:
            if new:
                save_recipe(self.recipe, self.path)
            yield made
        except BaseException as error:
            if self._finished is None:
                self._withdraw(made if isinstance(error, ValueError) else [], new, new_folder)
            raise

    def _withdraw(self, made: list[int], new: bool, new_folder: bool) -> None:
        """Removes shards; and, if none is left, what the block began."""
        for number in made:
            for path in (self._receipt(number), *self._files(number)):
                path.unlink(missing_ok=True)
        if new and not any(self.path.glob("shard-*.json")):
            for path in [*self.path.glob("*-?????.npy"), self.path / RECIPE]:
                path.unlink(missing_ok=True)
            if new_folder:
                with suppress(OSError):  # somebody else's files are in it
                    self.path.rmdir()

    def missing(self, share: tuple[int, int] = (1, 1), *, digests: bool = False) -> list[int]:
        """Returns the shards of a share that are not there, or not what they should be.

        Args:
            share: ``(i, K)``, see `Layout.share`; all shards unless told.
            digests: Whether files are compared by their digests instead of their sizes.
        """
        shards = self.recipe.layout.share(*share)
        return [number for number in shards if not self.is_done(number, digests=digests)]

    def receipt(self, number: int) -> Shard | None:
        """Returns what the files of a shard must be, if it was ever complete."""
        if self._finished is not None:
            return self._finished.shards[number]
        try:
            return Shard.load(self._receipt(number))
        except ValueError:  # none, or a broken one: the shard is made again
            return None

    def is_done(self, number: int, *, digests: bool = False) -> bool:
        """Whether a shard is there, and of the right size or even the right digest."""
        shard = self.receipt(number)
        return shard is not None and is_whole(self.path, number, shard, digests=digests)

    def write(
        self,
        number: int,
        ids: NDArray,
        blocks: Iterable[NDArray[np.floating]],
        data: hashlib._Hash,
    ) -> Shard:
        """Writes a shard, block by block, and its receipt.

        Args:
            number: Of the shard.
            ids: Names of its samples, shape ``[rows]``: text or whole numbers.
            blocks: Its rows in order, in arrays ``[B, m]`` that are cast to the store's precision.
            data: Hash that has seen all data once ``blocks`` is exhausted.

        Raises:
            ValueError: an entry is not finite in this precision, or the shard of a finished store
                comes out otherwise than it was.
        """
        samples = self.recipe.layout.samples(number)
        dtype, m = np.dtype(self.recipe.dtype).newbyteorder("<"), self.recipe.m
        rows_path, ids_path = self._files(number)
        with written(rows_path) as rows_file:
            head = {"descr": dtype.str, "fortran_order": False, "shape": (len(samples), m)}
            np.lib.format.write_array_header_1_0(rows_file, head)
            at = samples.start
            for block in blocks:
                rows_file.write(_cast(block, dtype, at))
                at += len(block)
            if at != samples.stop:
                raise ValueError(
                    f"shard {number} must have {len(samples)} rows, got {at - samples.start}"
                )
            self._check_again(number, rows=rows_file.sha256, data=data.hexdigest())
        with written(ids_path) as ids_file:
            np.lib.format.write_array(ids_file, ids, version=(1, 0), allow_pickle=False)
            self._check_again(number, ids=ids_file.sha256)
        shard = Shard(
            len(samples),
            (rows_file.bytes, ids_file.bytes),
            rows_file.sha256,
            ids_file.sha256,
            data.hexdigest(),
        )
        if self._finished is None:
            shard.save(self._receipt(number))
        return shard

    def _check_again(self, number: int, **digests: str) -> None:
        """Refuses, before it gets its name, a file that is not what a finished store had."""
        if self._finished is None:
            return
        shard = self._finished.shards[number]
        if any(getattr(shard, f"{what}_sha256") != seen for what, seen in digests.items()):
            raise ValueError(
                f"shard {number} of {self.path} comes out otherwise than it was: the data, or the "
                "machine's arithmetic, are others; remove the folder to make all of it anew"
            )

    def finish(self) -> Manifest | None:
        """Writes the manifest if all shards are done, and removes what stood for it meanwhile.

        Returns:
            The manifest, or ``None`` if a shard is missing.
        """
        manifest = self._finished
        if manifest is None:
            shards = [self.receipt(number) for number in range(len(self.recipe.layout))]
            if None in shards:
                # Another process may have finished, and removed receipts, in between.
                if not (self.path / MANIFEST).exists():
                    return None
                manifest = Manifest.load(self.path)
            else:
                manifest = Manifest(self.recipe, tuple(shards))
                manifest.save(self.path)
        self._finished = manifest
        if self.missing():
            return None
        for number in range(len(manifest.shards)):
            self._receipt(number).unlink(missing_ok=True)
        (self.path / RECIPE).unlink(missing_ok=True)
        remove_drafts(self.path)
        sync_folder(self.path)
        return manifest

    def _files(self, number: int) -> tuple[Path, Path]:
        return self.path / rows_name(number), self.path / ids_name(number)

    def _receipt(self, number: int) -> Path:
        return self.path / f"shard-{number:05d}.json"


def _cast(block: NDArray[np.floating], dtype: np.dtype, first: int) -> NDArray:
    """Returns a block in the precision on disk, all of whose entries are finite."""
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(block, dtype)
    if not np.isfinite(cast).all():
        check_finite(block, first, "rows")
        largest = np.abs(block).max()
        raise ValueError(
            f"rows must fit into {dtype.name}, got an entry of {largest:.3g} among samples {first} "
            f"to {first + len(block) - 1}; store them as float32, or scale the features"
        )
    return cast


def check_finite(block: NDArray[np.floating], first: int, name: str) -> None:
    """Refuses rows, the first of which is sample ``first``, that hold NaN or infinity."""
    bad = ~np.isfinite(block)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{name} must be finite, got {block[row, column]} at row {first + row}, "
            f"column {column}; drop or impute such rows"
        )

"""What a store says of itself: how its rows were made, and what each file must be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from skmm.numerics.inputs import check_choice, check_integer
from skmm_scale.store.files import written
from skmm_scale.store.layout import Layout

SCHEMA = 1
"""Version of the layout of a store; a reader refuses any other."""

DTYPES = ("float16", "float32", "float64")
"""Precisions of the rows on disk."""

MANIFEST, RECIPE = "manifest.json", "recipe.json"
"""The file that makes a folder a store, and what stands for it until all shards are there."""


@dataclass(frozen=True)
class Recipe:
    """All that decides the bytes of a store; whoever takes part in making it has the same.

    Attributes:
        N: Pool size.
        m: Entries of a row.
        dtype: Precision on disk, one of `DTYPES`.
        rows_per_shard: Samples of a shard.
        sketch: What made a row of a sample: ``kind``, ``seed``, ``key``, the SHA-256 of the map
            (rows of stores with the same key compare), and what else the source depends on.
        fingerprint: SHA-256 of the shape of the data and of some of it: enough to notice, without
            reading all, that they are others.
        weights: SHA-256 of the weights of the network, if there is one.
    """

    N: int
    m: int
    dtype: str
    rows_per_shard: int
    sketch: Mapping[str, Any]
    fingerprint: str
    weights: str | None = None

    def __post_init__(self):
        check_choice(self.dtype, "dtype", DTYPES)
        check_integer(self.m, "m", low=1, hint="it is the number of entries of a row")

    @property
    def layout(self) -> Layout:
        """Which samples each shard has."""
        return Layout(self.N, self.rows_per_shard)

    def check_same(self, other: Recipe, folder: Path) -> None:
        """Refuses a folder that holds a store of another recipe.

        Raises:
            ValueError: naming the first difference.
        """
        mine, held = _flat(asdict(self)), _flat(asdict(other))
        for name in [*mine, *held]:
            if mine.get(name) != held.get(name):
                raise ValueError(
                    f"{folder} holds a store with {name} {held.get(name)!r}, not "
                    f"{mine.get(name)!r}; choose another folder, or remove this one"
                )


@dataclass(frozen=True)
class Shard:
    """What the two files of a shard must be.

    Attributes:
        rows: Number of samples.
        bytes: Sizes of the files of rows and of ids.
        rows_sha256: Digest of the file of rows.
        ids_sha256: Digest of the file of ids.
        data_sha256: Digest of the data that the rows were made of.
    """

    rows: int
    bytes: tuple[int, int]
    rows_sha256: str
    ids_sha256: str
    data_sha256: str

    def save(self, path: Path) -> None:
        """Writes it down, whole or not at all."""
        _save(asdict(self), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ValueError: the file is broken.
        """
        return _shard(cls, _load(path), path)


@dataclass(frozen=True)
class Manifest:
    """The recipe of a store and its shards, in order.

    Attributes:
        recipe: How its rows were made.
        shards: One entry a shard.
    """

    recipe: Recipe
    shards: tuple[Shard, ...]

    @property
    def data_sha256(self) -> str:
        """Digest of all data: of the shards' digests, one after the other."""
        return hashlib.sha256("".join(s.data_sha256 for s in self.shards).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Writes ``manifest.json``; equal manifests are equal bytes."""
        facts = {"schema": SCHEMA, **asdict(self.recipe), "data": self.data_sha256}
        _save(facts | {"shards": [asdict(shard) for shard in self.shards]}, folder / MANIFEST)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads ``manifest.json``.

        Raises:
            ValueError: it is missing, broken, or of another schema.
        """
        path = folder / MANIFEST
        facts = _load(path)
        recipe = _recipe(facts, path)
        entries = facts.get("shards")
        if not isinstance(entries, list) or len(entries) != len(recipe.layout):
            raise ValueError(f"{path} must list {len(recipe.layout)} shards; make the store anew")
        shards = tuple(_shard(Shard, entry, path) for entry in entries)
        sizes = [len(recipe.layout.samples(j)) for j in range(len(shards))]
        if [shard.rows for shard in shards] != sizes:
            raise ValueError(f"{path} has shards of other sizes than its N and rows_per_shard say")
        return cls(recipe, shards)


def save_recipe(recipe: Recipe, folder: Path) -> None:
    """Writes ``recipe.json``: what the store will be, for all who make it."""
    _save({"schema": SCHEMA, **asdict(recipe)}, folder / RECIPE)


def load_recipe(folder: Path) -> Recipe:
    """Reads ``recipe.json``.

    Raises:
        ValueError: it is missing, broken, or of another schema.
    """
    return _recipe(_load(folder / RECIPE), folder / RECIPE)


def _recipe(facts: Mapping[str, Any], path: Path) -> Recipe:
    if facts.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} has the schema {facts.get('schema')!r}, this version reads {SCHEMA}"
        )
    try:
        return Recipe(**{name: facts[name] for name in Recipe.__dataclass_fields__})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is broken: {error}; make the store anew") from error


def _shard(cls: type[Shard], entry: Any, path: Path) -> Shard:
    try:
        rows, digests = int(entry["rows"]), [entry[f"{x}_sha256"] for x in ("rows", "ids", "data")]
        first, second = map(int, entry["bytes"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is broken: no shard is {entry!r}; make the store anew") from error
    return cls(rows, (first, second), *digests)


def _save(facts: Mapping[str, Any], path: Path) -> None:
    with written(path) as file:
        file.write((json.dumps(facts, indent=1, sort_keys=True) + "\n").encode())


def _load(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot read {path}: {why}") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{path} is broken: it holds no object; make the store anew")
    return facts


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    flat = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat |= {f"{name} {key}": one for key, one in _flat(value).items()}
        else:
            flat[name] = value
    return flat

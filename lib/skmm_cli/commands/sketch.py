"""``skmm sketch``: from a file of features to a store of rows, in shards, by one job or many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from skmm_cli.commands.options import (
    READING,
    TELLING,
    Kind,
    Reading,
    Seed,
    SketchSize,
    Telling,
    check_sketch,
    whole,
)
from skmm_cli.errors import INTERRUPTED, CommandError, UsageError, reason
from skmm_cli.printing import as_json, size
from skmm_cli.progress import Progress, clock
from skmm_cli.reading.rows import open_rows
from skmm_scale.sketching.features import FeatureSource
from skmm_scale.sketching.forecast import foresee
from skmm_scale.sketching.shards import ROWS_PER_SHARD, sketch_shards
from skmm_scale.store.building import Building
from skmm_scale.store.manifest import DTYPES, Manifest


def sketch(
    features: Annotated[
        Path | None,
        Parameter(help="Features, one row a sample: what skmm select reads, or another store"),
    ] = None,
    /,
    *,
    into: Annotated[Path, Parameter(help="Folder of the store")],
    sketch_size: SketchSize = None,
    sketch: Kind = "gaussian",
    seed: Seed = 0,
    dtype: Annotated[str, Parameter(help="Precision on disk: " + ", ".join(DTYPES))] = "float32",
    rows_per_shard: Annotated[
        int, Parameter(converter=whole, help="Samples of a shard")
    ] = ROWS_PER_SHARD,
    shard: Annotated[
        str,
        Parameter(
            help="i/K: make the i-th of K shares of the shards, from 1/K to K/K, as one job of "
            "several; the last to end finishes the store"
        ),
    ] = "1/1",
    finish: Annotated[
        bool,
        Parameter(negative="", help="Make nothing: finish a store all of whose shards are there"),
    ] = False,
    verify: Annotated[
        bool,
        Parameter(
            negative="", help="Read shards that are there and make those again that have changed"
        ),
    ] = False,
    reading: Annotated[Reading, Parameter(name="*")] = READING,
    telling: Annotated[Telling, Parameter(name="*")] = TELLING,
) -> None:
    """Sketches features to rows in a store: a folder that skmm select opens like a file.

    For pools that do not fit into memory. Rows are those that skmm select looks at under the same
    -m, --sketch and --seed. Stopped or killed, the same command goes on from the last shard; the
    finished store is the same bytes, however often it was stopped and whatever number of jobs made
    it. A shard that is absent or broken is made again.
    """
    progress = telling.progress()
    share = _share(shard)
    check_sketch(sketch, seed)
    if dtype not in DTYPES:
        raise UsageError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if finish and (features is not None or share != (1, 1)):
        raise UsageError("--finish makes no shards: leave out the features, and --shard")
    if not finish and features is None:
        raise UsageError("which features? skmm sketch FEATURES --into STORE, or --finish")
    with _stopping(into):
        if finish:
            building = Building.resumed(into)
            if broken := building.missing(digests=verify):
                raise CommandError(_lacking(into, broken, building))
        else:
            pool = open_rows(features, features=reading.names, ident=reading.id or None)
            source = FeatureSource(
                pool.rows, m=sketch_size, sketch=sketch, rng=seed, ids=pool.ids, note=pool.note
            )
            recipe = source.recipe(dtype=dtype, rows_per_shard=rows_per_shard)
            building = Building(into, recipe)
            if todo := building.missing(share, digests=verify):
                with building.begun() as made:
                    seconds = _announce(source, building, todo, pool.source, progress)
                    with progress.step(f"sketching {len(todo)} shards", seconds):
                        sketch_shards(source, building, todo, made)
        manifest = building.finish()
    _tell(building, into, manifest, telling)


@contextmanager
def _stopping(into: Path) -> Iterator[None]:
    """Says of a folder that cannot be written, and of one that is left unfinished, what it is."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(f"stopped; the same command goes on from what {into} has") from None
    except OSError as error:
        raise CommandError(f"cannot write {into}: {reason(error)}") from error


class Stopped(CommandError):
    """The user stopped it; what is whole stays."""

    code = INTERRUPTED


def _share(text: str) -> tuple[int, int]:
    i, slash, K = text.partition("/")
    if not slash or not i.isdecimal() or not K.isdecimal() or not 1 <= int(i) <= int(K):
        raise UsageError(f"--shard must be i/K, from 1/K to K/K, got {text!r}")
    return int(i), int(K)


def _announce(
    source: FeatureSource, building: Building, todo: list[int], what: str, progress: Progress
) -> float:
    """Says what will be made, and what it takes; returns the seconds that it will take."""
    recipe, expected = building.recipe, foresee(source, building, todo)
    how = f"sketched to {source.m}" if source.m < source.r else "as they are"
    progress.say(
        f"{source.N} samples with {source.r} features, {what}, {how}: "
        f"{len(todo)} of {len(recipe.layout)} shards, {size(expected.space)} of {recipe.dtype}; "
        f"takes about {clock(expected.seconds)} and {size(expected.memory)} of memory"
    )
    return expected.seconds


def _lacking(into: Path, missing: list[int], building: Building) -> str:
    return (
        f"{into} lacks {len(missing)} of {len(building.recipe.layout)} shards, the first is "
        f"{missing[0]}; make them by skmm sketch FEATURES --into {into}"
    )


def _tell(building: Building, into: Path, manifest: Manifest | None, telling: Telling) -> None:
    """Prints what the store is, or what it lacks."""
    recipe, missing = building.recipe, [] if manifest else building.missing()
    if telling.json:
        facts = {"store": str(into), "N": recipe.N, "m": recipe.m, "dtype": recipe.dtype}
        facts |= {"shards": len(recipe.layout), "missing": missing, "sketch": recipe.sketch}
        print(as_json(facts | {"data": manifest and manifest.data_sha256}))
    elif missing:
        print(f"{into}: {len(missing)} of {len(recipe.layout)} shards are still missing")
    else:
        print(f"{into}: {recipe.N} rows of {recipe.m} {recipe.dtype}")

"""Sketching on Ray: each worker holds the model or the features and makes shards of one store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from skmm_scale.on_ray.workers import Workers, some
from skmm_scale.sketching.shards import ROWS_PER_SHARD, Source, sketch_shard
from skmm_scale.store.building import Building
from skmm_scale.store.manifest import Manifest, Recipe


def sketch_on_ray(
    make: Callable[[], Source],
    folder: Path,
    *,
    workers: int | Workers,
    dtype: str = "float32",
    rows_per_shard: int = ROWS_PER_SHARD,
) -> Manifest:
    """Makes a store by a pool of workers, to the bytes that `sketch_share` makes by one process.

    A worker that is killed is started anew and makes its shard again; if all of the work stops,
    another call goes on from the shards that are whole, as `sketch_share` and ``skmm sketch`` do,
    and the other way round.

    Ray places numbers of shards, and nothing else crosses the network: rows carry their ids in the
    shard's own files. That is why workers are plain actors and no pipeline of Ray Data, to which a
    shard would have to be a block: with an actor pool it places the same calls, but keeps what
    actors are constructed from in its object store, so that one that is killed late may not come
    back (it warns of that), and takes twice as long to start.

    Args:
        make: Makes the source on a worker, from paths: a function without data of its own.
        folder: Of the store; every machine must see it, and the files that ``make`` opens, under
            the same path.
        workers: How many, each a process of one thread; or those that `workers` started, which may
            have accelerators.
        dtype: As `sketch_share`.
        rows_per_shard: As `sketch_share`.

    Returns:
        The manifest.

    Raises:
        ValueError: as `sketch_share`, or ``make`` carries data.
        ray.exceptions.RayActorError: a worker died too often; the shards that are whole stay.

    Example:
        On one machine; ``cluster("auto")`` connects to one that runs already::

            from skmm_scale.on_ray import cluster, sketch_on_ray, workers
            from skmm_scale.sketching.gradients import GradientSource

            def make():  # runs on every worker
                model = load_model("/shared/model")
                return GradientSource(model.cuda(), load_pool("/shared/pool"), m=512, rng=0)

            with cluster(), workers(4, num_gpus=1) as pool:
                sketch_on_ray(make, Path("/shared/store"), workers=pool)
    """
    folder = Path(folder).absolute()
    with some(workers) as pool:
        ((_, recipe),) = pool.each(make, _recipe, [(dtype, rows_per_shard)])
        building = Building(folder, recipe)
        with building.begun() as made:
            missing = building.missing()
            try:
                for place, _ in pool.each(make, _shard, [(folder, recipe, j) for j in missing]):
                    made.append(missing[place])
            except ValueError:
                made[:] = missing  # all that workers may have made by the time they stopped
                raise
    manifest = building.finish()
    if manifest is None:
        raise ValueError(f"{folder} has lost shards meanwhile; run the same again")
    return manifest


def _recipe(source: Source, dtype: str, rows_per_shard: int) -> Recipe:
    return source.recipe(dtype=dtype, rows_per_shard=rows_per_shard)


def _shard(source: Source, folder: Path, recipe: Recipe, number: int) -> None:
    sketch_shard(source, Building(folder, recipe), number)

"""Selection on Ray: the cells of a large pool are chosen from by workers that hold the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ray

import skmm
from skmm.numerics.stored import StoredRows, is_stored
from skmm.numerics.threads import one_thread
from skmm.selection.selectors.coordinates import Metric
from skmm.selection.selectors.placing import Rows, Work, placed_by
from skmm_scale.on_ray.workers import Workers, some


def select_on_ray(
    open_rows: Callable[[], Any], n: int, *, workers: int | Workers, **how: Any
) -> skmm.Selection:
    """Chooses what ``skmm.select(open_rows(), n, **how)`` does, cell by cell on workers.

    What depends on all of the pool, spectrum and cells, is one or two passes here; each cell is a
    task of its own, once to choose from it and once to mend it beside those around it. Numbers of
    rows go to the workers and numbers of samples come back: rows are read where they are needed. A
    worker that is killed is started anew and does its task again. Pools of at most 11,585 rows, and
    criteria that do not go by cells, are chosen from here.

    Args:
        open_rows: Opens the rows by their path, here and on each worker: ``lambda: Store(path)``.
        n: Budget.
        workers: How many, each a process of one thread; or those that `workers` started.
        **how: As for `skmm.select`: ``rng`` and what else is to be told.

    Raises:
        ValueError: as `skmm.select`; or the rows would have to be sketched, and be held in memory:
            ``skmm sketch`` makes a store of sketched rows.

    Example:
        On one machine; ``cluster("auto")`` connects to one that runs already::

            from skmm_scale.on_ray import cluster, select_on_ray
            from skmm_scale.store import Store

            with cluster():
                selection = select_on_ray(lambda: Store("/shared/store"), 10_000, workers=8, rng=0)
    """
    with some(workers) as pool, placed_by(partial(_place, pool, open_rows)):
        return skmm.select(open_rows(), n, **how)


def _place(
    pool: Workers, open_rows: Callable[[], Any], work: Work, rows: Rows, tasks: Sequence[Any]
) -> list[Any]:
    """Lets workers do a piece of work for tasks, told in terms of the rows that they open."""
    if not tasks:
        return []
    placed = [StoredRows.over(rows).located(task.members) for task in tasks]
    if not is_stored(placed[0][0]):
        raise ValueError(
            "rows must be chosen from as they are stored, got some that were sketched for this "
            "selection; sketch them to a store once (skmm sketch) and select from that"
        )
    # The metric holds an m x m matrix: once a worker, not once a task.
    metric = ray.put(tasks[0].metric)
    told = [
        (work, exponent, replace(task, members=at, metric=None), metric)
        for task, (_, exponent, at) in zip(tasks, placed, strict=True)
    ]
    done = dict(pool.each(open_rows, _do, told))
    return [done[i] for i in range(len(tasks))]


def _do(held: Any, work: Work, exponent: int, task: Any, metric: Metric) -> Any:
    with one_thread():
        return work(StoredRows(held, exponent=exponent), replace(task, metric=metric))
